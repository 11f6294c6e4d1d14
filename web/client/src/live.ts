import { focusManager, onlineManager, type Query, type QueryFilters } from "@tanstack/react-query";

import type { BaseItem } from "./document.ts";
import {
  type Collection,
  confirmItem,
  find,
  ignoreMissing,
  inOrder,
  isBefore,
  keyOf,
  type Pages,
  scopeOf,
} from "./items.ts";
import type { LiveChange, Session } from "./session.ts";

const TICK = 5_000;
/** The time that a socket has to report this session's change, and after which it is stable. */
const PATIENCE = 10_000;
const MINUTE = 60_000;
/** After a device slept or a page was hidden for longer, the socket may be dead. */
const DOUBT_AFTER = 30_000;
const CLOSE_HIDDEN_AFTER = 5 * MINUTE;
/** The longest delay that is added at random, so that clients do not act at the same time. */
const SPREAD = 30_000;
/** More items of a resource than this within `BURST_WINDOW` are read with their lists, and then at most each second. */
const BURST = 10;
const BURST_WINDOW = 5_000;
const BURST_PAUSE = 1_000;
/** The changes of this time are read together. */
const PAUSE = 100;

/** The name of a version. */
const nameOf = ({ of, id, parents, version }: LiveChange) => `${[of, id, parents, version]}`;

/**
 * Keeps the data on the screen up to date until the function that it returns is called.
 *
 * A message says that something changed, and the client reads what that makes outdated. When a socket opens, it reads
 * everything on the screen. The server closes a socket that it cannot send to. So lost, repeated and reordered messages
 * do no harm.
 */
export function goLive(session: Session, url: string): () => void {
  const { queries, key } = session;
  const cache = queries.getQueryCache();
  const all = { queryKey: key };
  /** The changes that lists may lack, by path. */
  const waiting = new Map<string, LiveChange[]>();
  /** The versions that this session made, until the server reports them. */
  const own = new Set<string>();
  /** The number of items that were read within `BURST_WINDOW`. */
  let reads = 0;

  let socket: WebSocket | undefined;
  let isOpen = false;
  /** When that began, or when the last keep-alive was sent or everything was polled, and when to do so next. */
  let turnedAt = 0;
  let dueAt = 0;
  /** When everything on the screen was last read again. */
  let readAt = 0;
  /** When the last message arrived. */
  let heardAt = 0;
  let tickedAt = Date.now();
  let hiddenAt = focusManager.isFocused() ? 0 : tickedAt;
  /** Whether something changed while the page was hidden. */
  let isOutdated = false;
  let failures = -1;
  /** Whether it waits for a token. */
  let isWaiting = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** Waits for what is in flight. */
  const settle = (inFlight: Query[]) =>
    Promise.allSettled(
      inFlight.flatMap(({ promise, meta }) => [promise, meta?.["of"] === "profile" && session.refresh]),
    );

  /** Reads the queries on the screen again, from the first page on. The others are read when they show. */
  function reread(filters: QueryFilters): void {
    for (const query of cache.findAll(filters)) {
      void settle([query]).then(() =>
        // A read that is in flight now began after the call, and is not restarted: in a burst it would not end. But if it
        // reads one more page, it does not read the others.
        queries.invalidateQueries(
          { queryKey: query.queryKey, exact: true },
          { cancelRefetch: Boolean(query.state.fetchMeta?.fetchMore) },
        ),
      );
    }
  }

  function rereadAll(): void {
    readAt = Date.now();
    reread(all);
  }

  /** Whether a list that was read lacks a change. Without an id, nothing shows that it does not. */
  function isMissing(lists: Query[], change: LiveChange): boolean {
    const { id, version } = change;
    if (version !== null && own.delete(nameOf(change))) return false;
    if (!id) return true;
    const read = lists.flatMap(({ state }) => (state.data as Pages) ?? []);
    const known = read.map((data) => find(data, id));
    if (version === null) return known.some(Boolean);
    const current = known.find((item) => item && item.version >= version);
    return read.some(
      ({ pages }, index) =>
        (known[index]?.version ?? 0) < version && (!current || pages.some((page) => isBefore(current, page))),
    );
  }

  /** Reads what lacks changes: the items, or the lists if the items are many. */
  async function update(collection: Collection, changes: LiveChange[]): Promise<void> {
    const filters = { queryKey: keyOf(collection) };
    while (changes.length > 0) {
      const lists = cache.findAll(filters);
      await settle(lists);
      const taken = [...changes];
      const lacking = taken.filter((change) => isMissing(lists, change));
      const isMany =
        reads + lacking.length > BURST || !lacking.every(({ id }) => id) || !lists.some((list) => list.isActive());
      if (isMany && lacking.length > 0) reread(filters);
      for (const id of new Set(taken.map((change) => change.id ?? ""))) {
        const ofItem = (change: LiveChange) => change.id === id;
        // The response to a request that is in flight may be older than the change.
        const scope = scopeOf(collection, id);
        const isInFlight = queries.isMutating({ predicate: ({ options }) => options.scope?.id === scope.id });
        if (!isInFlight && (isMany || !lacking.some(ofItem))) continue;
        const mutationFn = async () => {
          // This session's changes of the item, which come first, may have made it unnecessary.
          if (!taken.some((change) => ofItem(change) && isMissing(cache.findAll(filters), change))) return;
          reads += 1;
          setTimeout(() => {
            reads -= 1;
          }, BURST_WINDOW);
          const sentAt = Date.now();
          const item = await session.send<BaseItem>("GET", `${collection.path}/${id}`).catch(ignoreMissing);
          await confirmItem(collection, id, item);
          if (sentAt <= readAt) rereadAll();
        };
        // This session's next change of the item does not wait for further attempts.
        inOrder(session, { mutationFn, scope, gcTime: 0, retry: false }).catch(() => reread(filters));
      }
      await new Promise((resolve) => setTimeout(resolve, isMany ? BURST_PAUSE : PAUSE));
      changes.splice(0, taken.length);
    }
  }

  function handle(change: LiveChange): void {
    const { of, parents = [] } = change;
    // Also in lists of all items that are further below.
    const below = { of, version: 0 };
    for (const { meta } of cache.findAll(all)) {
      const collection = meta as unknown as Collection;
      const isOwn = `${collection.parents}` === `${parents}`;
      if (collection.of !== of || !(isOwn || collection.parents.length < parents.length)) continue;
      const changes = waiting.get(collection.path) ?? [];
      waiting.set(collection.path, changes);
      const next = isOwn ? change : below;
      // Several lists can have the same path.
      if (changes.at(-1) !== next && changes.push(next) === 1) void update(collection, changes);
    }
  }

  function receive(changes: unknown): void {
    if (hiddenAt) isOutdated = true;
    else if (changes === "all") rereadAll();
    else if (Array.isArray(changes)) changes.forEach(handle);
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
      own.clear();
      // A read that began before may be too old. The invalidation would not restart the first read of a query.
      await queries.cancelQueries(all);
      rereadAll();
    };
    socket.onmessage = ({ data }) => {
      heardAt = Date.now();
      receive(JSON.parse(data).changes);
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
    } else if (hasSlept) void connect();
    else {
      if (!isOpen && now - turnedAt >= TICK) session.setPaused(true);
      if (now < dueAt) return;
      turn(isOpen);
      if (isOpen) socket?.send("{}");
      else rereadAll();
    }
  }

  function onFocus(isFocused: boolean): void {
    const now = Date.now();
    if (!isFocused) hiddenAt ||= now;
    else if (hiddenAt) {
      const isDoubtful = now - hiddenAt > DOUBT_AFTER;
      hiddenAt = 0;
      if (!isOpen) turn(false);
      if (isOutdated) rereadAll();
      isOutdated = false;
      if (!socket || isDoubtful) void connect();
    }
  }

  // Other tabs learn of a change without the server.
  const channel = new BroadcastChannel(`live ${key[1]} ${key[2]}`);
  channel.onmessage = ({ data }) => receive([data]);
  session.announce = (change, sentAt) => {
    if (change) channel.postMessage(change);
    // The response may be older than what was read since.
    if (sentAt <= readAt) rereadAll();
    else if (change) {
      own.add(nameOf(change));
      // A socket that does not report it may be dead.
      if (isOpen && change.id) setTimeout(() => heardAt < sentAt && connect(), PATIENCE);
    }
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
