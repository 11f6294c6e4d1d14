import { inject } from "vitest";

import { createResourceHooks } from "../src/index.ts";
import { api, type User } from "./support.tsx";

// The stack's resource, whichever it is, typed and named as the items of document.ts.
const resource = inject("resource");
const hooks = createResourceHooks(resource.path as "/items", resource.member as "items");

/** The path of the stack's resource. */
export const PATH = resource.path;

/** The member that stands for the title, in bodies that bypass the library. */
export const titled = (title: string) => ({ [resource.title]: title });

/** The body of a creation that bypasses the library. */
export const creation = (title: string) => ({ ...resource.create, ...titled(title) });

export const titleOf = (item: object): string => Reflect.get(item, resource.title);

/** The list, under the name that document.ts has for its items. */
export function useItems(options: NonNullable<Parameters<typeof hooks.useList>[0]> = {}) {
  const { [resource.member as "items"]: items, ...list } = hooks.useList(options);
  return { ...list, items: items.map((item) => ({ ...item, title: titleOf(item) })) };
}

export function useCreateItem() {
  const create = hooks.useCreate();
  return ({ title }: { title: string }) => create(creation(title) as { title: string });
}

export function useUpdateItem() {
  const update = hooks.useUpdate();
  return (item: { id: string; version: number }, { title }: { title: string }) => update(item, titled(title));
}

export const { useDelete: useDeleteItem } = hooks;

/** What the server has, newest first. */
export async function stored(user: User): Promise<{ id: string; title: string; version: number }[]> {
  const page = await (await api(user, "GET", `${PATH}?limit=100`)).json();
  return page[resource.member].map((item: { id: string }) => ({ ...item, title: titleOf(item) }));
}
