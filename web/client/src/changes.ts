import type { InfiniteData } from "@tanstack/react-query";
import { v7 as uuidv7 } from "uuid";

import { ApiError, type Chat } from "./errors.ts";
import type { components } from "./openapi.ts";
import type { Session } from "./session.ts";

export type Pages = InfiniteData<components["schemas"]["Page"], string | undefined>;

/** The key of every query that lists chats, and of every change of one. */
export const CHATS = ["chats"] as const;

/** A chat as the screen has it: the server's word with the changes that are on their way. */
export interface ShownChat extends Chat {
  /** Whether a change of it is on its way to the server. */
  readonly isPending: boolean;
}

/** What is being done to a chat, and is not confirmed yet. */
export type Change =
  | { readonly kind: "create"; readonly id: string; readonly chat: Chat }
  | { readonly kind: "rename"; readonly id: string; readonly title: string }
  | { readonly kind: "delete"; readonly id: string };

/** What was read, with what is on its way, newest first as the API has it: ids tell (RFC 9562, section 5.7). */
export function shown(pages: Pages["pages"], changes: readonly Change[]): ShownChat[] {
  const chats = new Map(pages.flatMap((page) => page.chats).map((chat) => [chat.id, { ...chat, isPending: false }]));
  for (const change of changes) {
    const before = chats.get(change.id);
    if (change.kind === "delete") chats.delete(change.id);
    else if (change.kind === "create") chats.set(change.id, { ...(before ?? change.chat), isPending: true });
    else if (before) chats.set(change.id, { ...before, title: change.title, isPending: true });
  }
  return [...chats.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
}

/** Puts what the server has confirmed into what was read: a chat, or that there is none under its id. */
async function confirm({ queries }: Session, id: string, chat: Chat | undefined): Promise<void> {
  const queryKey = CHATS;
  // A list that is on its way may be from before, and would take this back.
  const isReading = queries.isFetching({ queryKey }) > 0;
  await queries.cancelQueries({ queryKey });
  queries.setQueriesData<Pages>({ queryKey }, (data) => {
    if (!data) return data;
    const isNew = !data.pages.some((page) => page.chats.some((known) => known.id === id));
    const pages = data.pages.map((page, index) => {
      const others = page.chats.flatMap((known) => (known.id === id ? (chat ?? []) : known));
      return { ...page, chats: chat && isNew && index === 0 ? [chat, ...others] : others };
    });
    return { ...data, pages };
  });
  if (isReading) void queries.invalidateQueries({ queryKey });
}

/** Shows a change at once, and takes it back if `run` fails. Changes of one chat are made one after the other. */
function make<T>({ queries }: Session, change: Change, run: () => Promise<T>): Promise<T> {
  const options = { mutationKey: CHATS, mutationFn: run, scope: { id: change.id } };
  return queries.getMutationCache().build<T, Error, Change, unknown>(queries, options).execute(change);
}

/** Creates a chat under an id of this side's making, so that sending it twice creates it once. */
export function createChat(session: Session, title: string): Promise<Chat> {
  const id = uuidv7();
  const now = Date.now();
  const chat = { id, title: title.trim(), createdAt: now, updatedAt: now, version: 1 };
  return make(session, { kind: "create", id, chat }, async () => {
    const created = await session.api.createChat({ id, title });
    await confirm(session, id, created);
    return created;
  });
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
        await confirm(session, id, current);
        throw new ApiError(error.code, error.message, { status: error.status, current });
      });
      session.successors.set(`${id}@${expected}`, chat.version);
      await confirm(session, id, chat);
      return chat;
    } catch (error) {
      if (error instanceof ApiError && error.code === "not_found") await confirm(session, id, undefined);
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
    await confirm(session, id, undefined);
  });
}
