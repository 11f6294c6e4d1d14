import type { Page, Profile } from "./document.ts";
import type { Session } from "./session.ts";
import { type Identity, isForeign } from "./token.ts";

/**
 * Data that a server has read for a user. It is plain data, so a server component can pass it to the browser. No other
 * user sees it, and no other session of the same user.
 */
export interface Preloaded<T> extends Identity {
  /** When the server read it, in milliseconds since the epoch. */
  readonly readAt: number;
  readonly value: T;
}

/** The first page of the list at a path, from `preloadList`. */
export type PreloadedList<P extends string> = Preloaded<{
  readonly path: string;
  readonly pageSize: number;
  readonly page: Page<P>;
}>;

/** The profile, from `preloadProfile`. */
export type PreloadedProfile = Preloaded<Profile>;

/** The options of a query with `preloaded` data, if that was read in this session. `dataOf` is undefined to ignore it. */
export const initially = <T, D>(
  session: Session,
  preloaded: Preloaded<T> | null | undefined,
  dataOf: (value: T) => D | undefined,
) => ({
  // biome-ignore lint/suspicious/noExplicitAny: until an application registers its types, a profile is `never`
  initialData: (): any =>
    preloaded && session.identity && !isForeign(preloaded, session.identity) ? dataOf(preloaded.value) : undefined,
  // Live updates do not report a change of data that is not on the screen yet. The server's clock may be ahead.
  initialDataUpdatedAt: () => (session.announce || !preloaded ? 0 : Math.min(preloaded.readAt, Date.now())),
});
