import { useInfiniteQuery, useMutationState } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useState } from "react";

import { CHATS, type Change, createChat, deleteChat, renameChat, type ShownChat, shown } from "./changes.ts";
import type { ApiError, Chat, Profile, ProfileChange } from "./errors.ts";
import { refreshProfile, useApi, useProfile } from "./provider.tsx";

/** How far a list has been read. */
export type PagesStatus = "CanLoadMore" | "Exhausted" | "LoadingFirstPage" | "LoadingMore";

/** What {@link useChats} gives. */
export interface Chats {
  /** Newest first by the server's clock, with every change that is on its way; new chats are on top. */
  readonly chats: readonly ShownChat[];
  readonly status: PagesStatus;
  /** Reads the next page, if `status` is `CanLoadMore`. */
  readonly loadMore: () => void;
  /** Why the last read failed. It is retried automatically if that can help; `loadMore` retries it at once. */
  readonly error: ApiError | null;
}

/** The caller's chats, in pages of `pageSize` (1 to 100). */
export function useChats({ pageSize = 50 }: { readonly pageSize?: number } = {}): Chats {
  const { session, auth } = useApi();
  const { data, error, hasNextPage, isFetching, fetchNextPage, refetch } = useInfiniteQuery(
    {
      queryKey: [...session.key, CHATS, pageSize],
      queryFn: ({ pageParam, signal }) =>
        session.api.listChats(pageParam ? { limit: pageSize, cursor: pageParam } : { limit: pageSize }, signal),
      initialPageParam: undefined as string | undefined,
      getNextPageParam: (page) => page.cursor ?? undefined,
      enabled: auth.status === "authenticated",
    },
    session.queries,
  );
  const changes = useMutationState(
    {
      filters: {
        mutationKey: [...session.key, CHATS],
        // A list that was not read yet has none of what is confirmed.
        predicate: ({ state }) => state.status === "pending" || (!data && state.status === "success"),
      },
      select: ({ state }) => ({ change: state.variables as Change, isPending: state.status === "pending" }),
    },
    session.queries,
  );
  const chats = useMemo(() => shown(data?.pages ?? [], changes), [data, changes]);

  // The number of pages to have in this session; a read that a change interrupts goes on by it.
  const read = data?.pages.length ?? 0;
  const [wanted, setWanted] = useState({ session, pages: 1 });
  const isWanting = read > 0 && wanted.session === session && wanted.pages > read && hasNextPage;
  useEffect(() => {
    if (isWanting && !isFetching && !error) void fetchNextPage();
  }, [isWanting, isFetching, error, fetchNextPage]);
  const hasFailed = error !== null;
  const loadMore = useCallback(() => {
    setWanted({ session, pages: read + 1 });
    // From the first page on, since a cursor may have lost its meaning; then it goes on as above.
    if (hasFailed) void refetch();
  }, [session, read, hasFailed, refetch]);

  let status: PagesStatus = hasNextPage ? "CanLoadMore" : "Exhausted";
  if (!data) status = "LoadingFirstPage";
  else if (isWanting && !hasFailed) status = "LoadingMore";
  return { chats, status, loadMore, error: error as ApiError | null };
}

/** Gives a function that creates a chat. It is listed at once; if that fails, it goes, and the promise says why. */
export function useCreateChat(): (chat: { readonly title: string }) => Promise<Chat> {
  const { session } = useApi();
  return useCallback(({ title }) => createChat(session, title), [session]);
}

/**
 * Gives a function that renames a chat as it is on the screen. If somebody else changed it meanwhile, the promise fails
 * with the code `version_mismatch` and the chat as it is now (`current`), which the list then shows; to insist, rename
 * that one.
 */
export function useRenameChat(): (
  chat: Pick<Chat, "id" | "version">,
  change: { readonly title: string },
) => Promise<Chat> {
  const { session } = useApi();
  return useCallback((chat, { title }) => renameChat(session, chat, title), [session]);
}

/** Gives a function that deletes a chat. It leaves the list at once; if that fails, it is back, and the promise says why. */
export function useDeleteChat(): (chat: Pick<Chat, "id">) => Promise<void> {
  const { session } = useApi();
  return useCallback((chat) => deleteChat(session, chat), [session]);
}

/** What {@link useUserProfile} gives. */
export interface UserProfile {
  /** Whether `profile` is there. */
  readonly isLoaded: boolean;
  readonly profile: Profile | undefined;
  /** Synchronizes again: with the token's claims, and with `details` for what Clerk does not provide. */
  readonly refreshProfile: (details?: ProfileChange) => Promise<Profile>;
  /** Why the last read failed. It is retried automatically if that can help; `refreshProfile` retries it at once. */
  readonly error: ApiError | null;
}

/** The signed-in user's profile, synchronized on sign-in. */
export function useUserProfile(): UserProfile {
  const { session, auth } = useApi();
  const { data, error } = useProfile(session, { enabled: auth.status === "authenticated" });
  const refresh = useCallback((details?: ProfileChange) => refreshProfile(session, details), [session]);
  return { isLoaded: data !== undefined, profile: data, refreshProfile: refresh, error: error as ApiError | null };
}
