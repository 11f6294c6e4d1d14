import { QueryClient } from "@tanstack/react-query";

import { operationsOf } from "./api.ts";
import { ApiError, isPassing, problemOf } from "./errors.ts";

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
  /** A session token. Clerk keeps it and gets the next one before it expires; `skipCache` asks for another at once. */
  getToken(options?: { skipCache?: boolean }): Promise<string | null>;
}

/**
 * How the API is reached.
 *
 * - `slow`: a request has been under way for three seconds.
 * - `unreachable`: the last request got no answer.
 * - `offline`: the browser has no network; changes wait for it.
 */
export type Connection = "offline" | "online" | "slow" | "unreachable";

/** The API for one person's session, with all that was read in it. */
export interface Session {
  readonly api: ReturnType<typeof operationsOf>;
  readonly queries: QueryClient;
  /** Of renames of this session: the version that came of a version, by `id@version`. */
  readonly successors: Map<string, number>;
  /** Whether requests wait or fail, and whether the API has refused the session's tokens. */
  state(): SessionState;
  subscribe(listener: () => void): () => void;
  /** From here on nothing is sent, what waits fails, and nothing that was read is left. */
  end(): void;
}

export type SessionState = "online" | "refused" | "slow" | "unreachable";

/** Longer than API Gateway waits for a function. */
const TIMEOUT = 31_000;
const SLOW = 3_000;
/** How often a server that did not answer is asked again. */
export const AGAIN = 5_000;
/** Attempts after the first; with the waits between them a quarter of a minute. */
const RETRIES = 5;

const retryDelay = (failures: number, error: Error) =>
  Math.max(Math.min(500 * 2 ** failures, 8_000), ((error as ApiError).retryAfter ?? 0) * 1_000);
const retry = (failures: number, error: Error) => failures < RETRIES && isPassing(error);

/** Whom a token is for. */
function subject(token: string): unknown {
  try {
    return JSON.parse(atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/"))).sub;
  } catch {
    return undefined;
  }
}

export function openSession(baseUrl: string, userId: string | undefined, getToken: Auth["getToken"]): Session {
  const end = new AbortController();
  const listeners = new Set<() => void>();
  let waiting = 0;
  let failing = false;
  let refused = false;
  const changed = () => {
    for (const listener of listeners) listener();
  };

  async function attempt(path: string, init: RequestInit, skipCache: boolean): Promise<Response> {
    const token = await getToken({ skipCache });
    // Clerk may have changed over to somebody else before React has.
    if (end.signal.aborted || !token || (userId && subject(token) !== userId)) {
      throw new ApiError("signed_out", "You are signed out; sign in and try again.");
    }
    const signals = [end.signal, AbortSignal.timeout(TIMEOUT), ...(init.signal ? [init.signal] : [])];
    return fetch(`${baseUrl}${path}`, {
      ...init,
      headers: { ...init.headers, authorization: `Bearer ${token}` },
      signal: AbortSignal.any(signals),
    });
  }

  async function send(path: string, init: RequestInit): Promise<unknown> {
    let isSlow = false;
    const timer = setTimeout(() => {
      isSlow = true;
      waiting += 1;
      changed();
    }, SLOW);
    try {
      let response = await attempt(path, init, false);
      // A token can end its life on the way, or be signed with a key that was just replaced.
      if (response.status === 401) response = await attempt(path, init, true);
      failing = false;
      refused = response.status === 401;
      if (!response.ok) throw await problemOf(response);
      return response.status === 204 ? undefined : await response.json();
    } catch (error) {
      // A query that nobody needs any more; TanStack Query knows.
      if (error instanceof ApiError || init.signal?.aborted) throw error;
      if (end.signal.aborted) throw new ApiError("signed_out", "You signed out meanwhile.");
      if (error instanceof SyntaxError)
        throw new ApiError("unexpected", "The answer was not the API's.", { cause: error });
      failing = true;
      const message = "The server cannot be reached; look at your connection and try again.";
      throw new ApiError("unreachable", message, { cause: error });
    } finally {
      clearTimeout(timer);
      if (isSlow) waiting -= 1;
      changed();
    }
  }

  const queries = new QueryClient({
    defaultOptions: {
      queries: {
        retry,
        retryDelay,
        staleTime: 5_000,
        // What failed is tried again for as long as somebody looks at it.
        refetchInterval: (query) => (isPassing(query.state.error) ? AGAIN : false),
      },
      mutations: { retry, retryDelay },
    },
  });

  return {
    api: operationsOf(send),
    queries,
    successors: new Map(),
    state: () => (refused ? "refused" : failing ? "unreachable" : waiting > 0 ? "slow" : "online"),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    end() {
      end.abort();
      queries.getQueryCache().clear();
    },
  };
}
