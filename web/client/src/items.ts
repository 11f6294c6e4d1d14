import { hashKey, type InfiniteData, type MutationOptions } from "@tanstack/react-query";

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

/** An item that was read. */
export const find = ({ pages }: Pages, id: string) =>
  pages.flatMap(({ items }) => items).find((item) => item.id === id);

/** Whether an item comes before the end of a page. */
export function isBefore(item: BaseItem, { items, cursor }: Pages["pages"][number]): boolean {
  const last = items.at(-1);
  return !cursor || (last !== undefined && compare(item, last) < 0);
}

/** Puts an item that the server has confirmed into the lists that were read, or removes one that is deleted. */
export function confirmItem(collection: Collection, id: string, item: BaseItem | undefined): Promise<void> {
  return confirm<Pages>(collection.session, keyOf(collection), (data) => {
    let isPlaced = find(data, id) !== undefined;
    const pages = data.pages.map((page) => {
      const items = page.items.flatMap((known) => (known.id === id ? (item ?? []) : known));
      // An item that is older than every page that was read comes with a later page.
      if (!isPlaced && item && isBefore(item, page)) {
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

/** Shows a change at once, and rolls it back if `run` fails. `run` announces what the server made of the item. */
function apply<T extends BaseItem | undefined>(
  collection: Collection,
  change: ItemChange,
  run: (announce: (item: T) => T) => Promise<T>,
): Promise<T> {
  const { session, of, parents } = collection;
  const { id } = change;
  let sentAt = 0;
  const mutationFn = () => {
    // A further attempt may find that the first one was successful.
    sentAt ||= Date.now();
    return run((item) => {
      session.announce?.({ of, id, parents, version: item?.version ?? null }, sentAt);
      return item;
    }).catch((error: ApiError) => {
      session.announce?.(undefined, sentAt);
      throw error;
    });
  };
  return session.during(() =>
    inOrder(session, { mutationKey: keyOf(collection), mutationFn, scope: scopeOf(collection, id) }, change),
  );
}

/** The members of a body that are sent: JSON has no undefined ones. */
const sent = <T extends object>(body: T): T => JSON.parse(JSON.stringify(body));

/** A UUIDv7: the time and 72 random bits. `crypto.randomUUID` is missing where a page is not served over HTTPS. */
function newId(): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
  const time = hex(Date.now(), 12);
  const random = Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => hex(byte, 2)).join("");
  return [time.slice(0, 8), time.slice(8), `7${random.slice(0, 3)}`, `8${random.slice(3, 6)}`, random.slice(6)].join(
    "-",
  );
}

/** Creates an item under an id that the client generates, so that a creation that is sent twice creates one item. */
export function createItem(collection: Collection, members: object, defaults?: object): Promise<BaseItem> {
  const { session, path } = collection;
  const id = newId();
  const body = { ...sent(members), id };
  const now = Date.now();
  const item = { ...defaults, ...body, createdAt: now, updatedAt: now, version: 1 };
  const { creation } = session;
  const created = apply<BaseItem>(collection, { kind: "create", id, item }, async (announce) => {
    await creation;
    const confirmed = announce(await session.send("POST", path, { body }));
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
  return apply(collection, { kind: "update", id, members }, async (announce) => {
    const expected = latest(session, path, version);
    try {
      const sending = session.send<BaseItem>("PATCH", path, { body: members, version: expected });
      const item = await sending.then(announce, async (error: ApiError) => {
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
  return apply<undefined>(collection, { kind: "delete", id }, async (announce) => {
    // It may have been deleted by an earlier attempt or by another client.
    await session.send<undefined>("DELETE", `${path}/${id}`).then(announce, ignoreMissing);
    await confirmItem(collection, id, undefined);
  });
}
