import { focusManager, onlineManager, type Query } from "@tanstack/react-query";

import type { BaseItem } from "./document.ts";
import { type Collection, confirmItem, ignoreMissing, inOrder, type Pages, scopeOf } from "./items.ts";
import { type LiveChange, type Session, unsettled } from "./session.ts";

const TICK = 5_000;
/** The time that a socket has to report this session's change, and after which it is stable. */
const PATIENCE = 10_000;
const MINUTE = 60_000;
/** After a device slept or a page was hidden for longer, the socket may be dead. */
const DOUBT_AFTER = 30_000;
const CLOSE_HIDDEN_AFTER = 5 * MINUTE;
/** The longest delay that is added at random, so that clients do not act at the same time. */
const SPREAD = 30_000;
/** More items of a list than this within `BURST_WINDOW` are read as one list. */
const BURST = 10;
const BURST_WINDOW = 100;

type Keyed = Pick<Query, "queryKey">;

/** Whether a query has been read, but does not have a change. */
function isBehind({ state }: Query, { id, version }: LiveChange): boolean {
  const data = state.data as (Partial<Pages> & BaseItem) | undefined;
  if (!data?.pages) return (data?.updatedAt as number) < (version as number);
  const known = data.pages.flatMap(({ items }) => items).find((item) => item.id === id);
  return version === null ? known !== undefined : (known?.version ?? 0) < version;
}

/**
 * Keeps the data on the screen up to date until the function that it returns is called.
 *
 * A message says that something changed, and the client reads what that makes outdated. When a socket opens, it reads
 * everything on the screen. The server closes a socket that it cannot send to. So lost, repeated and reordered messages
 * do no harm.
 */
export function goLive(session: Session, url: string): () => void {
  const { queries, key } = session;
  const all = { queryKey: key };
  /** The changes that a query may not have yet. */
  const waiting = new WeakMap<Query, LiveChange[]>();

  let socket: WebSocket | undefined;
  let isOpen = false;
  /** When that began, or when the last keep-alive was sent or everything was polled, and when to do so next. */
  let turnedAt = 0;
  let dueAt = 0;
  /** When the last message arrived, and when this session last sent a change that the socket has to report. */
  let heardAt = 0;
  let spokeAt = 0;
  let tickedAt = Date.now();
  let hiddenAt = focusManager.isFocused() ? 0 : tickedAt;
  let failures = -1;
  /** Whether it waits for a token. */
  let isWaiting = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** Waits for what is in flight. Reads that were restarted instead would not end in a burst. */
  const settle = ({ queryKey }: Keyed) =>
    Promise.allSettled([session.refresh, ...unsettled(session, queryKey).map(({ promise }) => promise)]);

  /** Reads the queries on the screen again. The others are read when they show. */
  async function reread({ queryKey }: Keyed): Promise<void> {
    await settle({ queryKey });
    const refetchType = hiddenAt ? "none" : "active";
    // A read that is in flight now began after the call.
    await queries.invalidateQueries({ queryKey, refetchType }, { cancelRefetch: false });
  }

  /** Reads the items of a list that have changed, or everything if they are many. */
  async function update(query: Query, collection: Collection, changes: LiveChange[]): Promise<void> {
    while (changes.length > 0) {
      await settle(query);
      const taken = [...changes];
      const isBurst =
        taken.filter((change) => isBehind(query, change)).length >
        (collection.path && query.isActive() && !hiddenAt ? BURST : 0);
      if (isBurst) await reread(query);
      for (const id of new Set(taken.map((change) => change.id ?? ""))) {
        const isItemBehind = () => taken.some((change) => change.id === id && isBehind(query, change));
        // The response to a request that is in flight may be older than the change.
        const scope = scopeOf(collection, id);
        const isInFlight = queries.isMutating({ predicate: ({ options }) => options.scope?.id === scope.id });
        if (!isInFlight && (isBurst || !isItemBehind())) continue;
        const mutationFn = async () => {
          // This session's changes of the item, which come first, may have made it unnecessary.
          if (!isItemBehind()) return;
          const sentAt = Date.now();
          const item = await session.send<BaseItem>("GET", `${collection.path}/${id}`).catch(ignoreMissing);
          await confirmItem(collection, id, item);
          if (sentAt < turnedAt) void reread(all);
        };
        inOrder(session, { mutationFn, scope, gcTime: 0 }).catch(() => reread(query));
      }
      await new Promise((resolve) => setTimeout(resolve, BURST_WINDOW));
      changes.splice(0, taken.length);
    }
  }

  function handle(change: LiveChange): void {
    const { of, parents = [] } = change;
    for (const query of queries.getQueryCache().findAll(all)) {
      const collection = query.meta as Collection | undefined;
      if (collection?.of !== of) continue;
      if (collection.parents.length < parents.length) void reread(query);
      else if (`${collection.parents}` === `${parents}`) {
        const changes = waiting.get(query) ?? [];
        waiting.set(query, changes);
        if (changes.push(change) === 1) void update(query, collection, changes);
      }
    }
  }

  function turn(next: boolean): void {
    isOpen = next;
    turnedAt = heardAt = Date.now();
    // API Gateway closes a connection that has been idle for ten minutes.
    dueAt = turnedAt + (isOpen ? 9 : 1) * MINUTE + Math.random() * SPREAD;
  }

  function drop(): void {
    clearTimeout(timer);
    if (socket) {
      socket.onclose = null;
      socket.close();
      socket = undefined;
    }
    if (isOpen) turn(false);
  }

  async function connect(): Promise<void> {
    drop();
    if (isWaiting) return;
    isWaiting = true;
    const token = await session.token().catch(() => {});
    isWaiting = false;
    if (!token || hiddenAt || !onlineManager.isOnline()) return;
    socket = new WebSocket(url, ["live.v1", `bearer.${token}`]);
    socket.onopen = async () => {
      turn(true);
      session.setPaused(false);
      // A read that began before may be too old. The invalidation would not restart the first read of a query.
      await queries.cancelQueries(all);
      void reread(all);
    };
    socket.onmessage = ({ data }) => {
      heardAt = Date.now();
      const { changes } = JSON.parse(data);
      if (changes === "all") void reread(all);
      else changes?.forEach?.(handle);
    };
    socket.onclose = retry;
  }

  function retry(): void {
    failures = isOpen && Date.now() - turnedAt >= PATIENCE ? 0 : failures + 1;
    // A browser does not say why a socket did not open. If the token is rejected, so is a request, and the session ends.
    if (!isOpen && failures < 3) session.send("GET", "/profile").catch(() => {});
    drop();
    timer = setTimeout(connect, Math.random() * Math.min(SPREAD, 500 * 2 ** failures));
  }

  function tick(): void {
    const now = Date.now();
    const hasSlept = now - tickedAt > DOUBT_AFTER;
    tickedAt = now;
    if (hiddenAt) {
      if (now - hiddenAt >= CLOSE_HIDDEN_AFTER) drop();
    } else if (hasSlept || (heardAt < spokeAt && now - spokeAt > PATIENCE)) void connect();
    else {
      if (!isOpen && now - turnedAt >= TICK) session.setPaused(true);
      if (now < dueAt) return;
      turn(isOpen);
      if (isOpen) socket?.send("{}");
      else void reread(all);
    }
  }

  function onFocus(isFocused: boolean): void {
    const now = Date.now();
    if (!isFocused) hiddenAt ||= now;
    else if (hiddenAt) {
      const isDoubtful = now - hiddenAt > DOUBT_AFTER;
      hiddenAt = 0;
      if (!isOpen) turn(false);
      if (!socket || isDoubtful) void connect();
    }
  }

  // Other tabs learn of a change without the server.
  const channel = new BroadcastChannel(`live ${key[1]} ${key[2]}`);
  channel.onmessage = ({ data }) => handle(data);
  session.announce = (change, sentAt) => {
    channel.postMessage(change);
    // The response may be older than what was read when the socket opened.
    if (sentAt < turnedAt) void reread(all);
    else if (isOpen) spokeAt = sentAt;
  };
  const interval = setInterval(tick, TICK);
  const ignoreFocus = focusManager.subscribe(onFocus);
  const ignoreNetwork = onlineManager.subscribe((isOnline) => isOnline && connect());
  turn(false);
  void connect();
  return () => {
    hiddenAt = Infinity;
    drop();
    session.setPaused(false);
    clearInterval(interval);
    ignoreFocus();
    ignoreNetwork();
    channel.close();
    session.announce = undefined;
  };
}
