import { act, waitFor } from "@testing-library/react";
import { describe, expect, onTestFinished, test, vi } from "vitest";

import { useAuthState } from "../src/index.ts";
import { serverApi } from "../src/server.ts";
import {
  creation,
  PATH,
  stored,
  titled,
  titleOf,
  useCreateItem,
  useDeleteItem,
  useItems,
  useUpdateItem,
} from "./resource.ts";
import { api, clerkOf, failure, intercept, latch, problem, signUp, stack, type User, use } from "./support.tsx";

/** All hooks of the resource, once the first page has been read. */
async function itemsOf(user: User, pageSize = 50) {
  const rendered: string[][] = [];
  const { result } = use(() => {
    const list = useItems({ pageSize });
    rendered.push(list.items.map((item) => item.title));
    return { ...list, create: useCreateItem(), update: useUpdateItem(), remove: useDeleteItem() };
  }, clerkOf(user));
  await waitFor(() => expect(result.current.status).not.toBe("LoadingFirstPage"));
  const titles = () => result.current.items.map((item) => item.title);
  const first = () => {
    const [item] = result.current.items;
    if (!item) throw new Error("the list is empty");
    return item;
  };
  return { result, titles, first, rendered };
}

async function withItems(user: User, ...titles: string[]) {
  for (const title of titles) await api(user, "POST", PATH, creation(title));
  return user;
}

/** Loses the response to the first request. */
function loseFirstResponse(method: string, path: string): { readonly attempts: number } {
  const lost = { attempts: 0 };
  intercept(method, path, async (_, send) => {
    lost.attempts += 1;
    const response = await send();
    if (lost.attempts === 1) throw new TypeError("Failed to fetch");
    return response;
  });
  return lost;
}

/** Delays the next page that is read. */
function delayNextPage() {
  const [requested, page] = [latch(), latch()];
  let isNext = true;
  intercept("GET", `${PATH}?`, async (_, send) => {
    const response = await send();
    if (isNext) {
      isNext = false;
      requested.open();
      await page.opened;
    }
    return response;
  });
  return { requested, page };
}

test("a list is read in pages, newest first, until it is exhausted", async () => {
  const ada = await withItems(await signUp(), "1", "2", "3", "4", "5");
  const { result, titles } = await itemsOf(ada, 2);
  expect(titles()).toEqual(["5", "4"]);
  expect(result.current.status).toBe("CanLoadMore");
  act(() => result.current.loadMore());
  expect(result.current.status).toBe("LoadingMore");
  await waitFor(() => expect(titles()).toEqual(["5", "4", "3", "2"]));
  expect(result.current.status).toBe("CanLoadMore");
  act(() => result.current.loadMore());
  await waitFor(() => expect(result.current.status).toBe("Exhausted"));
  expect(titles()).toEqual(["5", "4", "3", "2", "1"]);
});

test("a new item is listed before the server responds, and keeps its place when it is confirmed", async () => {
  const ada = await withItems(await signUp(), "old");
  const { result, titles, first, rendered } = await itemsOf(ada);
  const response = latch();
  intercept("POST", PATH, async (_, send) => {
    const received = await send();
    await response.opened;
    return received;
  });
  let created: Promise<unknown> | undefined;
  act(() => {
    created = result.current.create({ title: "new" });
  });
  await waitFor(() => expect(titles()).toEqual(["new", "old"]));
  const { id } = first();
  expect(first().isPending).toBe(true);
  const from = rendered.length;
  response.open();
  await act(async () => created);
  await waitFor(() => expect(first().isPending).toBe(false));
  expect(first().id).toBe(id);
  expect((await stored(ada))[0]?.id).toBe(id);
  expect(rendered.slice(from).every((titles) => titles.join() === "new,old")).toBe(true);
});

test("a creation that fails is rolled back, and the promise rejects with the reason", async () => {
  const { result, titles } = await itemsOf(await signUp());
  const response = latch();
  intercept("POST", PATH, async () => {
    await response.opened;
    return problem(422, "invalid_body", "title: is too long.");
  });
  const created = result.current.create({ title: "new" });
  await waitFor(() => expect(titles()).toEqual(["new"]));
  response.open();
  expect(await act(() => failure(created))).toMatchObject({
    code: "invalid_body",
    status: 422,
    message: "title: is too long.",
  });
  await waitFor(() => expect(titles()).toEqual([]));
});

test("a creation whose response is lost creates one item", async () => {
  const ada = await signUp();
  const { result } = await itemsOf(ada);
  const lost = loseFirstResponse("POST", PATH);
  const item = await act(() => result.current.create({ title: "once" }));
  expect(lost.attempts).toBe(2);
  expect(await stored(ada)).toMatchObject([{ id: item.id, title: "once" }]);
});

test("concurrent changes can end in any order", async () => {
  const ada = await withItems(await signUp(), "a", "b", "c");
  const { result, titles } = await itemsOf(ada);
  const [c, b, a] = result.current.items;
  if (!a || !b || !c) throw new Error("there are three items");
  const updating = latch();
  intercept("PATCH", PATH, async (_, send) => {
    await updating.opened;
    return send();
  });
  const updated = result.current.update(a, { title: "A" });
  const removed = result.current.remove(b);
  const created = result.current.create({ title: "d" });
  await waitFor(() => expect(titles()).toEqual(["d", "c", "A"]));
  await act(() => Promise.all([removed, created]));
  expect(titles()).toEqual(["d", "c", "A"]);
  updating.open();
  await act(() => updated);
  expect(titles()).toEqual(["d", "c", "A"]);
  expect((await stored(ada)).map((item) => item.title)).toEqual(["d", "c", "A"]);
});

test("an item is updated repeatedly before its creation is confirmed, and then deleted", async () => {
  const ada = await signUp();
  const { result, titles, first } = await itemsOf(ada);
  const creating = latch();
  intercept("POST", PATH, async (_, send) => {
    await creating.opened;
    return send();
  });
  const created = result.current.create({ title: "1" });
  await waitFor(() => expect(titles()).toEqual(["1"]));
  const second = result.current.update(first(), { title: "2" });
  await waitFor(() => expect(titles()).toEqual(["2"]));
  const third = result.current.update(first(), { title: "3" });
  await waitFor(() => expect(titles()).toEqual(["3"]));
  const fourth = result.current.update(first(), { title: "4" });
  await waitFor(() => expect(titles()).toEqual(["4"]));
  creating.open();
  await act(() => Promise.all([created, second, third, fourth]));
  expect(await stored(ada)).toMatchObject([{ title: "4", version: 4 }]);
  await waitFor(() => expect(first()).toMatchObject({ title: "4", version: 4, isPending: false }));
  await act(() => result.current.remove(first()));
  expect(await stored(ada)).toEqual([]);
});

test("an update of a changed item fails with the current item, which the list then shows and which can be updated", async () => {
  const ada = await withItems(await signUp(), "before");
  const { result, titles, first } = await itemsOf(ada);
  const seen = first();
  await api(ada, "PATCH", `${PATH}/${seen.id}`, titled("theirs"));
  const updated = result.current.update(seen, { title: "mine" });
  const error = await act(() => failure(updated));
  expect(error).toMatchObject({ code: "version_mismatch", current: { ...titled("theirs"), version: 2 } });
  await waitFor(() => expect(titles()).toEqual(["theirs"]));
  expect(await stored(ada)).toMatchObject([{ title: "theirs" }]);
  await act(() => result.current.update((error.current ?? seen) as typeof seen, { title: "mine" }));
  expect(await stored(ada)).toMatchObject([{ title: "mine", version: 3 }]);
});

test("an update does not overwrite another client's change between two of its own", async () => {
  const ada = await withItems(await signUp(), "before");
  const { result, first } = await itemsOf(ada);
  const seen = first();
  await act(() => result.current.update(seen, { title: "mine" }));
  await api(ada, "PATCH", `${PATH}/${seen.id}`, titled("theirs"));
  // The version that was on the screen at first.
  expect(await act(() => failure(result.current.update(seen, { title: "mine, too" })))).toMatchObject({
    code: "version_mismatch",
  });
  expect(await stored(ada)).toMatchObject([{ title: "theirs", version: 3 }]);
});

test("an update whose response is lost does not conflict with itself", async () => {
  const ada = await withItems(await signUp(), "before");
  const { result, first } = await itemsOf(ada);
  const lost = loseFirstResponse("PATCH", PATH);
  await act(() => result.current.update(first(), { title: "after" }));
  expect(lost.attempts).toBe(2);
  expect(await stored(ada)).toMatchObject([{ title: "after", version: 2 }]);
  await waitFor(() => expect(first()).toMatchObject({ title: "after", version: 2, isPending: false }));
});

test("an update that another client has already made is not a conflict", async () => {
  const ada = await withItems(await signUp(), "before");
  const { result, first } = await itemsOf(ada);
  await api(ada, "PATCH", `${PATH}/${first().id}`, titled("after"));
  const item = await act(() => result.current.update(first(), { title: "after" }));
  expect(item).toMatchObject({ title: "after", version: 2 });
});

test("an update that fails is rolled back", async () => {
  const ada = await withItems(await signUp(), "before");
  const { result, titles, first } = await itemsOf(ada);
  const response = latch();
  intercept("PATCH", PATH, async () => {
    await response.opened;
    return problem(422, "invalid_body");
  });
  const updated = result.current.update(first(), { title: "after" });
  await waitFor(() => expect(titles()).toEqual(["after"]));
  response.open();
  expect(await act(() => failure(updated))).toMatchObject({ code: "invalid_body" });
  await waitFor(() => expect(titles()).toEqual(["before"]));
});

test("an update of a deleted item fails, and the item leaves the list", async () => {
  const ada = await withItems(await signUp(), "before");
  const { result, titles, first } = await itemsOf(ada);
  await api(ada, "DELETE", `${PATH}/${first().id}`);
  expect(await act(() => failure(result.current.update(first(), { title: "after" })))).toMatchObject({
    code: "not_found",
    status: 404,
  });
  await waitFor(() => expect(titles()).toEqual([]));
});

test("a deletion shows at once, is rolled back if it fails, and can be repeated", async () => {
  const ada = await withItems(await signUp(), "only");
  const { result, titles, first } = await itemsOf(ada);
  const response = latch();
  let isRejected = true;
  intercept("DELETE", PATH, async (_, send) => {
    await response.opened;
    return isRejected ? problem(400, "invalid_id") : send();
  });
  const item = first();
  const rejected = result.current.remove(item);
  await waitFor(() => expect(titles()).toEqual([]));
  response.open();
  expect(await act(() => failure(rejected))).toMatchObject({ code: "invalid_id" });
  await waitFor(() => expect(titles()).toEqual(["only"]));
  isRejected = false;
  await act(() => Promise.all([result.current.remove(item), result.current.remove(item)]));
  expect(titles()).toEqual([]);
  expect(await stored(ada)).toEqual([]);
});

test("a read that started before a change does not revert it", async () => {
  const ada = await withItems(await signUp(), "1", "2", "3");
  const { result, titles } = await itemsOf(ada, 2);
  const { requested, page } = delayNextPage();
  act(() => result.current.loadMore());
  await requested.opened;
  await act(() => result.current.create({ title: "4" }));
  expect(titles().slice(0, 3)).toEqual(["4", "3", "2"]);
  page.open();
  // The requested page is still read.
  await waitFor(() => expect(titles()).toEqual(["4", "3", "2", "1"]));
  expect(result.current.status).toBe("Exhausted");
});

test("a transient failure of a read is retried", async () => {
  const ada = await withItems(await signUp(), "only");
  let failures = 1;
  intercept("GET", PATH, (_, send) => (failures-- > 0 ? problem(503, "unavailable") : send()));
  const { titles } = await itemsOf(ada);
  expect(titles()).toEqual(["only"]);
});

test("an item that is created before the list has been read is in it afterwards", async () => {
  const ada = await withItems(await signUp(), "old");
  const { requested, page } = delayNextPage();
  const { result } = use(() => ({ ...useItems(), create: useCreateItem() }), clerkOf(ada));
  await requested.opened;
  await act(() => result.current.create({ title: "new" }));
  page.open();
  await waitFor(() => expect(result.current.status).toBe("Exhausted"));
  expect(result.current.items.map((item) => item.title)).toEqual(["new", "old"]);
});

test("a page that cannot be read is an error until loadMore retries it", async () => {
  const ada = await withItems(await signUp(), "1", "2", "3");
  const { result, titles } = await itemsOf(ada, 2);
  let isRejected = true;
  intercept("GET", `${PATH}?`, (request, send) =>
    isRejected && request.url.includes("cursor") ? problem(400, "invalid_query") : send(),
  );
  act(() => result.current.loadMore());
  await waitFor(() => expect(result.current.error).toMatchObject({ code: "invalid_query" }));
  expect(result.current.status).toBe("CanLoadMore");
  isRejected = false;
  act(() => result.current.loadMore());
  await waitFor(() => expect(titles()).toEqual(["3", "2", "1"]));
  expect(result.current).toMatchObject({ error: null, status: "Exhausted" });
});

test("a response that is not the API's is an unexpected one", async () => {
  const { result } = await itemsOf(await signUp());
  intercept("POST", PATH, () => new Response("<html>Welcome to our WiFi</html>", { status: 200 }));
  expect(await act(() => failure(result.current.create({ title: "new" })))).toMatchObject({ code: "unexpected" });
  intercept("POST", PATH, () => new Response(JSON.stringify({ message: "Too Many Requests" }), { status: 403 }));
  expect(await act(() => failure(result.current.create({ title: "new" })))).toMatchObject({
    code: "unexpected",
    status: 403,
  });
});

describe.each([
  ["three days behind", -3],
  ["three days ahead", 3],
])("with a clock that is %s", (_, days) => {
  const DAY = 86_400_000;

  test("a new item is first, and keeps its place when it is confirmed", async () => {
    const ada = await withItems(await signUp(), "old");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + days * DAY });
    onTestFinished(() => void vi.useRealTimers());
    const { result, titles, rendered } = await itemsOf(ada);
    const response = latch();
    intercept("POST", PATH, async (_, send) => {
      await response.opened;
      return send();
    });
    let created: Promise<unknown> | undefined;
    act(() => {
      created = Promise.all(["new", "newer", "newest"].map((title) => result.current.create({ title })));
    });
    await waitFor(() => expect(titles()).toEqual(["newest", "newer", "new", "old"]));
    const from = rendered.length;
    response.open();
    await act(async () => created);
    await waitFor(() => expect(result.current.items.every((item) => !item.isPending)).toBe(true));
    expect(new Set(rendered.slice(from).map((titles) => titles.join()))).toEqual(new Set(["newest,newer,new,old"]));
  });

  test("a new item is on the first page after a reload", async () => {
    const ada = await withItems(await signUp(), "1", "2", "3");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + days * DAY });
    onTestFinished(() => void vi.useRealTimers());
    const { result, titles } = await itemsOf(ada, 2);
    await act(() => result.current.create({ title: "4" }));
    await waitFor(() => expect(titles()).toEqual(["4", "3", "2"]));
    await api(ada, "POST", PATH, creation("5"));
    const again = await itemsOf(ada, 2);
    expect(again.titles()).toEqual(["5", "4"]);
    act(() => again.result.current.loadMore());
    await waitFor(() => expect(again.titles()).toEqual(["5", "4", "3", "2"]));
  });
});

test("concurrent creations are sent in order, and one that fails does not block the next", async () => {
  const ada = await signUp();
  const { result, titles } = await itemsOf(ada);
  const sent: string[] = [];
  let underWay = 0;
  intercept("POST", PATH, async (request, send) => {
    const title = titleOf(await request.clone().json());
    underWay += 1;
    expect(underWay, "one after the other").toBe(1);
    sent.push(title);
    const response = title === "2" ? problem(422, "invalid_body") : await send();
    underWay -= 1;
    return response;
  });
  await act(() => Promise.allSettled(["1", "2", "3"].map((title) => result.current.create({ title }))));
  expect(sent).toEqual(["1", "2", "3"]);
  await waitFor(() => expect(titles()).toEqual(["3", "1"]));
});

test("an updated item of a page that was not read is not listed before that page is read", async () => {
  const ada = await withItems(await signUp(), "1", "2", "3", "4");
  const { result, titles } = await itemsOf(ada, 2);
  const [oldest] = (await stored(ada)).slice(-1);
  if (!oldest) throw new Error("there is no item");
  await act(() => result.current.update(oldest, { title: "one" }));
  expect(titles()).toEqual(["4", "3"]);
  act(() => result.current.loadMore());
  await waitFor(() => expect(titles()).toEqual(["4", "3", "2", "one"]));
});

test("an item that is confirmed before the list was read stays listed until it has been read", async () => {
  const ada = await withItems(await signUp(), "old");
  const list = latch();
  intercept("GET", `${PATH}?`, async (_, send) => {
    await list.opened;
    return send();
  });
  const { result } = use(() => ({ ...useItems(), create: useCreateItem(), auth: useAuthState() }), clerkOf(ada));
  await waitFor(() => expect(result.current.auth.status).toBe("authenticated"));
  await act(() => result.current.create({ title: "new" }));
  await waitFor(() => expect(result.current.items).toMatchObject([{ title: "new", isPending: false }]));
  expect(result.current.status).toBe("LoadingFirstPage");
  list.open();
  await waitFor(() => expect(result.current.items.map((item) => item.title)).toEqual(["new", "old"]));
});

test("a first page that cannot be read is an error until loadMore retries it", async () => {
  const ada = await withItems(await signUp(), "only");
  let isRejected = true;
  intercept("GET", PATH, (_, send) => (isRejected ? problem(400, "invalid_query") : send()));
  const { result } = use(useItems, clerkOf(ada));
  await waitFor(() => expect(result.current.error).toMatchObject({ code: "invalid_query" }));
  expect(result.current.status).toBe("LoadingFirstPage");
  isRejected = false;
  act(() => result.current.loadMore());
  await waitFor(() => expect(result.current).toMatchObject({ error: null, status: "Exhausted" }));
});

test("a server calls every operation of a resource, and its first page is a browser's", async () => {
  const ada = await signUp();
  const server = serverApi({ baseUrl: stack.api, getToken: ada.token });
  // The stack's resource has the operations of document.ts.
  const [list, one] = [PATH as "/items", `${PATH}/{id}` as "/items/{id}"];
  const body = (title: string) => creation(title) as { title: string };
  const { id, version } = await server.post(list, { body: body("1") });
  await server.post(list, { body: body("2") });
  expect(titleOf(await server.get(one, { id }))).toBe("1");
  const change = { id, version, body: titled("one") };
  expect(titleOf(await server.patch(one, change))).toBe("one");
  expect(await failure(server.patch(one, change))).toMatchObject({ code: "version_mismatch", status: 412 });

  const preloaded = await server.preloadList(list, { pageSize: 1 });
  const { result } = use(() => useItems({ preloaded }), clerkOf(ada));
  expect(result.current.items.map(titleOf)).toEqual(["2"]);
  expect(result.current.status).toBe("CanLoadMore");
  await waitFor(() => {
    act(() => result.current.loadMore());
    expect(result.current.items.map(titleOf)).toEqual(["2", "one"]);
  });

  expect(await server.delete(one, { id })).toBeUndefined();
  const eve = serverApi({ baseUrl: stack.api, getToken: (await signUp()).token });
  const [first] = await stored(ada);
  expect(await failure(eve.get(one, { id: first?.id ?? "" }))).toMatchObject({ code: "not_found" });
  expect(await stored(ada)).toHaveLength(1);
});
