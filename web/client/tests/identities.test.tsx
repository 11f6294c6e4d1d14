import { act, cleanup } from "@testing-library/react";
import fc from "fast-check";
import { useSyncExternalStore } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type ApiError, createResourceHooks, type Item, useAuthState, useUserProfile } from "../src/index.ts";
import { clerkOf, problem, show } from "./support.tsx";

const { useList: useItems, useCreate: useCreateItem } = createResourceHooks("/items", "items");

/** The sessions that Clerk can have, and their users. */
const USERS = { "ada-1": "ada", "ada-2": "ada", "eve-1": "eve" } as const;
type SessionId = keyof typeof USERS;
type Clerk = SessionId | "loading" | "signed out";

type Step =
  /** Clerk changes. React is notified at once, or with the next change. */
  | { readonly kind: "clerk"; readonly to: Clerk; readonly isHeard: boolean }
  /** A component creates an item, by the function of its latest render or of its first. */
  | { readonly kind: "create"; readonly component: number; readonly by: "first" | "latest" }
  | { readonly kind: "mount" | "refresh" | "unmount"; readonly component: number }
  | { readonly kind: "respond"; readonly which: number }
  | { readonly kind: "respond to all" | "end session" }
  | { readonly kind: "wait"; readonly ms: number }
  /** Clerk has no token for a while. */
  | { readonly kind: "lack tokens"; readonly times: number };

/** The page sizes of the components that can be mounted. */
const PAGE_SIZES = [50, 50, 2];

const component = fc.nat(PAGE_SIZES.length - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("clerk" as const),
    to: fc.constantFrom<Clerk>("ada-1", "ada-1", "ada-2", "eve-1", "eve-1", "loading", "signed out", "signed out"),
    isHeard: fc.constantFrom(true, true, false),
  }),
  fc.record({ kind: fc.constant("create" as const), component, by: fc.constantFrom("first", "latest") }),
  fc.record({ kind: fc.constantFrom("mount", "mount", "refresh", "unmount"), component }),
  fc.record({ kind: fc.constant("respond" as const), which: fc.nat(4) }),
  fc.record({ kind: fc.constantFrom("respond to all", "respond to all", "respond to all", "end session") }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(10, 600, 6_000) }),
  fc.record({ kind: fc.constant("lack tokens" as const), times: fc.integer({ min: 1, max: 3 }) }),
);
const world = fc.record({
  mounted: fc.subarray(PAGE_SIZES.map((_, index) => index)),
  steps: fc.array(step, { minLength: 5, maxLength: 60, size: "max" }),
  /** Whether a response arrives although its request was aborted. */
  respondsToAborted: fc.boolean(),
});

type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

/** A change, as the test follows it. */
interface Creation {
  readonly title: string;
  readonly period: number;
  outcome: "confirmed" | "pending" | ApiError["code"];
}

function useHooks(pageSize: number) {
  const { items, status } = useItems({ pageSize });
  const { profile, refreshProfile } = useUserProfile();
  return { items, status, auth: useAuthState(), profile, refreshProfile, create: useCreateItem() };
}
type Hooks = ReturnType<typeof useHooks>;

interface Props {
  readonly onRender: (index: number, hooks: Hooks) => void;
}

function Component({ index, onRender }: Props & { readonly index: number }) {
  onRender(index, useHooks(PAGE_SIZES[index] ?? 50));
  return null;
}

interface Mounted {
  readonly subscribe: (listener: () => void) => () => void;
  readonly mounted: () => readonly number[];
}

function Components({ subscribe, mounted, onRender }: Props & Mounted) {
  const indices = useSyncExternalStore(subscribe, mounted);
  return indices.map((index) => <Component key={index} index={index} onRender={onRender} />);
}

const { fetch } = globalThis;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
});

afterEach(() => {
  vi.useRealTimers();
  globalThis.fetch = fetch;
});

/** Takes a step, and lets the time pass that its effects need to be rendered. */
const pass = (ms: number, first = () => {}) =>
  act(async () => {
    first();
    await vi.advanceTimersByTimeAsync(ms);
  });

/** Takes the steps. The invariants are checked with every render, and once more at the end. */
async function run({ mounted: initially, steps, respondsToAborted }: World): Promise<void> {
  const creations: Creation[] = [];
  const faults: string[] = [];

  // Clerk's state, and the state that React was notified of. Every change of user or session begins a new period.
  let clerk: Clerk = "loading";
  let heard: Clerk = "loading";
  let period = 0;
  let lacking = 0;
  const userOf = (session: Clerk) => (session in USERS ? USERS[session as SessionId] : undefined);

  const getToken = async () => {
    const userId = userOf(clerk);
    if (!userId || lacking-- > 0) return null;
    return `.${btoa(JSON.stringify({ sub: userId, sid: clerk }))}.`;
  };
  const fake = clerkOf();
  const hear = () => {
    if (clerk === "loading") {
      return fake.set({ isLoaded: false, isSignedIn: undefined, userId: undefined, sessionId: undefined, getToken });
    }
    if (clerk !== heard) period += 1;
    heard = clerk;
    const userId = userOf(clerk);
    fake.set({ isLoaded: true, isSignedIn: userId !== undefined, userId, sessionId: userId && clerk, getToken });
  };
  hear();

  // The API. It handles a request when it arrives, and responds when a step says so.
  const stored = { ada: [] as Item<"/items">[], eve: [] as Item<"/items">[] };
  const ended = new Set<string>();
  /** The latest periods of which a request was accepted, and rejected. */
  let accepted = 0;
  let rejected = 0;
  let time = 1_000_000;
  const waiting: (() => void)[] = [];
  const handle = (method: string, url: URL, userId: "ada" | "eve", body: unknown) => {
    const items = stored[userId];
    if (url.pathname === "/profile") return Response.json({ id: userId, createdAt: 1, updatedAt: 1 });
    if (method === "POST") {
      const { id, title } = JSON.parse(String(body)) as Pick<Item<"/items">, "id" | "title">;
      if (!title.startsWith(userId)) faults.push(`“${title}” is sent with a token of ${userId}'s`);
      time += 1;
      items.unshift({ id, title, version: 1, createdAt: time, updatedAt: time });
      return Response.json(items[0]);
    }
    const limit = Number(url.searchParams.get("limit"));
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const next = from + limit < items.length ? { cursor: `${from + limit}` } : {};
    return Response.json({ items: items.slice(from, from + limit), ...next });
  };
  globalThis.fetch = (input, { method = "GET", headers, body, signal } = {}) => {
    const token = new Headers(headers).get("authorization")?.split(".")[1] ?? "";
    const { sub, sid } = JSON.parse(atob(token)) as { sub: "ada" | "eve"; sid: string };
    const isAccepted = !ended.has(sid);
    const response = isAccepted ? handle(method, new URL(String(input)), sub, body) : problem(401, "session_ended");
    const sent = period;
    return new Promise((resolve, reject) => {
      if (!respondsToAborted) signal?.addEventListener("abort", () => reject(signal.reason));
      waiting.push(() => {
        if (isAccepted) accepted = Math.max(accepted, sent);
        else rejected = Math.max(rejected, sent);
        resolve(response);
      });
    });
  };

  // The state of the screen.
  const screens = new Map<number, { status: string; items: string[]; auth: string; error: string | undefined }>();
  const latest = new Map<number, Hooks & { period: number }>();
  const first = new Map<number, Hooks & { period: number }>();
  const onRender = (index: number, hooks: Hooks) => {
    latest.set(index, { ...hooks, period });
    if (!first.has(index)) first.set(index, { ...hooks, period });

    const { items, status, auth, profile } = hooks;
    const titles = items.map((item) => item.title);
    const userId = userOf(heard);
    for (const owner of [...titles.map((title) => title.split(" ")[0]), ...(profile ? [profile.id] : [])]) {
      if (owner !== userId) faults.push(`${userId ?? "no user"} sees an item of ${owner}'s`);
    }
    if (auth.status === "authenticated" && !(userId && accepted === period)) {
      faults.push(`${heard} is authenticated before the server accepted it`);
    }
    if (PAGE_SIZES[index] === 50) {
      for (const { title, outcome } of creations.filter((creation) => creation.period === period)) {
        const isIn = outcome === "pending" || outcome === "confirmed";
        if (isIn && !titles.includes(title)) faults.push(`“${title}” (${outcome}) is not in the list (${status})`);
      }
    }
    screens.set(index, { status, items: titles, auth: auth.status, error: auth.error?.code });
  };

  let mounted: readonly number[] = initially;
  const listeners = new Set<() => void>();
  const mount = (indices: readonly number[]) => {
    mounted = indices;
    for (const listener of listeners) listener();
  };
  const subscribe = (listener: () => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  show(<Components subscribe={subscribe} mounted={() => mounted} onRender={onRender} />, fake);

  const take = (step: Step) => {
    switch (step.kind) {
      case "clerk":
        clerk = step.to;
        if (step.isHeard) hear();
        break;
      case "mount":
        if (!mounted.includes(step.component)) mount([...mounted, step.component]);
        break;
      case "unmount":
        mount(mounted.filter((index) => index !== step.component));
        latest.delete(step.component);
        first.delete(step.component);
        screens.delete(step.component);
        break;
      case "refresh":
        latest
          .get(step.component)
          ?.refreshProfile()
          .catch(() => {});
        break;
      case "create": {
        const hooks = (step.by === "first" ? first : latest).get(step.component);
        if (!hooks) break;
        // The user that was signed in when the function was made. The title names them.
        const owner = hooks.period === period ? userOf(heard) : undefined;
        const creation: Creation = {
          title: `${owner ?? "-"} ${creations.length}`,
          period: hooks.period,
          outcome: "pending",
        };
        hooks.create({ title: creation.title }).then(
          () => {
            creation.outcome = "confirmed";
          },
          (error: ApiError) => {
            creation.outcome = error.code;
          },
        );
        creations.push(creation);
        // Without a user, or with another user, it fails at once.
        if (!owner) creation.outcome = "signed_out";
        break;
      }
      case "respond":
        waiting.splice(step.which % Math.max(waiting.length, 1), 1)[0]?.();
        break;
      case "respond to all":
        for (const respond of waiting.splice(0)) respond();
        break;
      case "end session":
        ended.add(heard);
        break;
      case "lack tokens":
        lacking = step.times;
        break;
      case "wait":
        break;
    }
  };
  const check = (after: string) => expect(faults, after).toEqual([]);

  for (const step of steps) {
    await pass(step.kind === "wait" ? step.ms : 10, () => take(step));
    check(JSON.stringify(step));
  }

  // In the end React is notified of everything, and all requests get a response.
  lacking = 0;
  await pass(10, () => {
    if (clerk === "loading") clerk = heard;
    hear();
  });
  for (let round = 0; round < 8; round += 1) {
    await pass(9_000, () => take({ kind: "respond to all" }));
    check("settling");
  }
  await pass(10, () => take({ kind: "respond to all" }));
  check("settled");

  expect(creations.filter(({ outcome }) => outcome === "pending")).toEqual([]);
  const userId = userOf(heard);
  for (const [index, screen] of screens) {
    if (heard === "loading") expect(screen).toMatchObject({ auth: "loading", items: [] });
    else if (!userId) expect(screen).toMatchObject({ auth: "unauthenticated", items: [] });
    else if (rejected === period) expect(screen).toMatchObject({ auth: "unauthenticated", error: "session_ended" });
    else {
      expect(screen).toMatchObject({ auth: "authenticated", error: undefined });
      const titles = stored[userId].map((item) => item.title);
      expect(screen.items).toEqual(titles.slice(0, screen.items.length));
      if (screen.status === "Exhausted" || PAGE_SIZES[index] === 50) expect(screen.items).toEqual(titles);
    }
  }
}

test("no sequence of users, sessions, mounts and late responses shows foreign data or loses a confirmed change", async () => {
  const property = fc.asyncProperty(world, async (world) => {
    try {
      await run(world);
    } finally {
      cleanup();
    }
  });
  await fc.assert(property, { numRuns: Number(process.env["CASES"] ?? 500) });
}, 300_000);
