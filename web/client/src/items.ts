import { hashKey, type InfiniteData, type MutationOptions } from "@tanstack/react-query";
import { v7 as uuidv7 } from "uuid";

import type { BaseItem } from "./document.ts";
import { ApiError } from "./errors.ts";
import { confirm, type Session } from "./session.ts";

/** The pages of a list that have been read. */
export type Pages = InfiniteData<{ readonly items: BaseItem[]; readonly cursor: string | null }, string | undefined>;

/** The items at a path, in one session. */
export interface Collection {
  readonly session: Session;
  readonly path: string;
  /** The member of a page that has the items. */
  readonly of: string;
  /** The values of the path's parameters. */
  readonly parents: readonly string[];
}

/** An item as it is shown: the server's state with the changes that are not confirmed yet. */
export type Listed<Item> = Item & {
  /** Whether a change of it is not confirmed yet. */
  readonly isPending: boolean;
};

/** A change of one item. */
export type ItemChange =
  | { readonly kind: "create"; readonly id: string; readonly item: BaseItem }
  | { readonly kind: "update"; readonly id: string; readonly members: object }
  | { readonly kind: "delete"; readonly id: string };

interface TrackedChange {
  readonly change: ItemChange;
  readonly isPending: boolean;
}

/** Begins the key of every query that lists the items, and is the key of every change of one. */
export const keyOf = ({ session, path }: Collection) => [...session.key, path];

/** The order of a list: newest first by the server's clock, then by id. */
const compare = (a: BaseItem, b: BaseItem) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1);

/** Applies changes to the pages that were read. New items come first, regardless of the client's clock. */
export function overlay(pages: Pages["pages"], changes: readonly TrackedChange[]): Listed<BaseItem>[] {
  const read = new Map<string, Listed<BaseItem>>();
  for (const item of pages.flatMap((page) => page.items)) read.set(item.id, { ...item, isPending: false });
  const created = new Map<string, Listed<BaseItem>>();
  for (const { change, isPending } of changes) {
    const { id } = change;
    const items = read.has(id) ? read : created;
    const before = items.get(id);
    if (change.kind === "delete") items.delete(id);
    else if (change.kind === "create") items.set(id, { ...(before ?? change.item), isPending });
    else if (before) items.set(id, { ...before, ...change.members, isPending });
  }
  return [...[...created.values()].reverse(), ...[...read.values()].sort(compare)];
}

/** Puts an item that the server has confirmed into the lists that were read, or removes one that is deleted. */
export function confirmItem(collection: Collection, id: string, item: BaseItem | undefined): Promise<void> {
  return confirm<Pages>(collection.session, keyOf(collection), (data) => {
    const isNew = item && !data.pages.some((page) => page.items.some((known) => known.id === id));
    let isPlaced = !isNew;
    const pages = data.pages.map((page) => {
      const items = page.items.flatMap((known) => (known.id === id ? (item ?? []) : known));
      const last = items.at(-1);
      // An item that is older than every page that was read comes with a later page.
      if (!isPlaced && item && (!page.cursor || (last && compare(item, last) < 0))) {
        isPlaced = true;
        items.push(item);
        items.sort(compare);
      }
      return { ...page, items };
    });
    return { ...data, pages };
  });
}

/** For an item that may have been deleted. */
export function ignoreMissing(error: ApiError): undefined {
  if (error.code !== "not_found") throw error;
}

/** Mutations of one item run one after the other. */
export const scopeOf = ({ session, path }: Collection, id: string) => ({ id: hashKey([...session.key, path, id]) });

export const inOrder = <T, V>({ queries }: Session, options: MutationOptions<T, Error, V>, variables?: V) =>
  queries
    .getMutationCache()
    .build(queries, options)
    .execute(variables as V);

/** Shows a change at once, and rolls it back if `run` fails. */
function apply<T extends BaseItem | undefined>(
  collection: Collection,
  change: ItemChange,
  run: () => Promise<T>,
): Promise<T> {
  const { session, of, parents } = collection;
  const { id } = change;
  const mutationFn = async () => {
    const sentAt = Date.now();
    const item = await run();
    session.announce?.({ of, id, parents, version: item?.version ?? null }, sentAt);
    return item;
  };
  return session.during(() =>
    inOrder(session, { mutationKey: keyOf(collection), mutationFn, scope: scopeOf(collection, id) }, change),
  );
}

/** The members of a body that are sent: JSON has no undefined ones. */
const sent = <T extends object>(body: T): T => JSON.parse(JSON.stringify(body));

/** Creates an item under an id that the client generates, so that a creation that is sent twice creates one item. */
export function createItem(collection: Collection, members: object, defaults?: object): Promise<BaseItem> {
  const { session, path } = collection;
  const id = uuidv7();
  const body = { ...sent(members), id };
  const now = Date.now();
  const item = { ...defaults, ...body, createdAt: now, updatedAt: now, version: 1 };
  const { creation } = session;
  const created = apply(collection, { kind: "create", id, item }, async () => {
    await creation;
    const confirmed = await session.send<BaseItem>("POST", path, { body });
    await confirmItem(collection, id, confirmed);
    return confirmed;
  });
  session.creation = created.catch(() => {});
  return created;
}

/** The version that this session's own updates made of one. */
function latest({ successors }: Pick<Session, "successors">, path: string, version: number): number {
  const next = successors.get(`${path}@${version}`);
  return next === undefined ? version : latest({ successors }, path, next);
}

/** Whether an item has these members already. The API trims texts. */
function hasMembers(item: object, members: object): boolean {
  const hash = (value: unknown) => hashKey([typeof value === "string" ? value.trim() : value]);
  return Object.entries(members).every(([name, value]) => hash(Reflect.get(item, name)) === hash(value));
}

/** Updates the version that the caller saw, or the version that this session's own updates made of it. */
export function updateItem(
  collection: Collection,
  { id, version }: Pick<BaseItem, "id" | "version">,
  change: object,
): Promise<BaseItem> {
  const { session } = collection;
  const path = `${collection.path}/${id}`;
  const members = sent(change);
  return apply(collection, { kind: "update", id, members }, async () => {
    const expected = latest(session, path, version);
    try {
      const item = await session
        .send<BaseItem>("PATCH", path, { body: members, version: expected })
        .catch(async (error: ApiError) => {
          if (error.code !== "version_mismatch") throw error;
          const current = await session.send<BaseItem>("GET", path);
          // Another client made the same change, or the response to an earlier attempt was lost.
          if (hasMembers(current, members)) return current;
          await confirmItem(collection, id, current);
          throw new ApiError(error.code, error.message, { status: error.status, current });
        });
      session.successors.set(`${path}@${expected}`, item.version);
      await confirmItem(collection, id, item);
      return item;
    } catch (error) {
      if ((error as ApiError).code === "not_found") await confirmItem(collection, id, undefined);
      throw error;
    }
  });
}

/** Deletes an item, whatever its version. */
export function deleteItem(collection: Collection, { id }: Pick<BaseItem, "id">): Promise<undefined> {
  const { session, path } = collection;
  return apply<undefined>(collection, { kind: "delete", id }, async () => {
    // It may have been deleted by an earlier attempt or by another client.
    await session.send("DELETE", `${path}/${id}`).catch(ignoreMissing);
    await confirmItem(collection, id, undefined);
  });
}
