import { act, waitFor } from "@testing-library/react";
import { expect, test } from "vitest";

import { createResourceHooks, type Item } from "../src/index.ts";
import { clerkOf, failure, intercept, latch, problem, signUp, use } from "./support.tsx";

const {
  useList: useNotes,
  useCreate: useCreateNote,
  useUpdate: useUpdateNote,
} = createResourceHooks("/boards/{board}/notes", "notes", { isPinned: false });

type Note = Item<"/boards/{board}/notes">;

/** A resource below another one, which no function of the stack has. Responds with the items of each path. */
function serve(): { readonly stored: Map<string, Note[]>; readonly requests: string[] } {
  const stored = new Map<string, Note[]>();
  const requests: string[] = [];
  let time = 1_000_000;
  const notes = (path: string) => stored.get(path) ?? [];
  const pathOf = (request: Request) => new URL(request.url).pathname;
  intercept("GET", "/boards/", (request) => {
    const path = pathOf(request);
    const [, collection = "", id] = /^(.*\/notes)\/(.+)$/.exec(path) ?? [];
    if (id) return Response.json(notes(collection).find((note) => note.id === id));
    return Response.json({ notes: notes(path), cursor: null });
  });
  intercept("POST", "/boards/", async (request) => {
    const path = pathOf(request);
    requests.push(`POST ${path}`);
    time += 1;
    const body = (await request.json()) as Pick<Note, "id" | "text">;
    const note = { isPinned: false, ...body, text: body.text.trim(), createdAt: time, updatedAt: time, version: 1 };
    stored.set(path, [note, ...notes(path)]);
    return Response.json(note, { status: 201 });
  });
  intercept("PATCH", "/boards/", async (request) => {
    const [, path = "", id = ""] = /^(.*)\/(.+)$/.exec(pathOf(request)) ?? [];
    const version = request.headers.get("if-match");
    const [note] = notes(path).filter((note) => note.id === id);
    if (!note || version !== `"${note.version}"`) return problem(412, "version_mismatch");
    const { text = note.text, ...change } = (await request.json()) as Partial<Note>;
    const updated = { ...note, ...change, text: text.trim(), version: note.version + 1 };
    stored.set(
      path,
      notes(path).map((note) => (note.id === id ? updated : note)),
    );
    return Response.json(updated);
  });
  return { stored, requests };
}

/** The hooks of the notes on a board, which the test can change. */
async function notesOf(board: string) {
  const on = { board };
  const { result, rerender } = use(
    () => ({ ...useNotes(on), create: useCreateNote(on), update: useUpdateNote(on) }),
    clerkOf(await signUp()),
  );
  const change = (board: string) => {
    on.board = board;
    rerender();
  };
  await waitFor(() => expect(result.current.status).toBe("Exhausted"));
  return { result, change, texts: () => result.current.notes.map((note) => note.text) };
}

test("the parameters of a path name the list and are encoded", async () => {
  const { stored, requests } = serve();
  const { result, change, texts } = await notesOf("a");
  await act(() => result.current.create({ text: "on a" }));
  await waitFor(() => expect(result.current.notes).toMatchObject([{ text: "on a", isPending: false }]));
  change("b/c");
  expect(result.current).toMatchObject({ status: "LoadingFirstPage", notes: [] });
  await waitFor(() => expect(result.current.status).toBe("Exhausted"));
  await act(() => result.current.create({ text: "on b/c" }));
  expect(texts()).toEqual(["on b/c"]);
  const [note] = result.current.notes;
  if (!note) throw new Error("the list is empty");
  await act(() => result.current.update(note, { isPinned: true }));
  change("a");
  expect(texts()).toEqual(["on a"]);
  expect(requests).toEqual(["POST /boards/a/notes", "POST /boards/b%2Fc/notes"]);
  expect(stored.get("/boards/b%2Fc/notes")).toMatchObject([{ text: "on b/c", isPinned: true, version: 2 }]);
});

test("a new item has the defaults until it is confirmed", async () => {
  serve();
  const { result } = await notesOf("a");
  const response = latch();
  intercept("POST", "/boards/", async (_, send) => {
    await response.opened;
    return send();
  });
  const created = [result.current.create({ text: "1" }), result.current.create({ text: "2", isPinned: true })];
  await waitFor(() =>
    expect(result.current.notes).toMatchObject([
      { text: "2", isPinned: true, isPending: true },
      { text: "1", isPinned: false, isPending: true },
    ]),
  );
  response.open();
  await act(() => Promise.all(created));
});

test("undefined members are neither sent nor shown", async () => {
  const { stored } = serve();
  const { result, texts } = await notesOf("a");
  // TypeScript allows this without exactOptionalPropertyTypes.
  const isPinned = undefined as unknown as boolean;
  const response = latch();
  intercept("POST", "/boards/", async (_, send) => {
    await response.opened;
    return send();
  });
  const created = result.current.create({ text: "Plans", isPinned });
  await waitFor(() => expect(result.current.notes).toMatchObject([{ text: "Plans", isPinned: false }]));
  const [note] = result.current.notes;
  if (!note) throw new Error("the list is empty");
  const updated = result.current.update(note, { text: undefined as unknown as string, isPinned: true });
  await waitFor(() => expect(result.current.notes).toMatchObject([{ text: "Plans", isPinned: true }]));
  response.open();
  await act(() => Promise.all([created, updated]));
  await waitFor(() => expect(result.current.notes).toMatchObject([{ isPending: false }]));
  expect(texts()).toEqual(["Plans"]);
  expect(stored.get("/boards/a/notes")).toMatchObject([{ text: "Plans", isPinned: true, version: 2 }]);
});

test("an update that the API trims, and whose response is lost, does not conflict with itself", async () => {
  const { stored } = serve();
  const { result, texts } = await notesOf("a");
  const note = await act(() => result.current.create({ text: "before" }));
  let attempts = 0;
  intercept("PATCH", "/boards/", async (_, send) => {
    const response = await send();
    attempts += 1;
    if (attempts === 1) throw new TypeError("Failed to fetch");
    return response;
  });
  await act(() => result.current.update(note, { text: " after ", isPinned: true }));
  expect(attempts).toBe(2);
  await waitFor(() => expect(texts()).toEqual(["after"]));
  expect(stored.get("/boards/a/notes")).toMatchObject([{ text: "after", isPinned: true, version: 2 }]);
});

test("an update of which another client made only a part is a conflict", async () => {
  const { stored } = serve();
  const { result } = await notesOf("a");
  const note = await act(() => result.current.create({ text: "before" }));
  stored.set("/boards/a/notes", [{ ...note, text: "after", version: 2 }]);
  const updated = result.current.update(note, { text: "after", isPinned: true });
  expect(await act(() => failure(updated))).toMatchObject({
    code: "version_mismatch",
    current: { text: "after", isPinned: false, version: 2 },
  });
  await waitFor(() => expect(result.current.notes).toMatchObject([{ text: "after", isPinned: false, version: 2 }]));
});
