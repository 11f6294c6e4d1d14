import type { InfiniteData } from "@tanstack/react-query";
import { v7 as uuidv7 } from "uuid";

import { ApiError, type Chat } from "./errors.ts";
import type { components } from "./openapi.ts";
import { confirm, type Session } from "./session.ts";

export type Pages = InfiniteData<components["schemas"]["Page"], string | undefined>;

/** Follows the session in the key of every query that lists chats, and of every change of one. */
export const CHATS = "chats";

/** A chat as the screen has it: the server's word with the changes that are on their way. */
export interface ShownChat extends Chat {
  /** Whether a change of it is on its way to the server. */
  readonly isPending: boolean;
}

/** What is done to a chat. */
export type Change =
  | { readonly kind: "create"; readonly id: string; readonly chat: Chat }
  | { readonly kind: "rename"; readonly id: string; readonly title: string }
  | { readonly kind: "delete"; readonly id: string };

interface Shown {
  readonly change: Change;
  readonly isPending: boolean;
}

/** The list's order: the newest by the server's clock first, ties by id. */
const compare = (a: Chat, b: Chat) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1);

/** What was read, with what is on its way. New chats come first, whatever this side's clock says. */
export function shown(pages: Pages["pages"], changes: readonly Shown[]): ShownChat[] {
  const read = new Map<string, ShownChat>();
  for (const chat of pages.flatMap((page) => page.chats)) read.set(chat.id, { ...chat, isPending: false });
  const created = new Map<string, ShownChat>();
  for (const { change, isPending } of changes) {
    const { id } = change;
    const chats = read.has(id) ? read : created;
    const before = chats.get(id);
    if (change.kind === "delete") chats.delete(id);
    else if (change.kind === "create") chats.set(id, { ...(before ?? change.chat), isPending });
    else if (before) chats.set(id, { ...before, title: change.title, isPending });
  }
  return [...[...created.values()].reverse(), ...[...read.values()].sort(compare)];
}

/** Puts a chat that the server has confirmed into the lists that were read, or takes out one that is deleted. */
function confirmChat(session: Session, id: string, chat: Chat | undefined): Promise<void> {
  return confirm<Pages>(session, [...session.key, CHATS], (data) => {
    const isNew = chat && !data.pages.some((page) => page.chats.some((known) => known.id === id));
    let isPlaced = !isNew;
    const pages = data.pages.map((page) => {
      const chats = page.chats.flatMap((known) => (known.id === id ? (chat ?? []) : known));
      const last = chats.at(-1);
      // What is older than every page that was read comes with a later one.
      if (!isPlaced && chat && (!page.cursor || (last && compare(chat, last) < 0))) {
        isPlaced = true;
        chats.push(chat);
        chats.sort(compare);
      }
      return { ...page, chats };
    });
    return { ...data, pages };
  });
}

/** Shows a change at once, and takes it back if `run` fails. Changes of one chat are made one after the other. */
function make<T>(session: Session, change: Change, run: () => Promise<T>): Promise<T> {
  const { queries, key } = session;
  const mutationKey = [...key, CHATS];
  const options = { mutationKey, mutationFn: run, scope: { id: JSON.stringify([...mutationKey, change.id]) } };
  return session.during(() =>
    queries.getMutationCache().build<T, Error, Change, unknown>(queries, options).execute(change),
  );
}

/** Creates a chat under an id of this side's making, so that sending it twice creates it once. */
export function createChat(session: Session, title: string): Promise<Chat> {
  const id = uuidv7();
  const now = Date.now();
  const chat = { id, title: title.trim(), createdAt: now, updatedAt: now, version: 1 };
  const { creation } = session;
  const created = make(session, { kind: "create", id, chat }, async () => {
    await creation;
    const confirmed = await session.api.createChat({ id, title });
    await confirmChat(session, id, confirmed);
    return confirmed;
  });
  session.creation = created.catch(() => {});
  return created;
}

/** The version that this session's own renames made of one. */
function latest({ successors }: Pick<Session, "successors">, id: string, version: number): number {
  const next = successors.get(`${id}@${version}`);
  return next === undefined ? version : latest({ successors }, id, next);
}

/** Renames the version that the caller saw, or what this session's own renames made of it. */
export function renameChat(session: Session, { id, version }: Pick<Chat, "id" | "version">, to: string): Promise<Chat> {
  const title = to.trim();
  return make(session, { kind: "rename", id, title }, async () => {
    const expected = latest(session, id, version);
    try {
      const chat = await session.api.renameChat(id, expected, { title }).catch(async (error: ApiError) => {
        if (error.code !== "version_mismatch") throw error;
        const current = await session.api.getChat(id);
        // Somebody wanted the same, or the answer to an attempt before this one was lost.
        if (current.title === title) return current;
        await confirmChat(session, id, current);
        throw new ApiError(error.code, error.message, { status: error.status, current });
      });
      session.successors.set(`${id}@${expected}`, chat.version);
      await confirmChat(session, id, chat);
      return chat;
    } catch (error) {
      if (error instanceof ApiError && error.code === "not_found") await confirmChat(session, id, undefined);
      throw error;
    }
  });
}

/** Deletes a chat, whichever version there is. */
export function deleteChat(session: Session, { id }: Pick<Chat, "id">): Promise<void> {
  return make(session, { kind: "delete", id }, async () => {
    try {
      await session.api.deleteChat(id);
    } catch (error) {
      // Gone is gone, by an attempt before this one or by another tab.
      if (!(error instanceof ApiError && error.code === "not_found")) throw error;
    }
    await confirmChat(session, id, undefined);
  });
}
