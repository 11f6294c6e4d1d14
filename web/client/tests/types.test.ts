import { useAuth } from "@clerk/react";
import { expect, expectTypeOf, test } from "vitest";

import { type ApiProviderProps, createResourceHooks, type ErrorCode, type Item, type Listed } from "../src/index.ts";
import type { PreloadedList, ServerApi } from "../src/server.ts";

const items = createResourceHooks("/items", "items");
const notes = createResourceHooks("/boards/{board}/notes", "notes", { isPinned: false });

test("Clerk's own useAuth fits the provider", () => {
  expectTypeOf(useAuth).toExtend<ApiProviderProps["useAuth"]>();
});

test("error codes are the document's and the library's own, and not any string", () => {
  expectTypeOf<"version_mismatch" | "session_ended" | "unreachable" | "item_locked">().toExtend<ErrorCode>();
  expectTypeOf<string>().not.toExtend<ErrorCode>();
});

test("a list has the document's items", () => {
  type Shown = ReturnType<typeof items.useList>["items"][number];
  expectTypeOf<Shown["title"]>().toEqualTypeOf<string>();
  expectTypeOf<Shown>().toExtend<Listed<{ title: string; version: number }>>();
  expectTypeOf<Parameters<typeof items.useList>>().toEqualTypeOf<
    [options?: { readonly pageSize?: number; readonly preloaded?: PreloadedList<"/items"> | null }]
  >();
});

test("unknown paths and list members do not compile", () => {
  // @ts-expect-error: the document has no such path
  createResourceHooks("/nothing", "nothing");
  // @ts-expect-error: a path of one item lists no items
  createResourceHooks("/items/{id}", "items");
  // @ts-expect-error: a page of the path has no such member
  createResourceHooks("/items", "notes");
  // @ts-expect-error: this member of a page has no items
  createResourceHooks("/items", "cursor");
});

test("unknown and missing members of an item do not compile", () => {
  type Create = ReturnType<typeof items.useCreate>;
  type Update = ReturnType<typeof items.useUpdate>;
  expectTypeOf<Parameters<Create>[0]>().toEqualTypeOf<{ title: string }>();
  expectTypeOf<Parameters<Update>[1]>().toEqualTypeOf<{ title?: string }>();
  const calls = (create: Create, update: Update, item: Listed<{ id: string; version: number }>) => [
    create({ title: "Plans" }),
    // @ts-expect-error: the title is missing
    create({}),
    // @ts-expect-error: an item has no such member
    create({ title: "Plans", text: "" }),
    // @ts-expect-error: the client makes the id
    create({ title: "Plans", id: "018f0000-0000-7000-8000-000000000000" }),
    update(item, { title: "Plans" }),
    // @ts-expect-error: a title is a string
    update(item, { title: 1 }),
    // @ts-expect-error: the version that was seen is missing
    update({ id: item.id }, { title: "Plans" }),
  ];
  expect(calls).toBeTypeOf("function");
});

test("operations that the document omits cannot be called", () => {
  expectTypeOf<Parameters<ReturnType<typeof notes.useDelete>>>().toEqualTypeOf<[item: never]>();
  expectTypeOf<Parameters<ReturnType<typeof items.useDelete>>[0]>().toEqualTypeOf<{ readonly id: string }>();
});

test("the parameters of a path are required", () => {
  expectTypeOf<Parameters<typeof notes.useCreate>[0]>().toExtend<{ readonly board: string }>();
  expectTypeOf<Parameters<typeof notes.useList>[0]>().toExtend<{
    readonly board: string;
    readonly pageSize?: number;
  }>();
  const calls = () => [
    notes.useUpdate({ board: "018f0000-0000-7000-8000-000000000000" }),
    // @ts-expect-error: the board is missing
    notes.useUpdate(),
    // @ts-expect-error: the board is missing
    notes.useList({ pageSize: 10 }),
    // @ts-expect-error: the path has no such parameter
    notes.useList({ board: "018f0000-0000-7000-8000-000000000000", note: "" }),
  ];
  expect(calls).toBeTypeOf("function");
});

test("members that a creation can omit need a default", () => {
  // @ts-expect-error: every note has isPinned
  createResourceHooks("/boards/{board}/notes", "notes");
  // @ts-expect-error: isPinned is a boolean
  createResourceHooks("/boards/{board}/notes", "notes", { isPinned: "no" });
});

test("the server's operations are the document's", () => {
  const calls = async (api: ServerApi) => {
    const page = await api.get("/items", { query: { limit: 5 } });
    expectTypeOf(page.items).toEqualTypeOf<Item<"/items">[]>();
    const id = "018f0000-0000-7000-8000-000000000000";
    expectTypeOf(await api.get("/items/{id}", { id })).toEqualTypeOf<Item<"/items">>();
    expectTypeOf(await api.post("/items", { body: { title: "Plans" } })).toEqualTypeOf<Item<"/items">>();
    await api.patch("/items/{id}", { id, version: 1, body: { title: "Plans" } });
    expectTypeOf(await api.delete("/items/{id}", { id })).toEqualTypeOf<undefined>();
    // @ts-expect-error: the id is missing
    await api.get("/items/{id}");
    // @ts-expect-error: the body is missing
    await api.post("/items");
    // @ts-expect-error: the document has no such member
    await api.post("/items", { body: { text: "" } });
    // @ts-expect-error: the operation has no such parameter
    await api.get("/items", { query: { page: 2 } });
    // @ts-expect-error: the document has no such operation
    await api.put("/items", {});
    // @ts-expect-error: the document has no such operation
    await api.delete("/boards/{board}/notes/{id}", { board: id, id });
  };
  expect(calls).toBeTypeOf("function");
});

test("a preloaded list is one of the same path", () => {
  expectTypeOf<Awaited<ReturnType<typeof preloadItems>>>().toEqualTypeOf<PreloadedList<"/items"> | null>();
  const preloadItems = (api: ServerApi) => api.preloadList("/items", { pageSize: 5 });
  const calls = (api: ServerApi, list: PreloadedList<"/boards/{board}/notes">) => [
    api.preloadList("/boards/{board}/notes", { board: "018f0000-0000-7000-8000-000000000000" }),
    // @ts-expect-error: the board is missing
    api.preloadList("/boards/{board}/notes"),
    // @ts-expect-error: the path lists no items
    api.preloadList("/items/{id}", { id: "018f0000-0000-7000-8000-000000000000" }),
    // @ts-expect-error: it lists the items of another path
    items.useList({ preloaded: list }),
  ];
  expect(calls).toBeTypeOf("function");
});
