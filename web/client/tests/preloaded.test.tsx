import { focusManager } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { expect, test, vi } from "vitest";

import { ApiProvider, type Auth, createResourceHooks, useAuthState, useUserProfile } from "../src/index.ts";
import { type PreloadedList, type PreloadedProfile, type ServerApiOptions, serverApi } from "../src/server.ts";
import { ADA, FakeServer, fakeEverything, LIVE_URL, pass, socket } from "./live.ts";
import { clerkOf, problem } from "./support.tsx";

const { useList: useItems, useCreate: useCreateItem } = createResourceHooks("/items", "items");
const BASE_URL = "https://api.example.com";

fakeEverything();

const apiOf = (options: Partial<ServerApiOptions> = {}) =>
  serverApi({ baseUrl: BASE_URL, getToken: ADA.getToken, ...options });

/** What a server reads for Ada, as it arrives in the browser. */
async function preload(server: FakeServer, pageSize?: number) {
  globalThis.fetch = server.fetch;
  // Time stands still meanwhile.
  server.after = async () => {};
  const api = apiOf();
  const [profile, list] = await Promise.all([
    api.preloadProfile(),
    api.preloadList("/items", pageSize ? { pageSize } : {}),
  ]);
  server.take();
  return JSON.parse(JSON.stringify({ profile, list })) as {
    profile: PreloadedProfile | null;
    list: PreloadedList<"/items"> | null;
  };
}

/** What a component has rendered, and the function with which it creates an item. */
class Seen {
  readonly texts: string[] = [];
  create: ReturnType<typeof useCreateItem> | undefined;

  last = () => this.texts.at(-1);
}

interface Props {
  readonly list: PreloadedList<"/items"> | null;
  readonly pageSize?: number;
  readonly seen?: Seen;
}

function List({ list, pageSize, seen }: Props) {
  const { items, status } = useItems({ preloaded: list, ...(pageSize && { pageSize }) });
  const { profile } = useUserProfile();
  const create = useCreateItem();
  const text = `${useAuthState().status} ${profile?.firstName} ${items.map(({ title }) => title)} ${status}`;
  seen?.texts.push(text);
  if (seen) seen.create = create;
  return text;
}

/** Renders children in the provider, and again with other ones. */
function show(clerk: { useAuth: () => Auth }, preloaded: PreloadedProfile | null, liveUrl?: string) {
  const wrap = (children: React.ReactNode) => (
    <StrictMode>
      <ApiProvider baseUrl={BASE_URL} liveUrl={liveUrl} useAuth={clerk.useAuth} preloaded={preloaded}>
        {children}
      </ApiProvider>
    </StrictMode>
  );
  const { rerender } = render(wrap(null));
  return (children: React.ReactNode) => rerender(wrap(children));
}

function clerkWith(auth: Partial<Auth>) {
  const clerk = clerkOf();
  clerk.set(auth);
  return clerk;
}

const titled = (...titles: string[]) => {
  const server = new FakeServer();
  for (const title of titles) server.write(title);
  return server;
};

test("preloaded data shows in the first render, without a request", async () => {
  const server = titled("a", "b", "c");
  const { profile, list } = await preload(server, 2);
  const seen = new Seen();
  show(clerkWith(ADA), profile)(<List seen={seen} list={list} />);
  await pass(4_000);
  expect(new Set(seen.texts)).toEqual(new Set(["authenticated Ada c,b CanLoadMore"]));
  expect(server.take()).toEqual([]);
});

test("preloaded data is in the HTML of the server", async () => {
  const { profile, list } = await preload(titled("a"));
  const html = renderToString(
    <ApiProvider baseUrl={BASE_URL} useAuth={() => ADA} preloaded={profile}>
      <List list={list} />
    </ApiProvider>,
  );
  expect(html).toBe("authenticated Ada a Exhausted");
});

test("preloaded data goes stale like any other", async () => {
  const server = titled("a");
  const { profile, list } = await preload(server);
  const seen = new Seen();
  show(clerkWith(ADA), profile)(<List seen={seen} list={list} />);
  await pass(6_000, () => server.write("b"));
  await pass(100, () => {
    focusManager.setFocused(false);
    focusManager.setFocused(true);
  });
  expect(server.take().sort()).toEqual(["GET /items", "GET /profile"]);
  expect(seen.last()).toBe("authenticated Ada b,a Exhausted");

  // A page that arrives late is read again at once.
  seen.texts.length = 0;
  const later = new Seen();
  show(clerkWith(ADA), profile)(<List seen={later} list={list} />);
  expect(later.last()).toBe("authenticated Ada a Exhausted");
  await pass(100);
  expect(later.last()).toBe("authenticated Ada b,a Exhausted");
});

test("a server whose clock is ahead does not keep its data fresh for longer", async () => {
  const server = titled("a");
  vi.setSystemTime(Date.now() + 3_600_000);
  const { profile, list } = await preload(server);
  vi.setSystemTime(Date.now() - 3_600_000);
  const seen = new Seen();
  show(clerkWith(ADA), profile)(<List seen={seen} list={list} />);
  await pass(6_000);
  await pass(100, () => {
    focusManager.setFocused(false);
    focusManager.setFocused(true);
  });
  expect(server.take().sort()).toEqual(["GET /items", "GET /profile"]);
});

test.each([
  ["user", { userId: "eve", sessionId: "eve-1" }],
  ["user whose session is not known", { userId: "eve", sessionId: null }],
  ["session of the same user", { sessionId: "ada-2" }],
])("another %s does not see preloaded data", async (_, other) => {
  const server = titled("a");
  const { profile, list } = await preload(server);
  server.profile = { ...server.profile, firstName: "Eve" };
  server.items.clear();
  server.write("own");
  const identity = { ...ADA, ...other };
  const getToken = async () => `.${btoa(JSON.stringify({ sub: identity.userId, sid: identity.sessionId }))}.`;
  const clerk = clerkWith({ ...identity, getToken });
  const seen = new Seen();
  show(clerk, profile)(<List seen={seen} list={list} />);
  await pass(100);
  expect(seen.last()).toBe("authenticated Eve own Exhausted");
  expect(seen.texts.filter((text) => / Ada | a /.test(text))).toEqual([]);
  // It is synchronized, as on every sign-in.
  expect(server.take()).toContain("PATCH /profile");

  // Also after the user that it was read for, in the same components.
  clerk.set(ADA);
  await pass(100);
  seen.texts.length = 0;
  clerk.set({ ...identity, getToken });
  await pass(100);
  expect(seen.texts.filter((text) => / a /.test(text))).toEqual([]);
});

test("without a user, preloaded data does not show", async () => {
  const { profile, list } = await preload(titled("a"));
  const seen = new Seen();
  show(clerkWith({ isSignedIn: false, userId: null, sessionId: null }), profile)(<List seen={seen} list={list} />);
  await pass(100);
  expect(seen.last()).toBe("unauthenticated undefined  LoadingFirstPage");
});

test("a page of another size, or of another path, does not show", async () => {
  const server = titled("a", "b", "c");
  const { profile, list } = await preload(server, 2);
  const seen = new Seen();
  const rerender = show(clerkWith(ADA), profile);
  rerender(<List seen={seen} list={list} pageSize={3} />);
  await pass(100);
  expect(new Set(seen.texts)).toEqual(
    new Set(["authenticated Ada  LoadingFirstPage", "authenticated Ada c,b,a Exhausted"]),
  );
  expect(server.take()).toContain("GET /items");

  const moved = new Seen();
  show(
    clerkWith(ADA),
    profile,
  )(<List seen={moved} list={list && { ...list, value: { ...list.value, path: "/boards/1/items" } }} />);
  await pass(0);
  expect(moved.texts[0]).toBe("authenticated Ada  LoadingFirstPage");
});

test("a list that shows later, while updates are live, is read again at once", async () => {
  const server = titled("a");
  const { profile, list } = await preload(server);
  const seen = new Seen();
  const rerender = show(clerkWith(ADA), profile, LIVE_URL);
  await pass(100, () => {});
  await pass(100, () => socket().open());
  // No list of the page is on the screen, so the message has no effect.
  await pass(100, () => socket().poke({ of: "items", id: server.write("b").id, version: 1 }));
  rerender(<List seen={seen} list={list} />);
  expect(seen.last()).toBe("authenticated Ada a Exhausted");
  await pass(100);
  expect(seen.last()).toBe("authenticated Ada b,a Exhausted");
});

test("a list that lacks this session's changes is not used", async () => {
  const server = titled("a");
  const { profile, list } = await preload(server);
  const first = new Seen();
  const rerender = show(clerkWith(ADA), profile);
  rerender(<List seen={first} list={null} pageSize={2} />);
  await pass(100);
  await pass(100, () => void first.create?.({ title: "b" }));
  expect(first.last()).toBe("authenticated Ada b,a Exhausted");
  const second = new Seen();
  rerender(<List seen={second} list={list} />);
  await pass(100);
  expect(second.texts.filter((text) => !text.includes("b"))).toEqual([]);
  expect(second.last()).toBe("authenticated Ada b,a Exhausted");
});

test("what the API rejects is not preloaded, and the browser shows why", async () => {
  const server = titled("a");
  server.isSignedIn = false;
  const preloaded = await preload(server);
  expect(preloaded).toEqual({ profile: null, list: null });
  const seen = new Seen();
  show(clerkWith(ADA), preloaded.profile)(<List seen={seen} list={preloaded.list} />);
  await pass(100);
  expect(seen.last()).toContain("unauthenticated");
});

test("without a token, nothing is preloaded", async () => {
  const { fetch, requests } = titled("a");
  globalThis.fetch = fetch;
  expect(await apiOf({ getToken: async () => null }).preloadList("/items")).toBeNull();
  expect(requests).toEqual([]);
});

test("an error of `getToken`, such as a redirect, passes through", async () => {
  const redirect = new Error("NEXT_REDIRECT");
  const getToken = () => Promise.reject(redirect);
  await expect(apiOf({ getToken }).preloadList("/items")).rejects.toBe(redirect);
  await expect(apiOf({ getToken }).preloadProfile()).rejects.toBe(redirect);
  await expect(apiOf({ getToken }).get("/items")).rejects.toBe(redirect);
});

test("responses are not cached, and failures have codes", async () => {
  const respond = vi.fn<typeof fetch>();
  globalThis.fetch = respond;
  const api = apiOf();
  respond.mockResolvedValueOnce(Response.json({ items: [], cursor: null }));
  await api.get("/items", { query: { limit: 5, cursor: undefined as unknown as string } });
  expect(respond.mock.calls[0]?.[0]).toBe(`${BASE_URL}/items?limit=5`);
  expect(respond.mock.calls[0]?.[1]).toMatchObject({
    method: "GET",
    headers: { authorization: `Bearer ${await ADA.getToken()}` },
    cache: "no-store",
  });
  respond.mockResolvedValueOnce(problem(412, "version_mismatch"));
  await expect(api.get("/items")).rejects.toMatchObject({ code: "version_mismatch", status: 412 });
  respond.mockResolvedValueOnce(new Response("<html>"));
  await expect(api.get("/items")).rejects.toMatchObject({ code: "unexpected" });
  respond.mockRejectedValueOnce(new TypeError("fetch failed"));
  await expect(api.get("/items")).rejects.toMatchObject({ code: "unreachable", status: 0 });
  await expect(apiOf({ getToken: async () => "" }).get("/items")).rejects.toMatchObject({ code: "signed_out" });
});

test("a request that takes too long fails", async () => {
  globalThis.fetch = (_, init) =>
    new Promise((_, reject) => init?.signal?.addEventListener("abort", () => reject(init.signal?.reason)));
  await expect(apiOf({ timeout: 1 }).get("/items")).rejects.toMatchObject({ code: "unreachable" });
});
