import { act, cleanup } from "@testing-library/react";
import fc from "fast-check";
import { useSyncExternalStore } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type ApiError, type Chat, useAuthState, useChats, useCreateChat, useUserProfile } from "../src/index.ts";
import { clerkOf, problem, show } from "./people.tsx";

/** The sessions that Clerk can have, and their users. */
const USERS = { "ada-1": "ada", "ada-2": "ada", "eve-1": "eve" } as const;
type SessionId = keyof typeof USERS;
type Clerk = SessionId | "loading" | "signed out";

type Step =
  /** Clerk changes. React hears of it at once, or with the next change. */
  | { readonly kind: "clerk"; readonly to: Clerk; readonly isHeard: boolean }
  /** A component creates a chat, by the function of its latest render or of its first. */
  | { readonly kind: "create"; readonly component: number; readonly by: "first" | "latest" }
  | { readonly kind: "mount" | "refresh" | "unmount"; readonly component: number }
  | { readonly kind: "answer"; readonly which: number }
  | { readonly kind: "answer all" | "refuse" }
  | { readonly kind: "wait"; readonly ms: number }
  /** Clerk has no token for a while. */
  | { readonly kind: "lack tokens"; readonly times: number };

/** The components that can be mounted: how many chats a page of theirs has. */
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
  fc.record({ kind: fc.constant("answer" as const), which: fc.nat(4) }),
  fc.record({ kind: fc.constantFrom("answer all", "answer all", "answer all", "refuse") }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(10, 600, 6_000) }),
  fc.record({ kind: fc.constant("lack tokens" as const), times: fc.integer({ min: 1, max: 3 }) }),
);
const world = fc.record({
  mounted: fc.subarray(PAGE_SIZES.map((_, index) => index)),
  steps: fc.array(step, { minLength: 5, maxLength: 60, size: "max" }),
  /** Whether an answer comes although its request was aborted. */
  answersAborted: fc.boolean(),
});

type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

/** A change, as the test follows it. */
interface Creation {
  readonly title: string;
  readonly period: number;
  outcome: "confirmed" | "pending" | ApiError["code"];
}

function useHooks(pageSize: number) {
  const { chats, status } = useChats({ pageSize });
  const { profile, refreshProfile } = useUserProfile();
  return { chats, status, auth: useAuthState(), profile, refreshProfile, create: useCreateChat() };
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

/** Does something, and lets what is due within a time happen and be rendered. */
const pass = (ms: number, first = () => {}) =>
  act(async () => {
    first();
    await vi.advanceTimersByTimeAsync(ms);
  });

/** Goes through the steps. Whatever must hold is checked with every render, and once more when all is settled. */
async function run({ mounted: initially, steps, answersAborted }: World): Promise<void> {
  const creations: Creation[] = [];
  const faults: string[] = [];

  // What Clerk knows, and what React has heard of it. Every change of user or session begins a period of its own.
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

  // The API. It handles a request when it comes, and answers when a step says so.
  const stored = { ada: [] as Chat[], eve: [] as Chat[] };
  const refused = new Set<string>();
  /** The latest periods of which a request was accepted, and refused. */
  let accepted = 0;
  let rejected = 0;
  let time = 1_000_000;
  const waiting: (() => void)[] = [];
  const handle = (method: string, url: URL, userId: "ada" | "eve", body: unknown) => {
    const chats = stored[userId];
    if (url.pathname === "/profile") return Response.json({ id: userId, createdAt: 1, updatedAt: 1 });
    if (method === "POST") {
      const { id, title } = JSON.parse(String(body)) as Pick<Chat, "id" | "title">;
      if (!title.startsWith(userId)) faults.push(`“${title}” is sent with a token of ${userId}'s`);
      time += 1;
      chats.unshift({ id, title, version: 1, createdAt: time, updatedAt: time });
      return Response.json(chats[0]);
    }
    const limit = Number(url.searchParams.get("limit"));
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const next = from + limit < chats.length ? { cursor: `${from + limit}` } : {};
    return Response.json({ chats: chats.slice(from, from + limit), ...next });
  };
  globalThis.fetch = (input, { method = "GET", headers, body, signal } = {}) => {
    const token = new Headers(headers).get("authorization")?.split(".")[1] ?? "";
    const { sub, sid } = JSON.parse(atob(token)) as { sub: "ada" | "eve"; sid: string };
    const isAccepted = !refused.has(sid);
    const response = isAccepted ? handle(method, new URL(String(input)), sub, body) : problem(401, "session_ended");
    const sent = period;
    return new Promise((resolve, reject) => {
      if (!answersAborted) signal?.addEventListener("abort", () => reject(signal.reason));
      waiting.push(() => {
        if (isAccepted) accepted = Math.max(accepted, sent);
        else rejected = Math.max(rejected, sent);
        resolve(response);
      });
    });
  };

  // What is on the screen.
  const screens = new Map<number, { status: string; chats: string[]; auth: string; error: string | undefined }>();
  const latest = new Map<number, Hooks & { period: number }>();
  const first = new Map<number, Hooks & { period: number }>();
  const onRender = (index: number, hooks: Hooks) => {
    latest.set(index, { ...hooks, period });
    if (!first.has(index)) first.set(index, { ...hooks, period });

    const { chats, status, auth, profile } = hooks;
    const titles = chats.map((chat) => chat.title);
    const userId = userOf(heard);
    for (const owner of [...titles.map((title) => title.split(" ")[0]), ...(profile ? [profile.id] : [])]) {
      if (owner !== userId) faults.push(`${userId ?? "no user"} sees what is ${owner}'s`);
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
    screens.set(index, { status, chats: titles, auth: auth.status, error: auth.error?.code });
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
        // Whoever was signed in when the function was made; a title says whose it is.
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
        // Without a user, or with another one, it fails at once.
        if (!owner) creation.outcome = "signed_out";
        break;
      }
      case "answer":
        waiting.splice(step.which % Math.max(waiting.length, 1), 1)[0]?.();
        break;
      case "answer all":
        for (const answer of waiting.splice(0)) answer();
        break;
      case "refuse":
        refused.add(heard);
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

  // Everything is heard and answered in the end.
  lacking = 0;
  await pass(10, () => {
    if (clerk === "loading") clerk = heard;
    hear();
  });
  for (let round = 0; round < 8; round += 1) {
    await pass(9_000, () => take({ kind: "answer all" }));
    check("settling");
  }
  await pass(10, () => take({ kind: "answer all" }));
  check("settled");

  expect(creations.filter(({ outcome }) => outcome === "pending")).toEqual([]);
  const userId = userOf(heard);
  for (const [index, screen] of screens) {
    if (heard === "loading") expect(screen).toMatchObject({ auth: "loading", chats: [] });
    else if (!userId) expect(screen).toMatchObject({ auth: "unauthenticated", chats: [] });
    else if (rejected === period) expect(screen).toMatchObject({ auth: "unauthenticated", error: "session_ended" });
    else {
      expect(screen).toMatchObject({ auth: "authenticated", error: undefined });
      const titles = stored[userId].map((chat) => chat.title);
      expect(screen.chats).toEqual(titles.slice(0, screen.chats.length));
      if (screen.status === "Exhausted" || PAGE_SIZES[index] === 50) expect(screen.chats).toEqual(titles);
    }
  }
}

test("no sequence of users, sessions, mounts and late answers shows foreign data or loses a confirmed change", async () => {
  const property = fc.asyncProperty(world, async (world) => {
    try {
      await run(world);
    } finally {
      cleanup();
    }
  });
  await fc.assert(property, { numRuns: Number(process.env["CASES"] ?? 500) });
}, 300_000);
