import { QueryClient, type QueryKey } from "@tanstack/react-query";

import { operationsOf } from "./api.ts";
import { ApiError, isFinal, isPassing, isRefusal, problemOf } from "./errors.ts";

/** What Clerk's `useAuth` gives, as far as this library looks. */
export interface Auth {
  /** False until Clerk knows. */
  isLoaded: boolean;
  /** Whether Clerk has somebody signed in. */
  isSignedIn?: boolean | undefined;
  /** Who that is. */
  userId?: string | null | undefined;
  /** Their session. */
  sessionId?: string | null | undefined;
  /**
   * A session token. Clerk keeps it and gets the next one before it expires; `skipCache` asks for another at once. While
   * Clerk says that a user is signed in, null, a rejection and no answer in time are tried again.
   */
  getToken(options?: { skipCache?: boolean }): Promise<string | null>;
}

/**
 * How the API is reached.
 *
 * - `slow`: a request has been under way for three seconds.
 * - `unreachable`: the last request got no answer, or Clerk failed to give a token.
 * - `offline`: the browser has no network; changes wait for it.
 */
export type Connection = "offline" | "online" | "slow" | "unreachable";

/** The API for one session of one user, with all that was read in it. */
export interface Session {
  /**
   * Begins the key of every query and change of this session. No other session has it, not even a later one of the same
   * user, so that nothing can be read or written across sessions.
   */
  readonly key: QueryKey;
  readonly api: ReturnType<typeof operationsOf>;
  /** The cache that all sessions of a provider share. */
  readonly queries: QueryClient;
  /** Of renames of this session: the version that came of a version, by `id@version`. */
  readonly successors: Map<string, number>;
  /** The latest creation. The next one waits for it, so that the server's order is the order of creation. */
  creation: Promise<unknown>;
  connection(): Exclude<Connection, "offline">;
  /** Why the server says that the user is not signed in. */
  refusal(): ApiError | undefined;
  subscribe(listener: () => void): () => void;
  /** Runs something that fails with `signed_out` as soon as the session ends, and is not begun afterwards. */
  during<T>(run: () => Promise<T>): Promise<T>;
  /** From here on nothing is sent, what waits fails, late answers are dropped, and nothing that was read is left. */
  end(): void;
}

/** Whose session it is, as Clerk says. */
export type Identity = Pick<Auth, "sessionId" | "userId">;

/** Longer than API Gateway waits for a function. */
const TIMEOUT = 31_000;
const SLOW = 3_000;
/** How long Clerk is waited for before it is asked for a token again. */
const TOKEN_TIMEOUT = 10_000;
/** How often a server that did not answer is asked again. */
export const AGAIN = 5_000;
/** Attempts after the first; with the waits between them a quarter of a minute. */
const RETRIES = 5;

const backoff = (failures: number) => Math.min(500 * 2 ** failures, 8_000);
const retryDelay = (failures: number, error: Error) =>
  Math.max(backoff(failures), ((error as ApiError).retryAfter ?? 0) * 1_000);
const retry = (failures: number, error: Error) => failures < RETRIES && isPassing(error);

/** The cache of a provider. Its sessions have keys of their own in it. */
export function openQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // A refused token is shown at once, and replaced by the interval below.
        retry: (failures, error) => retry(failures, error) && (error as ApiError).status !== 401,
        retryDelay,
        staleTime: 5_000,
        // What failed is tried again for as long as it is on the screen.
        refetchInterval: (query) => (isPassing(query.state.error) ? AGAIN : false),
      },
      mutations: { retry, retryDelay },
    },
  });
}

/** Whether a token is one of another session. What cannot be read is left to the server, which refuses it. */
function isForeign(token: string, { userId, sessionId }: Identity): boolean {
  try {
    const { sub, sid } = JSON.parse(atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/")));
    return Boolean((userId && sub !== userId) || (sessionId && sid && sid !== sessionId));
  } catch {
    return false;
  }
}

let opened = 0;

/** Opens a session. Without an identity it is over from the start. */
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
  let refusal: ApiError | undefined;
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

  /** Right after sign-in or sleep, Clerk may have no token, or one of the session before. It has one in the end. */
  async function fetchToken(skipCache: boolean, signal: AbortSignal): Promise<string> {
    for (let failures = 0; ; failures += 1) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      try {
        const token = await new Promise<string | null>((resolve, reject) => {
          timer = setTimeout(reject, TOKEN_TIMEOUT);
          getToken({ skipCache }).then(resolve, reject);
        });
        if (token && !isForeign(token, identity ?? {})) return token;
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
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]),
    });
  }

  async function send(path: string, init: RequestInit): Promise<unknown> {
    const known = refusal;
    let isSlow = false;
    const timer = setTimeout(() => {
      isSlow = true;
      waiting += 1;
      changed();
    }, SLOW);
    try {
      let response = await attempt(path, init, false);
      let problem = response.ok ? undefined : await problemOf(response);
      // A token can expire on the way, or be signed with a key that was just replaced.
      if (problem?.status === 401 && !isFinal(problem)) {
        response = await attempt(path, init, true);
        problem = response.ok ? undefined : await problemOf(response);
      }
      isFailing = false;
      if (problem) {
        if (isRefusal(problem)) refusal = problem;
        throw problem;
      }
      // A request that was sent before the refusal does not lift it.
      if (refusal === known) refusal = undefined;
      return response.status === 204 ? undefined : await response.json();
    } catch (error) {
      // A query that nothing needs any more; TanStack Query knows.
      if (error instanceof ApiError || init.signal?.aborted) throw error;
      if (error instanceof SyntaxError)
        throw new ApiError("unexpected", "The response did not come from the API. Try again.", { cause: error });
      isFailing = true;
      const message = "The server cannot be reached. Check your connection and try again.";
      throw new ApiError("unreachable", message, { cause: error });
    } finally {
      clearTimeout(timer);
      if (isSlow) waiting -= 1;
      changed();
    }
  }

  return {
    key,
    api: operationsOf((path, init) => during(() => send(path, init))),
    queries,
    successors: new Map(),
    creation: Promise.resolve(),
    connection: () => (isFailing ? "unreachable" : waiting > 0 ? "slow" : "online"),
    refusal: () => refusal,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
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
 * Puts what the server has confirmed into what was read under a key. A read that is under way may be from before, and
 * would take it back: it is started again.
 */
export async function confirm<T>({ queries }: Session, queryKey: QueryKey, update: (data: T) => T): Promise<void> {
  const isReading = queries
    .getQueryCache()
    .findAll({ queryKey })
    .some((query) => query.state.fetchStatus !== "idle");
  await queries.cancelQueries({ queryKey });
  queries.setQueriesData<T>({ queryKey }, (data) => data && update(data));
  if (isReading) void queries.invalidateQueries({ queryKey });
}
