import { useInfiniteQuery, useMutationState } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useState } from "react";

import type {
  BaseItem,
  Change,
  Creation,
  Defaults,
  Deletion,
  Item,
  ListMember,
  Optional,
  PathParameters,
  Profile,
  ProfileChange,
  ResourcePath,
} from "./document.ts";
import type { ApiError } from "./errors.ts";
import {
  type Collection,
  createItem,
  deleteItem,
  type ItemChange,
  keyOf,
  type Listed,
  overlay,
  type Pages,
  updateItem,
} from "./items.ts";
import { initially, type PreloadedList } from "./preloaded.ts";
import { refreshProfile, useApi, useProfile } from "./provider.tsx";
import { PAGE_SIZE, pathOf } from "./request.ts";

/** How far a list has been read. */
export type PagesStatus = "CanLoadMore" | "Exhausted" | "LoadingFirstPage" | "LoadingMore";

/** The state of a list, apart from its items. */
export interface ListState {
  readonly status: PagesStatus;
  /** Reads the next page, if `status` is `CanLoadMore`. */
  readonly loadMore: () => void;
  /** Why the last read failed. Transient failures are retried automatically. `loadMore` retries at once. */
  readonly error: ApiError | null;
}

/** The hooks of the resource at the path `P`. Each takes the path's parameters, if it has any. */
export interface ResourceHooks<P extends string> {
  /**
   * The user's items, in pages of `pageSize` (1 to 100). They are newest first by the server's clock, with every change
   * that is not confirmed yet. New items come first. With `preloaded`, the first page shows from the first render on.
   */
  readonly useList: (
    ...options: Optional<
      PathParameters<P> & { readonly pageSize?: number; readonly preloaded?: PreloadedList<P> | null }
    >
  ) => ListState & { readonly [M in ListMember<P>]: readonly Listed<Item<P>>[] };
  /** Returns a function that creates an item. The item is listed at once. If the creation fails, it is rolled back. */
  readonly useCreate: (...parameters: Optional<PathParameters<P>>) => (members: Creation<P>) => Promise<Item<P>>;
  /**
   * Returns a function that updates the version of an item that is on the screen. If another client changed the item, the
   * promise fails with the code `version_mismatch`, and `current` is the item's current state, which the list then shows.
   * To overwrite the other change, update `current`.
   */
  readonly useUpdate: (
    ...parameters: Optional<PathParameters<P>>
  ) => (item: Pick<BaseItem, "id" | "version">, change: Change<P>) => Promise<Item<P>>;
  /** Returns a function that deletes an item. It leaves the list at once. If the deletion fails, it is rolled back. */
  readonly useDelete: (...parameters: Optional<PathParameters<P>>) => (item: Deletion<P>) => Promise<void>;
}

type Parameters = Readonly<Record<string, unknown>>;
interface ListOptions extends Parameters {
  readonly pageSize?: number;
  readonly preloaded?: PreloadedList<string> | null;
}

/**
 * The hooks of a resource: its path in the OpenAPI document, and the member of a page that has the items. An item that
 * is not confirmed yet has the members of its creation, and `defaults` for members that the creation omits.
 *
 * ```ts
 * export const { useList: useNotes, useCreate: useCreateNote } = createResourceHooks("/notes", "notes");
 * ```
 */
export function createResourceHooks<P extends ResourcePath>(
  path: P,
  member: ListMember<P>,
  ...[defaults]: Optional<Defaults<P>>
): ResourceHooks<P> {
  const hooks = {
    useList({ preloaded, pageSize = preloaded?.value.pageSize ?? PAGE_SIZE, ...parameters }: ListOptions = {}) {
      const { items, ...state } = useItems(useCollection(path, member, parameters), pageSize, preloaded);
      return { [member]: items, ...state };
    },
    useCreate(parameters?: Parameters) {
      const collection = useCollection(path, member, parameters);
      return useCallback((members: object) => createItem(collection, members, defaults), [collection, defaults]);
    },
    useUpdate(parameters?: Parameters) {
      const collection = useCollection(path, member, parameters);
      return useCallback(
        (item: Pick<BaseItem, "id" | "version">, change: object) => updateItem(collection, item, change),
        [collection],
      );
    },
    useDelete(parameters?: Parameters) {
      const collection = useCollection(path, member, parameters);
      return useCallback((item: Pick<BaseItem, "id">) => deleteItem(collection, item), [collection]);
    },
  };
  return hooks as unknown as ResourceHooks<P>;
}

function useCollection(template: string, of: string, parameters: Parameters = {}): Collection {
  const { session } = useApi();
  const path = pathOf(template, parameters);
  return useMemo(() => {
    const names = template.split("/");
    const values = path.split("/").filter((value, index) => value !== names[index]);
    return { session, path, of, parents: values.map(decodeURIComponent) };
  }, [session, path, of, template]);
}

function useItems(
  collection: Collection,
  pageSize: number,
  preloaded: PreloadedList<string> | null | undefined,
): ListState & { readonly items: readonly Listed<BaseItem>[] } {
  const { session, path, of } = collection;
  const { auth } = useApi();
  // biome-ignore lint/suspicious/noExplicitAny: the member is the resource's
  const pageOf = (page: any): Pages["pages"][number] => ({ items: page[of], cursor: page.cursor });
  const { data, error, hasNextPage, isFetching, fetchNextPage, refetch } = useInfiniteQuery(
    {
      queryKey: [...keyOf(collection), pageSize],
      queryFn: async ({ pageParam, signal }) => {
        const query = new URLSearchParams({ limit: `${pageSize}`, ...(pageParam && { cursor: pageParam }) });
        return pageOf(await session.send("GET", `${path}?${query}`, { signal }));
      },
      initialPageParam: undefined as string | undefined,
      getNextPageParam: (page) => page.cursor ?? undefined,
      enabled: auth.status === "authenticated",
      meta: { ...collection },
      ...initially(session, preloaded, (value): Pages | undefined =>
        value.path === path &&
        value.pageSize === pageSize &&
        // It lacks the changes of this session.
        !session.queries.getMutationCache().find({ mutationKey: keyOf(collection) })
          ? { pages: [pageOf(value.page)], pageParams: [undefined] }
          : undefined,
      ),
    },
    session.queries,
  );
  const changes = useMutationState(
    {
      filters: {
        mutationKey: keyOf(collection),
        // A list that was not read yet has none of the confirmed changes.
        predicate: ({ state }) => state.status === "pending" || (!data && state.status === "success"),
      },
      select: ({ state }) => ({ change: state.variables as ItemChange, isPending: state.status === "pending" }),
    },
    session.queries,
  );
  const items = useMemo(() => overlay(data?.pages ?? [], changes), [data, changes]);

  // The number of pages to have of this collection. A read that a change interrupts continues until it has them.
  const read = data?.pages.length ?? 0;
  const [wanted, setWanted] = useState({ collection, pages: 1 });
  const isWanting = read > 0 && wanted.collection === collection && wanted.pages > read && hasNextPage;
  useEffect(() => {
    if (isWanting && !isFetching && !error) void fetchNextPage();
  }, [isWanting, isFetching, error, fetchNextPage]);
  const hasFailed = error !== null;
  const loadMore = useCallback(() => {
    setWanted({ collection, pages: read + 1 });
    // From the first page on, since a cursor may have become invalid. Then it continues as above.
    if (hasFailed) void refetch();
  }, [collection, read, hasFailed, refetch]);

  let status: PagesStatus = hasNextPage ? "CanLoadMore" : "Exhausted";
  if (!data) status = "LoadingFirstPage";
  else if (isWanting && !hasFailed) status = "LoadingMore";
  return { items, status, loadMore, error: error as ApiError | null };
}

/** The result of {@link useUserProfile}. */
export interface UserProfile {
  /** Whether `profile` has been read. */
  readonly isLoaded: boolean;
  readonly profile: Profile | undefined;
  /** Synchronizes again: with the token's claims, and with `details` for values that Clerk does not provide. */
  readonly refreshProfile: (details?: ProfileChange) => Promise<Profile>;
  /** Why the last read failed. Transient failures are retried automatically. `refreshProfile` retries at once. */
  readonly error: ApiError | null;
}

/** The signed-in user's profile, synchronized on sign-in. */
export function useUserProfile(): UserProfile {
  const { session, auth } = useApi();
  const { data, error } = useProfile(session, { enabled: auth.status === "authenticated" });
  const refresh = useCallback((details?: ProfileChange) => refreshProfile(session, details), [session]);
  return { isLoaded: data !== undefined, profile: data, refreshProfile: refresh, error: error as ApiError | null };
}
