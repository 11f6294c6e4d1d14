import { onlineManager, QueryClient, type QueryKey } from "@tanstack/react-query";

import { ApiError, failureOf, isFinal, isSignedOut, isTransient, problemOf } from "./errors.ts";
import { initOf } from "./request.ts";
import { type Identity, identityOf, isForeign } from "./token.ts";

/** The part of Clerk's `useAuth` that this library uses. */
export interface Auth {
  /** False until Clerk has loaded. */
  isLoaded: boolean;
  /** Whether a user is signed in, according to Clerk. */
  isSignedIn?: boolean | undefined;
  /** The id of that user. */
  userId?: string | null | undefined;
  /** The id of their session. */
  sessionId?: string | null | undefined;
  /**
   * A session token. Clerk caches it and replaces it before it expires. `skipCache` requests a fresh one. While Clerk says
   * that a user is signed in, null, a rejection and a timeout are retried.
   */
  getToken(options?: { skipCache?: boolean }): Promise<string | null>;
}

/**
 * The state of the connection to the API.
 *
 * - `paused`: the API responds, but live updates have been missing for five seconds. They resume by themselves. Until
 *   then, after a minute, everything on the screen is read again every 60 to 90 seconds.
 * - `slow`: a request has been under way for three seconds.
 * - `unreachable`: the last request got no response, or Clerk failed to return a token.
 * - `offline`: the browser has no network. Changes wait for it.
 */
export type Connection = "offline" | "online" | "paused" | "slow" | "unreachable";

/** A change of an item or of the profile that was made somewhere. */
export interface LiveChange {
  /** The list member of the resource, or `profile`. */
  readonly of: string;
  readonly id?: string | undefined;
  /** The values of the path's parameters. */
  readonly parents?: readonly string[];
  /** Null if the item is deleted. */
  readonly version: number | null;
}

/** A request, apart from its method and path. */
export interface RequestOptions {
  /** Sent as JSON. */
  readonly body?: object;
  /** Sent as `If-Match`: the API rejects the request if the item has another version. */
  readonly version?: number;
  readonly signal?: AbortSignal;
}

/** The API for one session of one user, with all data that was read in it. */
export interface Session {
  /**
   * Begins the key of every query and change of this session. No other session has it, not even a later one of the same
   * user, so that nothing can be read or written across sessions.
   */
  readonly key: QueryKey;
  /** Its user, if one is signed in. */
  readonly identity: Identity | undefined;
  /** The cache that all sessions of a provider share. */
  readonly queries: QueryClient;
  /** The version that an update of this session made of a version, by `path@version`. */
  readonly successors: Map<string, number>;
  /** The latest creation. The next one waits for it, so that the server's order is the order of creation. */
  creation: Promise<unknown>;
  /** The latest update of the profile. */
  refresh?: Promise<unknown>;
  /** Announces a change that the server has made, or rejected, and that was first sent at a time, while updates are live. */
  announce?: ((change: LiveChange | undefined, sentAt: number) => void) | undefined;
  connection(): Connection;
  setPaused(isPaused: boolean): void;
  /** Why the server rejected the user. */
  rejection(): ApiError | undefined;
  subscribe(listener: () => void): () => void;
  /** A token of this session. Waits until Clerk has one. */
  token(): Promise<string>;
  /** Sends a request with a token, and returns the body of a response that is a success. */
  send<T>(method: string, path: string, options?: RequestOptions): Promise<T>;
  /** Runs a function that fails with `signed_out` as soon as the session ends, and that does not start afterwards. */
  during<T>(run: () => Promise<T>): Promise<T>;
  /** Ends the session: requests fail, late responses are dropped, and its data is removed. */
  end(): void;
}

/** Longer than API Gateway waits for a function. */
const REQUEST_TIMEOUT = 31_000;
const SLOW_AFTER = 3_000;
/** The time that Clerk has to return a token before it is asked again. */
const TOKEN_TIMEOUT = 10_000;
/** How often a read that failed is repeated. */
export const REFETCH_INTERVAL = 5_000;
/** Attempts after the first. With the delays between them they take 15 seconds. */
const RETRIES = 5;

const backoff = (failures: number) => Math.min(500 * 2 ** failures, 8_000);
const retryDelay = (failures: number, error: Error) =>
  Math.max(backoff(failures), ((error as ApiError).retryAfter ?? 0) * 1_000);
const retry = (failures: number, error: Error) => failures < RETRIES && isTransient(error);

/** The cache of a provider. Each session has its own keys in it. */
export function openQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // A rejected token is reported at once. The interval below replaces it.
        retry: (failures, error) => retry(failures, error) && (error as ApiError).status !== 401,
        retryDelay,
        staleTime: 5_000,
        // A read that failed is repeated as long as it is on the screen.
        refetchInterval: (query) => (isTransient(query.state.error) ? REFETCH_INTERVAL : false),
      },
      mutations: { retry, retryDelay },
    },
  });
}

let opened = 0;

/** Opens a session. Without an identity it has ended from the start. */
export function openSession(
  queries: QueryClient,
  baseUrl: string,
  identity: Identity | undefined,
  getToken: Auth["getToken"],
): Session {
  opened += 1;
  const key = [opened, identity?.userId, identity?.sessionId];
  const ending = new AbortController();
  if (!identity) ending.abort();
  const listeners = new Set<() => void>();
  let waiting = 0;
  let isFailing = false;
  let isPaused = false;
  let rejection: ApiError | undefined;
  const changed = () => {
    for (const listener of listeners) listener();
  };

  function during<T>(run: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const { signal } = ending;
      const stop = () => reject(new ApiError("signed_out", "Your session has ended. Sign in and try again."));
      if (signal.aborted) return stop();
      signal.addEventListener("abort", stop);
      run()
        .then(resolve, reject)
        .finally(() => signal.removeEventListener("abort", stop));
    });
  }

  /** Right after sign-in or sleep, Clerk may have no token, or one of the previous session. */
  async function fetchToken(skipCache: boolean, signal: AbortSignal): Promise<string> {
    for (let failures = 0; ; failures += 1) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      try {
        const token = await new Promise<string | null>((resolve, reject) => {
          timer = setTimeout(reject, TOKEN_TIMEOUT);
          getToken({ skipCache }).then(resolve, reject);
        });
        // The server rejects a token that cannot be read.
        if (token && !isForeign(identityOf(token), identity ?? {})) return token;
      } catch {
        // Most likely Clerk cannot be reached.
        isFailing = true;
        changed();
      } finally {
        clearTimeout(timer);
      }
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, backoff(failures)));
      signal.throwIfAborted();
    }
  }

  async function attempt(path: string, init: RequestInit, skipCache: boolean): Promise<Response> {
    const signal = AbortSignal.any([ending.signal, ...(init.signal ? [init.signal] : [])]);
    const token = await fetchToken(skipCache, signal);
    return fetch(`${baseUrl}${path}`, {
      ...init,
      headers: { ...init.headers, authorization: `Bearer ${token}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT)]),
    });
  }

  async function send(path: string, init: RequestInit): Promise<unknown> {
    const known = rejection;
    let isSlow = false;
    const timer = setTimeout(() => {
      isSlow = true;
      waiting += 1;
      changed();
    }, SLOW_AFTER);
    try {
      let response = await attempt(path, init, false);
      let problem = response.ok ? undefined : await problemOf(response);
      // A token can expire in transit, or be signed with a key that was just replaced.
      if (problem?.status === 401 && !isFinal(problem)) {
        response = await attempt(path, init, true);
        problem = response.ok ? undefined : await problemOf(response);
      }
      isFailing = false;
      if (problem) {
        if (isSignedOut(problem)) rejection = problem;
        throw problem;
      }
      // A request that was sent before the rejection does not lift it.
      if (rejection === known) rejection = undefined;
      return response.status === 204 ? undefined : await response.json();
    } catch (error) {
      // TanStack Query canceled a read that no component needs any more.
      if (init.signal?.aborted) throw error;
      const failure = failureOf(error);
      isFailing ||= failure.code === "unreachable";
      throw failure;
    } finally {
      clearTimeout(timer);
      if (isSlow) waiting -= 1;
      changed();
    }
  }

  return {
    key,
    identity,
    queries,
    successors: new Map(),
    creation: Promise.resolve(),
    connection: () =>
      onlineManager.isOnline()
        ? isFailing
          ? "unreachable"
          : waiting > 0
            ? "slow"
            : isPaused
              ? "paused"
              : "online"
        : "offline",
    setPaused(next) {
      isPaused = next;
      changed();
    },
    rejection: () => rejection,
    token: () => fetchToken(false, ending.signal),
    subscribe(listener) {
      const ignoreNetwork = onlineManager.subscribe(listener);
      listeners.add(listener);
      return () => {
        ignoreNetwork();
        listeners.delete(listener);
      };
    },
    send<T>(method: string, path: string, { body, version, signal }: RequestOptions = {}) {
      const init = { ...initOf(method, body, version), signal: signal ?? null };
      return during(() => send(path, init) as Promise<T>);
    },
    during,
    end() {
      ending.abort();
      queries.removeQueries({ queryKey: key });
      const changes = queries.getMutationCache();
      for (const change of changes.findAll({ mutationKey: key })) changes.remove(change);
    },
  };
}

/**
 * Puts confirmed data into the data that was read under a key. A read that is in flight may be older and would revert it:
 * it is restarted. Stale data stays stale.
 */
export async function confirm<T>({ queries }: Session, queryKey: QueryKey, update: (data: T) => T): Promise<void> {
  const unsettled = queries
    .getQueryCache()
    .findAll({ queryKey })
    .filter(({ state }) => state.isInvalidated || state.fetchStatus !== "idle");
  await queries.cancelQueries({ queryKey });
  queries.setQueriesData<T>({ queryKey }, (data) => data && update(data));
  for (const { queryKey } of unsettled) void queries.invalidateQueries({ queryKey, exact: true });
}
