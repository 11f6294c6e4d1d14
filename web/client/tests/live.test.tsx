import { focusManager, MutationCache, onlineManager } from "@tanstack/react-query";
import { describe, expect, test, vi } from "vitest";

import { createResourceHooks, useAuthState, useConnection, useUserProfile } from "../src/index.ts";
import { ADA, channels, FakeServer, fakeEverything, LIVE_URL, pass, socket, sockets } from "./live.ts";
import { clerkOf, failure, latch, problem, signedIn, use } from "./support.tsx";

const { useList: useItems, useCreate, useUpdate, useDelete } = createResourceHooks("/items", "items");

const MINUTE = 60_000;

fakeEverything();

/** A client whose socket is open and that has read the list of `titles`. */
async function start({
  titles = [] as string[],
  pageSize = 50,
  secondPageSize = 0,
  isOpen = true,
  server = new FakeServer(),
} = {}) {
  for (const title of titles) server.write(title);
  globalThis.fetch = server.fetch;
  const clerk = clerkOf();
  clerk.set(ADA);
  const rendered: string[] = [];
  const { result, unmount } = use(
    () => {
      const list = useItems({ pageSize });
      rendered.push(list.items.map((item) => item.title).join());
      return {
        ...list,
        second: useItems({ pageSize: secondPageSize || pageSize }),
        ...useUserProfile(),
        auth: useAuthState().status,
        connection: useConnection(),
        create: useCreate(),
        update: useUpdate(),
        remove: useDelete(),
      };
    },
    clerk,
    LIVE_URL,
  );
  await pass(100);
  if (isOpen) await pass(100, () => socket().open());
  expect(result.current.items.map((item) => item.title)).toEqual(server.titles().slice(0, pageSize));
  server.take();
  const shown = () => result.current.items.map((item) => item.title);
  const item = (title: string) => {
    const found = result.current.items.find((item) => item.title === title);
    if (!found) throw new Error(`${title} is not listed`);
    return found;
  };
  return { server, clerk, result, rendered, shown, item, unmount };
}

/** Pokes the latest socket with every change. */
function pokeAll(server: FakeServer) {
  server.onChange = (change) => socket().poke(change);
}

test("the socket has the token in its subprotocols, and without a URL it is not opened", async () => {
  const { unmount } = await start();
  expect(sockets).toHaveLength(1);
  expect(socket()).toMatchObject({ url: LIVE_URL, protocols: ["live.v1", `bearer.${await ADA.getToken()}`] });
  unmount();
  expect(socket().state).toBe("closed");
  expect(channels.size).toBe(0);

  globalThis.fetch = new FakeServer().fetch;
  const clerk = clerkOf();
  clerk.set(ADA);
  for (const liveUrl of [undefined, ""]) use(useItems, clerk, liveUrl);
  await pass(10 * MINUTE);
  expect(sockets).toHaveLength(1);
});

test("changes elsewhere show, and each costs one read of the item", async () => {
  const { server, shown } = await start({ titles: ["a", "b"] });
  pokeAll(server);
  await pass(150, () => server.write("c"));
  expect(shown()).toEqual(["c", "b", "a"]);
  await pass(150, () => server.write("B", "item-2"));
  expect(shown()).toEqual(["c", "B", "a"]);
  await pass(150, () => server.delete("item-1"));
  expect(shown()).toEqual(["c", "B"]);
  expect(server.take()).toEqual(["GET /items/item-3", "GET /items/item-2", "GET /items/item-1"]);
});

test("a message that is repeated or late costs no read", async () => {
  const { server, shown } = await start({ titles: ["a"] });
  server.write("b", "item-1");
  await pass(150, () => socket().poke({ of: "items", id: "item-1", version: 2 }));
  expect(server.take()).toEqual(["GET /items/item-1"]);
  await pass(150, () => socket().poke({ of: "items", id: "item-1", version: 2 }));
  await pass(150, () => socket().poke({ of: "items", id: "item-1", version: 1 }));
  await pass(150, () => socket().poke({ of: "items", id: "gone", version: null }));
  expect(server.take()).toEqual([]);
  expect(shown()).toEqual(["b"]);
});

describe.each([
  ["after", 5],
  ["before", 50],
])("when the message arrives %s the response", (_, latency) => {
  test("this session's changes cost no read, and nothing flickers", async () => {
    const { server, result, shown, item, rendered } = await start({ titles: ["a", "b"] });
    server.after = () => new Promise((resolve) => setTimeout(resolve, latency));
    server.onChange = (change) => void setTimeout(() => socket().poke(change), 20);
    const done = (change: () => Promise<unknown>) => pass(300, () => void change());
    rendered.length = 0;
    await done(() => result.current.create({ title: "c" }));
    await done(() => result.current.update(item("b"), { title: "B" }));
    await done(() => result.current.remove(item("a")));
    expect(shown()).toEqual(["c", "B"]);
    await done(() => result.current.refreshProfile({ firstName: "Augusta" }));
    expect(result.current.profile?.firstName).toBe("Augusta");
    expect(server.take().map((request) => request.split(" ")[0])).toEqual(["POST", "PATCH", "DELETE", "PATCH"]);
    const states = rendered.filter((state, index) => state !== rendered[index - 1]);
    expect(states).toEqual(["b,a", "c,b,a", "c,B,a", "c,B"].slice(states.length === 4 ? 0 : 1));
  });
});

test("a profile message that overtakes the response of an update costs no read", async () => {
  const { server, result } = await start();
  server.after = async (method) => {
    if (method === "PATCH") socket().poke({ of: "profile", version: server.profile.updatedAt });
    await new Promise((resolve) => setTimeout(resolve, 50));
  };
  await pass(300, () => void result.current.refreshProfile({ firstName: "Augusta" }));
  expect(server.take()).toEqual(["PATCH /profile"]);
  server.changeProfile("Ada");
  await pass(300, () => socket().poke({ of: "profile", version: server.profile.updatedAt }));
  expect(server.take()).toEqual(["GET /profile"]);
  expect(result.current.profile?.firstName).toBe("Ada");
});

test("updates of the profile are sent one after the other, so that a late response hides no later update", async () => {
  const { result, server } = await start();
  let late = 500;
  server.after = () => {
    const time = late;
    late = 0;
    return new Promise((resolve) => setTimeout(resolve, time));
  };
  await pass(0, () => {
    for (const firstName of ["Augusta", "Lovelace"]) void result.current.refreshProfile({ firstName });
  });
  expect(server.take()).toEqual(["PATCH /profile"]);
  await pass(1_000);
  expect(server.take()).toEqual(["PATCH /profile"]);
  expect(result.current.profile?.firstName).toBe("Lovelace");
});

test("a profile is read whenever it has changed elsewhere, whatever its time", async () => {
  const { server, result } = await start();
  pokeAll(server);
  server.profileTime = () => 500;
  await pass(300, () => void result.current.refreshProfile({ firstName: "Augusta" }));
  expect(server.take()).toEqual(["PATCH /profile"]);
  for (const [name, time] of [
    ["Byron", 400],
    ["King", 400],
    ["Lovelace", 500],
  ] as const) {
    await pass(1_200, () => server.changeProfile(name, time));
    expect(result.current.profile?.firstName).toBe(name);
    expect(server.take()).toEqual(["GET /profile"]);
  }
  // Nothing changed, so the next message is not about this update.
  server.profileTime = () => 600;
  await pass(1_200, () => void result.current.refreshProfile({ firstName: "Lovelace" }));
  await pass(1_200, () => server.changeProfile("Noel", 600));
  expect(result.current.profile?.firstName).toBe("Noel");
});

test("an item that this session is changing is read after the change", async () => {
  const { server, result, shown, item } = await start({ titles: ["a"] });
  const held = latch();
  server.before = (method) => (method === "PATCH" ? held.opened : Promise.resolve());
  const updated = failure(result.current.update(item("a"), { title: "mine" }));
  await pass(50);
  pokeAll(server);
  await pass(150, () => server.write("theirs", "item-1"));
  expect(shown()).toEqual(["mine"]);
  expect(server.take()).toEqual(["PATCH /items/item-1"]);
  held.open();
  await pass(150);
  expect(await updated).toMatchObject({ code: "version_mismatch", current: { title: "theirs" } });
  expect(shown()).toEqual(["theirs"]);
  // Once, by the update itself.
  expect(server.take()).toEqual(["GET /items/item-1"]);
});

test("a response that is older than what was read for all changes does not hide them", async () => {
  const { server, result, item, shown } = await start({ titles: ["a"] });
  server.after = (method) => new Promise((resolve) => setTimeout(resolve, method === "PATCH" ? 500 : 0));
  await pass(100, () => void result.current.update(item("a"), { title: "mine" }));
  server.write("theirs", "item-1");
  await pass(100, () => socket().receive({ changes: "all" }));
  await pass(2_000);
  expect(shown()).toEqual(["theirs"]);
});

test("a late response that an item is missing does not hide that it is there again", async () => {
  const { server, result, item, shown } = await start({ titles: ["a"] });
  server.delete("item-1");
  server.after = (method) => new Promise((resolve) => setTimeout(resolve, method === "PATCH" ? 500 : 0));
  await pass(100, () => void result.current.update(item("a"), { title: "mine" }).catch(() => {}));
  server.write("restored", "item-1");
  await pass(100, () => socket().receive({ changes: "all" }));
  await pass(2_000);
  expect(shown()).toEqual(["restored"]);
});

test("a deletion elsewhere that overtakes the response of the creation shows", async () => {
  const { server, result, shown } = await start();
  server.after = () => new Promise((resolve) => setTimeout(resolve, 500));
  pokeAll(server);
  await pass(100, () => void result.current.create({ title: "a" }));
  await pass(100, () => server.delete(server.list()[0]?.id ?? ""));
  await pass(2_000);
  expect(shown()).toEqual([]);
});

test("a deletion elsewhere that overtakes the response of a read shows", async () => {
  const { server, shown } = await start();
  server.after = () => new Promise((resolve) => setTimeout(resolve, 500));
  pokeAll(server);
  await pass(100, () => server.write("a"));
  await pass(100, () => server.delete("item-1"));
  await pass(2_000);
  expect(shown()).toEqual([]);
});

test("a response that is older than what was read when the socket opened is read again", async () => {
  for (const isOwn of [true, false]) {
    const { server, result, shown, unmount } = await start();
    const response = latch();
    pokeAll(server);
    server.after = (method, path) => (method === "POST" || path !== "/items" ? response.opened : Promise.resolve());
    if (isOwn) await pass(100, () => void result.current.create({ title: "a" }));
    else await pass(100, () => server.write("a"));
    await pass(1_000, () => socket().lose());
    server.delete(server.list()[0]?.id ?? "");
    await pass(100, () => socket().open());
    await pass(1_000, response.open);
    expect(shown(), `own change: ${isOwn}`).toEqual([]);
    unmount();
  }
});

test("an item that cannot be read is read with its list", async () => {
  const { server, shown } = await start({ titles: ["a"] });
  const { fetch } = server;
  globalThis.fetch = (input, init) =>
    String(input).endsWith("/item-1") ? Promise.resolve(problem(403, "route_not_found")) : fetch(input, init);
  pokeAll(server);
  await pass(300, () => server.write("b", "item-1"));
  expect(shown()).toEqual(["b"]);
});

test("a list that was read when an item changed is compared with the change", async () => {
  const { server, shown } = await start({ titles: ["a"], isOpen: false });
  server.after = () => new Promise((resolve) => setTimeout(resolve, 500));
  await pass(50, () => socket().open());
  expect(server.take()).toContain("GET /items");
  pokeAll(server);
  await pass(1_000, () => server.write("b", "item-1"));
  expect(shown()).toEqual(["b"]);
  expect(server.take()).toEqual(["GET /items/item-1"]);
});

test("messages and changes of unknown kinds are ignored", async () => {
  const { server, shown } = await start({ titles: ["a"] });
  server.write("b", "item-1");
  for (const message of [
    {},
    [],
    "changes",
    1,
    { changes: "some" },
    { changes: 1 },
    { changes: { of: "items", id: "item-1", version: 2 } },
    { changes: [{}, { of: "things", id: "item-1", version: 2 }, { of: "items", id: "item-1" }] },
    { message: "Forbidden", connectionId: "1", requestId: "2" },
  ]) {
    await pass(150, () => socket().receive(message));
  }
  expect(server.take()).toEqual([]);
  await pass(150, () =>
    socket().receive({ changes: [{ of: "items", id: "item-1", version: 2, since: 1 }], kind: "changes", more: [1] }),
  );
  expect(shown()).toEqual(["b"]);
});

test('"all" reads everything on the screen, once for all messages until then', async () => {
  const { server, shown } = await start({ titles: ["a"] });
  server.write("b");
  server.after = () => new Promise((resolve) => setTimeout(resolve, 500));
  await pass(100, () => socket().receive({ changes: "all" }));
  server.write("c");
  for (let message = 0; message < 20; message += 1) await pass(10, () => socket().receive({ changes: "all" }));
  await pass(2_000);
  expect(shown()).toEqual(["c", "b", "a"]);
  expect(server.take().sort()).toEqual(["GET /items", "GET /items", "GET /profile", "GET /profile"]);
});

test("a page that is loaded while the profile is updated does not stand for the pages before", async () => {
  const { server, result, shown } = await start({ titles: ["a", "b", "c", "d", "e"], pageSize: 2 });
  const response = latch();
  server.after = (_, path) =>
    path === "/profile" ? response.opened : new Promise((resolve) => setTimeout(resolve, 200));
  await pass(20, () => void result.current.refreshProfile({ firstName: "Augusta" }));
  server.write("E", "item-5");
  await pass(20, () => socket().receive({ changes: "all" }));
  await pass(100, () => result.current.loadMore());
  await pass(5_000, response.open);
  expect(shown()).toEqual(["E", "d", "c", "b"]);
});

describe("with a second list of the same resource that shows fewer items", () => {
  test("this session's change of an item that it does not show costs no read", async () => {
    const { server, result, item } = await start({ titles: ["a", "b", "c", "d", "e"], secondPageSize: 2 });
    pokeAll(server);
    await pass(300, () => void result.current.update(item("a"), { title: "A" }));
    expect(server.take()).toEqual(["PATCH /items/item-1"]);
    await pass(300, () => void result.current.update(item("e"), { title: "E" }));
    await pass(300, () => void result.current.create({ title: "f" }));
    expect(server.take()).toEqual(["PATCH /items/item-5", "POST /items"]);
    expect(result.current.second.items.map(({ title }) => title)).toEqual(["f", "E", "d"]);
  });

  test("a change elsewhere costs one read", async () => {
    const { server, result, shown } = await start({ titles: ["a", "b", "c"], secondPageSize: 2 });
    pokeAll(server);
    await pass(300, () => server.write("A", "item-1"));
    await pass(300, () => server.write("C", "item-3"));
    await pass(300, () => server.write("d"));
    expect(server.take()).toEqual(["GET /items/item-1", "GET /items/item-3", "GET /items/item-4"]);
    expect(shown()).toEqual(["d", "C", "b", "A"]);
    expect(result.current.second.items.map(({ title }) => title)).toEqual(["d", "C", "b"]);
  });

  test("a list that was read before an item was created gets it, although the other list has it", async () => {
    const { server, result, shown } = await start({ titles: ["a", "b"], secondPageSize: 2 });
    const change = { of: "items", id: "item-3", version: 1 };
    const { fetch } = server;
    globalThis.fetch = (input, init) =>
      String(input).includes("limit=50") ? Promise.resolve(problem(503, "unavailable")) : fetch(input, init);
    server.write("c");
    await pass(300, () => socket().receive({ changes: "all" }));
    expect(result.current.second.items.map(({ title }) => title)).toEqual(["c", "b"]);
    expect(shown()).toEqual(["b", "a"]);
    globalThis.fetch = fetch;
    await pass(30_000, () => socket().poke(change));
    expect(shown()).toEqual(["c", "b", "a"]);
  });
});

test("this session's change of an item on no page costs no read", async () => {
  const { server, result } = await start({ titles: ["a", "b", "c"], pageSize: 2 });
  pokeAll(server);
  await pass(300, () => void result.current.update({ id: "item-1", version: 1 }, { title: "A" }));
  expect(server.take()).toEqual(["PATCH /items/item-1"]);
});

test("a read that fails does not delay this session's change of the item", async () => {
  const { server, result, shown, item } = await start({ titles: ["a"] });
  const { fetch } = server;
  globalThis.fetch = (input, init) =>
    String(input).endsWith("/item-1") && init?.method === "GET"
      ? Promise.resolve(problem(503, "unavailable"))
      : fetch(input, init);
  const held = latch();
  server.before = (_, path) => (path === "/items" ? held.opened : Promise.resolve());
  server.write("theirs", "item-1");
  await pass(50, () => socket().poke({ of: "items", id: "item-1", version: 2 }));
  await pass(100, () => void result.current.update({ ...item("a"), version: 2 }, { title: "mine" }));
  expect(server.list()).toMatchObject([{ title: "mine" }]);
  held.open();
  await pass(1_000);
  expect(shown()).toEqual(["mine"]);
});

describe("a burst", () => {
  test("of more than ten items in a message is one read of the list", async () => {
    const { server, shown } = await start();
    const changes: unknown[] = [];
    server.onChange = (change) => changes.push(change);
    for (let index = 0; index < 11; index += 1) server.write(`${index}`);
    await pass(500, () => socket().poke(...changes));
    expect(shown()).toEqual(server.titles());
    expect(server.take()).toEqual(["GET /items"]);
  });

  test("of more than ten messages within 100 milliseconds is one read of an item and one of the list", async () => {
    const { server, shown } = await start();
    pokeAll(server);
    for (let index = 0; index < 12; index += 1) await pass(8, () => server.write(`${index}`));
    await pass(500);
    expect(shown()).toEqual(server.titles());
    expect(server.take()).toEqual(["GET /items/item-1", "GET /items"]);
  });

  test("that goes on ends as few reads of items and of the list", async () => {
    const { server, shown } = await start({ pageSize: 100 });
    pokeAll(server);
    for (let index = 0; index < 500; index += 1) await pass(11, () => server.write(`${index}`, `item-${index % 50}`));
    await pass(2_000);
    expect(shown()).toEqual(server.titles());
    const requests = server.take();
    expect(requests.filter((request) => request !== "GET /items").length).toBeLessThanOrEqual(20);
    expect(requests.filter((request) => request === "GET /items").length).toBeLessThanOrEqual(7);
    // Later changes are read one by one again.
    await pass(5_000);
    await pass(300, () => server.write("last", "item-1"));
    expect(server.take()).toEqual(["GET /items/item-1"]);
  });

  test("of 10,000 messages ends as reads of the list that none of them interrupts", async () => {
    const { server, shown, result } = await start({ pageSize: 100 });
    server.after = () => new Promise((resolve) => setTimeout(resolve, 300));
    pokeAll(server);
    for (let round = 0; round < 100; round += 1) {
      await pass(1, () => {
        for (let index = 0; index < 100; index += 1) server.write(`${round} ${index}`, `item-${index}`);
      });
    }
    await pass(2_000);
    expect(shown()).toEqual(server.titles());
    expect(result.current.status).toBe("Exhausted");
    const requests = server.take();
    expect(requests.filter((request) => request !== "GET /items").length).toBeLessThanOrEqual(10);
    expect(requests.filter((request) => request === "GET /items").length).toBeLessThanOrEqual(2);
  });

  test("of this session's changes costs no read", async () => {
    const { server, result, shown } = await start();
    pokeAll(server);
    const titles = Array.from({ length: 30 }, (_, index) => `${index}`);
    await pass(2_000, () => titles.forEach((title) => void result.current.create({ title })));
    expect(shown()).toEqual(titles.toReversed());
    expect(server.take()).toEqual(titles.map(() => "POST /items"));
  });
});

test("a change while no socket is open shows when the next one is", async () => {
  const { server, shown, result } = await start({ titles: ["a"] });
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  await pass(0, () => socket().lose());
  server.write("b");
  server.changeProfile("Augusta");
  await pass(249);
  expect(sockets).toHaveLength(1);
  await pass(1);
  expect(sockets).toHaveLength(2);
  expect(shown()).toEqual(["a"]);
  await pass(100, () => socket().open());
  expect(shown()).toEqual(["b", "a"]);
  expect(result.current.profile?.firstName).toBe("Augusta");
});

test("a first read that began before the socket opened is restarted", async () => {
  const server = new FakeServer();
  server.write("a");
  globalThis.fetch = server.fetch;
  const stale = latch();
  let reads = 0;
  server.after = (_, path) => (path === "/items" && reads++ === 0 ? stale.opened : Promise.resolve());
  const clerk = clerkOf();
  clerk.set(ADA);
  const { result } = use(useItems, clerk, LIVE_URL);
  await pass(100);
  expect(result.current.status).toBe("LoadingFirstPage");
  server.write("b");
  await pass(100, () => socket().open());
  expect(result.current.items.map((item) => item.title)).toEqual(["b", "a"]);
});

test("sockets that the server closes after a while are replaced, and no change is missed", async () => {
  const { server, shown } = await start({ titles: ["a"] });
  // As the limit of two hours does.
  for (let round = 0; round < 5; round += 1) {
    const rotated = socket();
    pokeAll(server);
    await pass(2_000, () => server.write(`${round} open`));
    await pass(1, () => rotated.lose());
    server.onChange = () => {};
    server.write(`${round} closed`);
    server.write(`${round}`, "item-1");
    while (socket() === rotated) await pass(100);
    server.write(`${round} connecting`);
    server.delete(`item-${3 * round + 2}`);
    await pass(200, () => socket().open());
    expect(shown()).toEqual(server.titles());
  }
  expect(sockets).toHaveLength(6);
});

describe("without a socket", () => {
  test("the attempts are spread over growing intervals, from none to the longest", async () => {
    for (const share of [0, 0.25, 0.5, 1 - Number.EPSILON]) {
      sockets.length = 0;
      vi.spyOn(Math, "random").mockReturnValue(share);
      const { unmount } = await start({ isOpen: false });
      const delays: number[] = [];
      for (let attempt = 0; attempt < 9; attempt += 1) {
        const lostAt = Date.now();
        const before = sockets.length;
        await pass(0, () => socket().lose());
        while (sockets.length === before) await pass(share === 0 ? 0 : 125);
        delays.push(socket().createdAt - lostAt);
      }
      const longest = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];
      expect(delays).toEqual(longest.map((ms) => Math.floor(ms * share)));
      unmount();
    }
  });

  test("the intervals begin again once a socket has been open for ten seconds", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    await start({ isOpen: false });
    const delay = async () => {
      const before = sockets.length;
      const lostAt = Date.now();
      await pass(0, () => socket().lose());
      while (sockets.length === before) await pass(125);
      return socket().createdAt - lostAt;
    };
    expect(await delay()).toBe(250);
    expect(await delay()).toBe(500);
    await pass(9_000, () => socket().open());
    expect(await delay()).toBe(1_000);
    await pass(10_000, () => socket().open());
    expect(await delay()).toBe(250);
  });

  test("nothing is polled for a minute, and then everything about each minute until one is open", async () => {
    const { server, result, shown } = await start({ titles: ["a"] });
    await pass(0, () => socket().lose());
    await pass(4_000);
    expect(result.current.connection).toBe("online");
    await pass(6_000);
    expect(result.current.connection).toBe("paused");
    await pass(49_000);
    expect(server.take()).toEqual([]);
    server.write("b");
    await pass(38_000);
    expect(shown()).toEqual(["b", "a"]);
    expect(server.take().sort()).toEqual(["GET /items", "GET /profile"]);
    for (let minutes = 0; minutes < 15; minutes += 1) await pass(MINUTE);
    const polls = server.take().filter((request) => request === "GET /items").length;
    expect(polls).toBeGreaterThanOrEqual(9);
    expect(polls).toBeLessThanOrEqual(15);
    await pass(100, () => socket().open());
    expect(result.current.connection).toBe("online");
    server.take();
    await pass(5 * MINUTE);
    expect(server.take()).toEqual([]);
  });
});

test("a refused token ends the session, and no other socket is opened", async () => {
  const { server, result } = await start();
  server.isSignedIn = false;
  await pass(600, () => socket().lose());
  expect(sockets).toHaveLength(2);
  await pass(100, () => socket().lose());
  expect(result.current.auth).toBe("unauthenticated");
  await pass(10 * MINUTE);
  expect(sockets.length).toBeLessThanOrEqual(3);
  expect(socket().state).toBe("closed");
});

test.each<[string, () => Promise<string | null>]>([
  ["null", async () => null],
  ["an error", () => Promise.reject(new Error("Clerk cannot be reached"))],
  ["another user's token", async () => `.${btoa(JSON.stringify({ sub: "eve", sid: "eve-1" }))}.`],
])("with %s from getToken no socket is opened until there is a token of the session", async (_, getToken) => {
  const { clerk } = await start();
  await pass(0, () => clerk.set({ getToken }));
  await pass(MINUTE, () => socket().lose());
  expect(sockets).toHaveLength(1);
  await pass(10_000, () => clerk.set({ getToken: ADA.getToken }));
  expect(sockets.length).toBeGreaterThan(1);
  expect(socket().protocols[1]).toBe(`bearer.${await ADA.getToken()}`);
});

test("a token that Clerk returns late opens one socket, whatever happens meanwhile", async () => {
  const { clerk } = await start();
  const token = latch();
  await pass(0, () => clerk.set({ getToken: () => token.opened.then(ADA.getToken) }));
  await pass(1_000, () => socket().lose());
  for (let times = 0; times < 5; times += 1) {
    await pass(100, () => onlineManager.setOnline(false));
    await pass(100, () => onlineManager.setOnline(true));
  }
  token.open();
  await pass(5_000);
  expect(sockets).toHaveLength(2);
});

test("a token that Clerk returns after the sign-out opens no socket", async () => {
  const { clerk } = await start();
  const token = latch();
  await pass(0, () => clerk.set({ getToken: () => token.opened.then(ADA.getToken) }));
  await pass(1_000, () => socket().lose());
  await pass(100, () => clerk.set(signedIn()));
  token.open();
  await pass(MINUTE);
  expect(sockets).toHaveLength(1);
});

test("a change that is confirmed after the session was rejected is not an error", async () => {
  const { server, result } = await start();
  const response = latch();
  server.after = (method) => (method === "POST" ? response.opened : Promise.resolve());
  const created = result.current.create({ title: "a" });
  await pass(100);
  server.isSignedIn = false;
  await pass(100, () => void result.current.refreshProfile().catch(() => {}));
  expect(result.current.auth).toBe("unauthenticated");
  expect(socket().state).toBe("closed");
  response.open();
  await pass(100);
  expect(await created).toMatchObject({ title: "a" });
});

test("reads of items are forgotten", async () => {
  const add = vi.spyOn(MutationCache.prototype, "add");
  const { server, shown } = await start({ titles: ["a"] });
  pokeAll(server);
  for (let version = 0; version < 20; version += 1) await pass(150, () => server.write(`${version}`, "item-1"));
  await pass(1_000);
  expect(shown()).toEqual(["19"]);
  const [cache] = add.mock.contexts as MutationCache[];
  expect(cache?.getAll()).toEqual([]);
});

test("a sign-out closes the socket, and the next session has its own", async () => {
  const { clerk, server } = await start();
  const before = socket();
  await pass(5 * MINUTE, () => clerk.set(signedIn()));
  expect(before.state).toBe("closed");
  expect(sockets).toHaveLength(1);
  server.profile = { ...server.profile, id: "eve" };
  const token = `.${btoa(JSON.stringify({ sub: "eve", sid: "eve-1" }))}.`;
  await pass(100, () => clerk.set({ ...ADA, userId: "eve", sessionId: "eve-1", getToken: async () => token }));
  expect(sockets).toHaveLength(2);
  expect(socket().protocols[1]).toBe(`bearer.${token}`);
});

test("an idle socket is kept alive every nine minutes", async () => {
  await start();
  const openedAt = Date.now();
  await pass(8.5 * MINUTE);
  expect(socket().sent).toEqual([]);
  await pass(MINUTE);
  expect(socket().sent).toEqual(["{}"]);
  while (socket().sent.length < 7) await pass(1_000);
  const average = (Date.now() - openedAt) / 7;
  expect(average).toBeGreaterThan(8.5 * MINUTE);
  expect(average).toBeLessThan(9.6 * MINUTE);
  expect(sockets).toHaveLength(1);
});

describe("a socket that may be dead is replaced", () => {
  test("after the device has slept", async () => {
    const { server, shown } = await start();
    const old = socket();
    server.write("a");
    vi.setSystemTime(Date.now() + 31_000);
    await pass(6_000);
    expect(old.state).toBe("closed");
    expect(sockets).toHaveLength(2);
    await pass(100, () => socket().open());
    expect(shown()).toEqual(["a"]);
  });

  test("when the network returns", async () => {
    const { result } = await start();
    const old = socket();
    await pass(1_000, () => onlineManager.setOnline(false));
    expect(result.current.connection).toBe("offline");
    expect(sockets).toHaveLength(1);
    await pass(100, () => onlineManager.setOnline(true));
    expect(old.state).toBe("closed");
    expect(sockets).toHaveLength(2);
    await pass(1_000, () => onlineManager.setOnline(false));
    await pass(MINUTE, () => socket().lose());
    expect(sockets).toHaveLength(2);
    await pass(100, () => onlineManager.setOnline(true));
    expect(sockets).toHaveLength(3);
  });

  test("when it does not report this session's change within ten seconds", async () => {
    const { server, result, item } = await start({ titles: ["a"] });
    await pass(9_000, () => void result.current.update(item("a"), { title: "b" }));
    expect(sockets).toHaveLength(1);
    await pass(7_000);
    expect(sockets).toHaveLength(2);
    await pass(100, () => socket().open());
    pokeAll(server);
    await pass(MINUTE, () => void result.current.update(item("b"), { title: "c" }));
    // A synchronization that changes nothing is not reported.
    await pass(MINUTE, () => void result.current.refreshProfile());
    expect(sockets).toHaveLength(2);
  });

  test("a change that the server did not make is not waited for", async () => {
    const { server, result, item } = await start({ titles: ["a", "b", "c"] });
    const [a, b, c] = [item("a"), item("b"), item("c")];
    server.delete(a.id);
    server.write("B", b.id);
    server.write("C", c.id);
    await pass(MINUTE, () => void result.current.remove(a));
    await pass(MINUTE, () => void result.current.update(b, { title: "mine" }).catch(() => {}));
    await pass(MINUTE, () => void result.current.update(c, { title: "C" }));
    expect(server.take().filter((request) => !request.startsWith("GET"))).toHaveLength(3);
    expect(sockets).toHaveLength(1);
  });

  test("a change whose first response is lost counts as reported by a message before the second", async () => {
    const { server, result, shown } = await start();
    pokeAll(server);
    const { fetch } = server;
    let attempts = 0;
    globalThis.fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (init?.method === "POST" && attempts++ === 0) throw new TypeError("the connection was lost");
      return response;
    };
    server.onChange = (change) => change.version === 1 && socket().poke(change);
    await pass(MINUTE, () => void result.current.create({ title: "a" }));
    expect(attempts).toBe(2);
    expect(shown()).toEqual(["a"]);
    expect(sockets).toHaveLength(1);
  });

  test("a message that arrives before the response is a report", async () => {
    const { server, result, item } = await start({ titles: ["a"] });
    pokeAll(server);
    server.after = () => new Promise((resolve) => setTimeout(resolve, 3_000));
    await pass(MINUTE, () => void result.current.update(item("a"), { title: "b" }));
    expect(sockets).toHaveLength(1);
  });
});

describe("a hidden page", () => {
  test("reads nothing, and what has changed when it shows", async () => {
    const { server, shown } = await start({ titles: ["a"] });
    pokeAll(server);
    await pass(1_000, () => focusManager.setFocused(false));
    await pass(20_000, () => server.write("b"));
    expect(server.take()).toEqual([]);
    await pass(500, () => focusManager.setFocused(true));
    expect(shown()).toEqual(["b", "a"]);
    expect(server.take()).toContain("GET /items");
    expect(sockets).toHaveLength(1);
  });

  test("reads what has changed, although this session's change is confirmed in between", async () => {
    const { server, result, item, shown } = await start({ titles: ["a", "b"] });
    const response = latch();
    server.after = (method) => (method === "PATCH" ? response.opened : Promise.resolve());
    await pass(100, () => void result.current.update(item("a"), { title: "A" }));
    await pass(100, () => focusManager.setFocused(false));
    server.write("B", "item-2");
    await pass(200, () => socket().poke({ of: "items", id: "item-2", version: 2 }));
    await pass(200, response.open);
    await pass(200, () => focusManager.setFocused(true));
    expect(shown()).toEqual(["B", "A"]);
  });

  test("replaces its socket when it shows after half a minute", async () => {
    await start();
    await pass(31_000, () => focusManager.setFocused(false));
    expect(socket().state).toBe("open");
    await pass(100, () => focusManager.setFocused(true));
    expect(sockets.map(({ state }) => state)).toEqual(["closed", "connecting"]);
  });

  test("does not replace a socket that is lost until it shows", async () => {
    await start();
    await pass(1_000, () => focusManager.setFocused(false));
    await pass(MINUTE, () => socket().lose());
    expect(sockets).toHaveLength(1);
    await pass(100, () => focusManager.setFocused(true));
    expect(sockets).toHaveLength(2);
  });

  test("closes its socket after five minutes, opens none, and reads everything when it shows", async () => {
    const { server, shown, result } = await start();
    await pass(4.9 * MINUTE, () => focusManager.setFocused(false));
    expect(socket().state).toBe("open");
    await pass(0.2 * MINUTE);
    expect(socket().state).toBe("closed");
    server.write("a");
    server.take();
    await pass(20 * MINUTE);
    expect(sockets).toHaveLength(1);
    expect(server.take()).toEqual([]);
    await pass(100, () => focusManager.setFocused(true));
    expect(sockets).toHaveLength(2);
    // It has as long to open as any other.
    await pass(4_800);
    expect(result.current.connection).toBe("online");
    await pass(100, () => socket().open());
    expect(shown()).toEqual(["a"]);
  });
});

test("another tab of the session shows a change without the server's message, and other sessions do not read", async () => {
  const { server, result, shown } = await start({ titles: ["a"] });
  const tab = await start({ server });
  const clerk = clerkOf();
  clerk.set({
    ...ADA,
    sessionId: "ada-2",
    getToken: async () => `.${btoa(JSON.stringify({ sub: "ada", sid: "ada-2" }))}.`,
  });
  const other = use(useItems, clerk, LIVE_URL);
  await pass(100);
  await pass(100, () => socket().open());
  server.take();
  await pass(300, () => void result.current.create({ title: "b" }));
  await pass(300, () => void result.current.refreshProfile({ firstName: "Augusta" }));
  expect(shown()).toEqual(["b", "a"]);
  expect(tab.shown()).toEqual(["b", "a"]);
  expect(tab.result.current.profile?.firstName).toBe("Augusta");
  const [item] = server.list();
  expect(server.take()).toEqual(["POST /items", `GET /items/${item?.id}`, "PATCH /profile", "GET /profile"]);
  expect(other.result.current.items).toHaveLength(1);
});

const notes = createResourceHooks("/boards/{board}/notes", "notes", { isPinned: false });

/** Responds as an API whose boards each have a note once it is asked for. */
function serveNotes(): string[] {
  const requests: string[] = [];
  globalThis.fetch = async (input) => {
    const { pathname } = new URL(String(input));
    requests.push(pathname);
    if (pathname === "/profile") return Response.json({ id: "ada", updatedAt: 1 });
    const [, id] = /\/notes\/(.+)/.exec(pathname) ?? [];
    const note = { id, text: "n", isPinned: false, createdAt: 1, updatedAt: 1, version: 1 };
    return Response.json(id ? note : { notes: [], cursor: null });
  };
  return requests;
}

test("a list that is not on the screen is read when it shows", async () => {
  const requests = serveNotes();
  const clerk = clerkOf();
  clerk.set(ADA);
  const on = { board: "a" };
  const { rerender } = use(() => notes.useList(on), clerk, LIVE_URL);
  await pass(100);
  await pass(100, () => socket().open());
  const change = (board: string) =>
    pass(100, () => {
      on.board = board;
      rerender();
    });
  await change("b");
  requests.length = 0;
  await change("a");
  await change("b");
  expect(requests).toEqual([]);
  await pass(200, () => socket().poke({ of: "notes", id: "n", parents: ["a"], version: 1 }));
  expect(requests).toEqual([]);
  await change("a");
  expect(requests).toEqual(["/boards/a/notes"]);
});

test("a change below another item applies to the list of its parents", async () => {
  const requests = serveNotes();
  // The same resource across all boards.
  const everywhere = createResourceHooks("/notes" as "/items", "notes" as "items");
  const clerk = clerkOf();
  clerk.set(ADA);
  const { result } = use(
    () => [notes.useList({ board: "a" }), notes.useList({ board: "b/c" }), everywhere.useList()] as const,
    clerk,
    LIVE_URL,
  );
  await pass(100);
  await pass(100, () => socket().open());
  requests.length = 0;
  await pass(200, () => socket().poke({ of: "notes", id: "n", parents: ["b/c"], version: 1 }));
  expect(requests.sort()).toEqual(["/boards/b%2Fc/notes/n", "/notes"]);
  expect(result.current[0].notes).toEqual([]);
  expect(result.current[1].notes).toMatchObject([{ id: "n" }]);
  requests.length = 0;
  for (const parents of [["c"], ["a", "b/c"], [], undefined]) {
    await pass(1_200, () => socket().poke({ of: "notes", id: "m", parents, version: null }));
  }
  // Only the list across all boards can have them.
  expect(requests).toEqual(["/notes", "/boards/a/notes", "/boards/b%2Fc/notes", "/notes"]);
});
