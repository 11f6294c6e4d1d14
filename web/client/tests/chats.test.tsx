import { act, waitFor } from "@testing-library/react";
import { describe, expect, onTestFinished, test, vi } from "vitest";

import { useAuthState, useChats, useCreateChat, useDeleteChat, useRenameChat } from "../src/index.ts";
import { api, between, clerkOf, failure, gate, type Person, problem, signUp, use } from "./people.tsx";

/** Everything about chats, once the first page is there. */
async function chatsOf(person: Person, pageSize = 50) {
  const rendered: string[][] = [];
  const { result } = use(() => {
    const chats = useChats({ pageSize });
    rendered.push(chats.chats.map((chat) => chat.title));
    return { ...chats, create: useCreateChat(), rename: useRenameChat(), remove: useDeleteChat() };
  }, clerkOf(person));
  await waitFor(() => expect(result.current.status).not.toBe("LoadingFirstPage"));
  const titles = () => result.current.chats.map((chat) => chat.title);
  const first = () => {
    const [chat] = result.current.chats;
    if (!chat) throw new Error("there is no chat");
    return chat;
  };
  return { result, titles, first, rendered };
}

async function withChats(person: Person, ...titles: string[]) {
  for (const title of titles) await api(person, "POST", "/chats", { title });
  return person;
}

const stored = async (person: Person): Promise<{ id: string; title: string; version: number }[]> =>
  (await (await api(person, "GET", "/chats?limit=100")).json()).chats;

/** Sends a request, loses its answer, and lets every later one through. */
function loseTheFirstAnswer(method: string, path: string): { readonly attempts: number } {
  const lost = { attempts: 0 };
  between(method, path, async (_, send) => {
    lost.attempts += 1;
    const response = await send();
    if (lost.attempts === 1) throw new TypeError("Failed to fetch");
    return response;
  });
  return lost;
}

/** Keeps the next page that is read, as it was when it was asked for, until it is let go. */
function holdTheNextPage() {
  const [asked, page] = [gate(), gate()];
  let isNext = true;
  between("GET", "/chats?", async (_, send) => {
    const response = await send();
    if (isNext) {
      isNext = false;
      asked.open();
      await page.opened;
    }
    return response;
  });
  return { asked, page };
}

test("chats come in pages, newest first, until there are no more", async () => {
  const ada = await withChats(await signUp(), "1", "2", "3", "4", "5");
  const { result, titles } = await chatsOf(ada, 2);
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

test("a new chat is listed before the server has answered, and stays where it is when it has", async () => {
  const ada = await withChats(await signUp(), "old");
  const { result, titles, first, rendered } = await chatsOf(ada);
  const answer = gate();
  between("POST", "/chats", async (_, send) => {
    const response = await send();
    await answer.opened;
    return response;
  });
  let created: Promise<unknown> | undefined;
  act(() => {
    created = result.current.create({ title: " new " });
  });
  await waitFor(() => expect(titles()).toEqual(["new", "old"]));
  const { id } = first();
  expect(first().isPending).toBe(true);
  const from = rendered.length;
  answer.open();
  await act(async () => created);
  await waitFor(() => expect(first().isPending).toBe(false));
  expect(first().id).toBe(id);
  expect((await stored(ada))[0]?.id).toBe(id);
  expect(rendered.slice(from).every((titles) => titles.join() === "new,old")).toBe(true);
});

test("a chat that cannot be created goes, and the reason is given", async () => {
  const { result, titles } = await chatsOf(await signUp());
  const answer = gate();
  between("POST", "/chats", async () => {
    await answer.opened;
    return problem(422, "invalid_body", "title: is too long.");
  });
  const created = result.current.create({ title: "new" });
  await waitFor(() => expect(titles()).toEqual(["new"]));
  answer.open();
  expect(await act(() => failure(created))).toMatchObject({
    code: "invalid_body",
    status: 422,
    message: "title: is too long.",
  });
  await waitFor(() => expect(titles()).toEqual([]));
});

test("an answer that is lost makes no second chat", async () => {
  const ada = await signUp();
  const { result } = await chatsOf(ada);
  const lost = loseTheFirstAnswer("POST", "/chats");
  const chat = await act(() => result.current.create({ title: "once" }));
  expect(lost.attempts).toBe(2);
  expect(await stored(ada)).toMatchObject([{ id: chat.id, title: "once" }]);
});

test("several changes are under way at once, in whichever order they end", async () => {
  const ada = await withChats(await signUp(), "a", "b", "c");
  const { result, titles } = await chatsOf(ada);
  const [c, b, a] = result.current.chats;
  if (!a || !b || !c) throw new Error("three chats");
  const renaming = gate();
  between("PATCH", "/chats", async (_, send) => {
    await renaming.opened;
    return send();
  });
  const renamed = result.current.rename(a, { title: "A" });
  const removed = result.current.remove(b);
  const created = result.current.create({ title: "d" });
  await waitFor(() => expect(titles()).toEqual(["d", "c", "A"]));
  await act(() => Promise.all([removed, created]));
  expect(titles()).toEqual(["d", "c", "A"]);
  renaming.open();
  await act(() => renamed);
  expect(titles()).toEqual(["d", "c", "A"]);
  expect((await stored(ada)).map((chat) => chat.title)).toEqual(["d", "c", "A"]);
});

test("a chat is renamed again, and deleted, before its creation is confirmed", async () => {
  const ada = await signUp();
  const { result, titles, first } = await chatsOf(ada);
  const creating = gate();
  between("POST", "/chats", async (_, send) => {
    await creating.opened;
    return send();
  });
  const created = result.current.create({ title: "1" });
  await waitFor(() => expect(titles()).toEqual(["1"]));
  const second = result.current.rename(first(), { title: "2" });
  await waitFor(() => expect(titles()).toEqual(["2"]));
  const third = result.current.rename(first(), { title: "3" });
  await waitFor(() => expect(titles()).toEqual(["3"]));
  const fourth = result.current.rename(first(), { title: "4" });
  await waitFor(() => expect(titles()).toEqual(["4"]));
  creating.open();
  await act(() => Promise.all([created, second, third, fourth]));
  expect(await stored(ada)).toMatchObject([{ title: "4", version: 4 }]);
  await waitFor(() => expect(first()).toMatchObject({ title: "4", version: 4, isPending: false }));
  await act(() => result.current.remove(first()));
  expect(await stored(ada)).toEqual([]);
});

test("a rename that somebody else was quicker with fails with their chat, which is then shown, and can be insisted on", async () => {
  const ada = await withChats(await signUp(), "before");
  const { result, titles, first } = await chatsOf(ada);
  const seen = first();
  await api(ada, "PATCH", `/chats/${seen.id}`, { title: "theirs" });
  const renamed = result.current.rename(seen, { title: "mine" });
  const error = await act(() => failure(renamed));
  expect(error).toMatchObject({ code: "version_mismatch", current: { title: "theirs", version: 2 } });
  await waitFor(() => expect(titles()).toEqual(["theirs"]));
  expect(await stored(ada)).toMatchObject([{ title: "theirs" }]);
  await act(() => result.current.rename(error.current ?? seen, { title: "mine" }));
  expect(await stored(ada)).toMatchObject([{ title: "mine", version: 3 }]);
});

test("a rename does not pass over what somebody else wrote between two of one's own", async () => {
  const ada = await withChats(await signUp(), "before");
  const { result, first } = await chatsOf(ada);
  const seen = first();
  await act(() => result.current.rename(seen, { title: "mine" }));
  await api(ada, "PATCH", `/chats/${seen.id}`, { title: "theirs" });
  // Still on the screen as it was at first.
  expect(await act(() => failure(result.current.rename(seen, { title: "mine, too" })))).toMatchObject({
    code: "version_mismatch",
  });
  expect(await stored(ada)).toMatchObject([{ title: "theirs", version: 3 }]);
});

test("a rename whose answer is lost is no conflict with itself", async () => {
  const ada = await withChats(await signUp(), "before");
  const { result, first } = await chatsOf(ada);
  const lost = loseTheFirstAnswer("PATCH", "/chats");
  await act(() => result.current.rename(first(), { title: "after" }));
  expect(lost.attempts).toBe(2);
  expect(await stored(ada)).toMatchObject([{ title: "after", version: 2 }]);
  await waitFor(() => expect(first()).toMatchObject({ title: "after", version: 2, isPending: false }));
});

test("a rename that somebody else has made already is no conflict", async () => {
  const ada = await withChats(await signUp(), "before");
  const { result, first } = await chatsOf(ada);
  await api(ada, "PATCH", `/chats/${first().id}`, { title: "after" });
  const chat = await act(() => result.current.rename(first(), { title: "after" }));
  expect(chat).toMatchObject({ title: "after", version: 2 });
});

test("a rename that fails shows the old title again", async () => {
  const ada = await withChats(await signUp(), "before");
  const { result, titles, first } = await chatsOf(ada);
  const answer = gate();
  between("PATCH", "/chats", async () => {
    await answer.opened;
    return problem(422, "invalid_body");
  });
  const renamed = result.current.rename(first(), { title: "after" });
  await waitFor(() => expect(titles()).toEqual(["after"]));
  answer.open();
  expect(await act(() => failure(renamed))).toMatchObject({ code: "invalid_body" });
  await waitFor(() => expect(titles()).toEqual(["before"]));
});

test("a chat that is gone cannot be renamed, and leaves the list", async () => {
  const ada = await withChats(await signUp(), "before");
  const { result, titles, first } = await chatsOf(ada);
  await api(ada, "DELETE", `/chats/${first().id}`);
  expect(await act(() => failure(result.current.rename(first(), { title: "after" })))).toMatchObject({
    code: "not_found",
    status: 404,
  });
  await waitFor(() => expect(titles()).toEqual([]));
});

test("a deleted chat is gone at once, is back if that fails, and deleting it twice is no error", async () => {
  const ada = await withChats(await signUp(), "chat");
  const { result, titles, first } = await chatsOf(ada);
  const answer = gate();
  let isRefused = true;
  between("DELETE", "/chats", async (_, send) => {
    await answer.opened;
    return isRefused ? problem(400, "invalid_id") : send();
  });
  const chat = first();
  const refused = result.current.remove(chat);
  await waitFor(() => expect(titles()).toEqual([]));
  answer.open();
  expect(await act(() => failure(refused))).toMatchObject({ code: "invalid_id" });
  await waitFor(() => expect(titles()).toEqual(["chat"]));
  isRefused = false;
  await act(() => Promise.all([result.current.remove(chat), result.current.remove(chat)]));
  expect(titles()).toEqual([]);
  expect(await stored(ada)).toEqual([]);
});

test("a list that was asked for before a change does not take it back", async () => {
  const ada = await withChats(await signUp(), "1", "2", "3");
  const { result, titles } = await chatsOf(ada, 2);
  const { asked, page } = holdTheNextPage();
  act(() => result.current.loadMore());
  await asked.opened;
  await act(() => result.current.create({ title: "4" }));
  expect(titles().slice(0, 3)).toEqual(["4", "3", "2"]);
  page.open();
  // What was asked for comes all the same.
  await waitFor(() => expect(titles()).toEqual(["4", "3", "2", "1"]));
  expect(result.current.status).toBe("Exhausted");
});

test("a server that fails for a moment is asked again", async () => {
  const ada = await withChats(await signUp(), "chat");
  let failures = 1;
  between("GET", "/chats", (_, send) => (failures-- > 0 ? problem(503, "unavailable") : send()));
  const { titles } = await chatsOf(ada);
  expect(titles()).toEqual(["chat"]);
});

test("a chat that is created before the list is there is in it when it comes", async () => {
  const ada = await withChats(await signUp(), "old");
  const { asked, page } = holdTheNextPage();
  const { result } = use(() => ({ ...useChats(), create: useCreateChat() }), clerkOf(ada));
  await asked.opened;
  await act(() => result.current.create({ title: "new" }));
  page.open();
  await waitFor(() => expect(result.current.status).toBe("Exhausted"));
  expect(result.current.chats.map((chat) => chat.title)).toEqual(["new", "old"]);
});

test("a page that cannot be read is an error until it is asked for again", async () => {
  const ada = await withChats(await signUp(), "1", "2", "3");
  const { result, titles } = await chatsOf(ada, 2);
  let isRefused = true;
  between("GET", "/chats?", (request, send) =>
    isRefused && request.url.includes("cursor") ? problem(400, "invalid_query") : send(),
  );
  act(() => result.current.loadMore());
  await waitFor(() => expect(result.current.error).toMatchObject({ code: "invalid_query" }));
  expect(result.current.status).toBe("CanLoadMore");
  isRefused = false;
  act(() => result.current.loadMore());
  await waitFor(() => expect(titles()).toEqual(["3", "2", "1"]));
  expect(result.current).toMatchObject({ error: null, status: "Exhausted" });
});

test("an answer that is not the API's is an error of its own", async () => {
  const { result } = await chatsOf(await signUp());
  between("POST", "/chats", () => new Response("<html>Welcome to our WiFi</html>", { status: 200 }));
  expect(await act(() => failure(result.current.create({ title: "new" })))).toMatchObject({ code: "unexpected" });
  between("POST", "/chats", () => new Response(JSON.stringify({ message: "Too Many Requests" }), { status: 403 }));
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

  test("a new chat is on top, and stays in its place when it is confirmed", async () => {
    const ada = await withChats(await signUp(), "old");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + days * DAY });
    onTestFinished(() => void vi.useRealTimers());
    const { result, titles, rendered } = await chatsOf(ada);
    const answer = gate();
    between("POST", "/chats", async (_, send) => {
      await answer.opened;
      return send();
    });
    let created: Promise<unknown> | undefined;
    act(() => {
      created = Promise.all(["new", "newer", "newest"].map((title) => result.current.create({ title })));
    });
    await waitFor(() => expect(titles()).toEqual(["newest", "newer", "new", "old"]));
    const from = rendered.length;
    answer.open();
    await act(async () => created);
    await waitFor(() => expect(result.current.chats.every((chat) => !chat.isPending)).toBe(true));
    expect(new Set(rendered.slice(from).map((titles) => titles.join()))).toEqual(new Set(["newest,newer,new,old"]));
  });

  test("a new chat is on the first page after a reload", async () => {
    const ada = await withChats(await signUp(), "1", "2", "3");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + days * DAY });
    onTestFinished(() => void vi.useRealTimers());
    const { result, titles } = await chatsOf(ada, 2);
    await act(() => result.current.create({ title: "4" }));
    await waitFor(() => expect(titles()).toEqual(["4", "3", "2"]));
    await api(ada, "POST", "/chats", { title: "5" });
    const again = await chatsOf(ada, 2);
    expect(again.titles()).toEqual(["5", "4"]);
    act(() => again.result.current.loadMore());
    await waitFor(() => expect(again.titles()).toEqual(["5", "4", "3", "2"]));
  });
});

test("chats that are created at once are sent in order, and one that fails does not hold up the next", async () => {
  const ada = await signUp();
  const { result, titles } = await chatsOf(ada);
  const sent: string[] = [];
  let underWay = 0;
  between("POST", "/chats", async (request, send) => {
    const { title } = (await request.clone().json()) as { title: string };
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

test("a chat of a page that was not read is not put before its turn when it is renamed", async () => {
  const ada = await withChats(await signUp(), "1", "2", "3", "4");
  const { result, titles } = await chatsOf(ada, 2);
  const [oldest] = (await stored(ada)).slice(-1);
  if (!oldest) throw new Error("there is no chat");
  await act(() => result.current.rename(oldest, { title: "one" }));
  expect(titles()).toEqual(["4", "3"]);
  act(() => result.current.loadMore());
  await waitFor(() => expect(titles()).toEqual(["4", "3", "2", "one"]));
});

test("a chat that is confirmed before the list was read stays on the screen until the list is there", async () => {
  const ada = await withChats(await signUp(), "old");
  const list = gate();
  between("GET", "/chats?", async (_, send) => {
    await list.opened;
    return send();
  });
  const { result } = use(() => ({ ...useChats(), create: useCreateChat(), auth: useAuthState() }), clerkOf(ada));
  await waitFor(() => expect(result.current.auth.status).toBe("authenticated"));
  await act(() => result.current.create({ title: "new" }));
  await waitFor(() => expect(result.current.chats).toMatchObject([{ title: "new", isPending: false }]));
  expect(result.current.status).toBe("LoadingFirstPage");
  list.open();
  await waitFor(() => expect(result.current.chats.map((chat) => chat.title)).toEqual(["new", "old"]));
});

test("a first page that cannot be read is an error until it is asked for again", async () => {
  const ada = await withChats(await signUp(), "chat");
  let isRefused = true;
  between("GET", "/chats", (_, send) => (isRefused ? problem(400, "invalid_query") : send()));
  const { result } = use(useChats, clerkOf(ada));
  await waitFor(() => expect(result.current.error).toMatchObject({ code: "invalid_query" }));
  expect(result.current.status).toBe("LoadingFirstPage");
  isRefused = false;
  act(() => result.current.loadMore());
  await waitFor(() => expect(result.current).toMatchObject({ error: null, status: "Exhausted" }));
});
