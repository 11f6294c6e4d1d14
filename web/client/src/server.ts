import type {
  Input,
  Method,
  Optional,
  Output,
  PathParameters,
  PathWith,
  ProfileChange,
  ResourcePath,
} from "./document.ts";
import { ApiError, failureOf, problemOf } from "./errors.ts";
import type { PreloadedList, PreloadedProfile } from "./preloaded.ts";
import { initOf, PAGE_SIZE, pathOf } from "./request.ts";
import { identityOf } from "./token.ts";

export { ApiError, type ErrorCode } from "./errors.ts";
export type { Preloaded, PreloadedList, PreloadedProfile } from "./preloaded.ts";

/** Options of {@link serverApi}. */
export interface ServerApiOptions {
  /** The API's URL, without a slash at the end: the stack's output `ApiUrl`. */
  readonly baseUrl: string;
  /** The user's session token, such as `getToken` of `auth()` in `@clerk/nextjs/server`. */
  readonly getToken: () => Promise<string | null>;
  /** Milliseconds after which a request fails with `unreachable`. */
  readonly timeout?: number;
}

/** The API for one user. Every failure of a request is an {@link ApiError}. */
export type ServerApi = {
  /** Calls an operation: its path in the OpenAPI document, and its parameters and body. Nothing is retried. */
  readonly [M in Method]: <P extends PathWith<M>>(path: P, ...input: Optional<Input<P, M>>) => Promise<Output<P, M>>;
} & {
  /** The first page of a list, for `useList({ preloaded })`. Null if the API did not return it: then the browser reads it. */
  readonly preloadList: <P extends ResourcePath>(
    path: P,
    ...options: Optional<PathParameters<P> & { readonly pageSize?: number }>
  ) => Promise<PreloadedList<P> | null>;
  /** Synchronizes the profile, for `<ApiProvider preloaded>`. Null if the API did not return it. */
  readonly preloadProfile: (details?: ProfileChange) => Promise<PreloadedProfile | null>;
};

interface AnyInput extends Readonly<Record<string, unknown>> {
  readonly body?: object;
  readonly query?: object;
  readonly version?: number;
}

/** The API for the user of a token, without React: for server components, and for programs. It keeps no data. */
export function serverApi({ baseUrl, getToken, timeout = 10_000 }: ServerApiOptions): ServerApi {
  async function send(method: string, template: string, { body, query, version, ...parameters }: AnyInput = {}) {
    const token = await getToken();
    if (!token) throw new ApiError("signed_out", "No user is signed in.");
    const init = initOf(method, body, version);
    // JSON has no undefined members.
    const search = query ? `?${new URLSearchParams(JSON.parse(JSON.stringify(query)))}` : "";
    try {
      const response = await fetch(baseUrl + pathOf(template, parameters) + search, {
        ...init,
        headers: { ...init.headers, authorization: `Bearer ${token}` },
        // A framework must not give the response to another user.
        cache: "no-store",
        signal: AbortSignal.timeout(timeout),
      });
      if (!response.ok) throw await problemOf(response);
      return { token, value: response.status === 204 ? undefined : await response.json() };
    } catch (error) {
      throw failureOf(error);
    }
  }

  async function preload<T>(pick: (body: unknown) => T, ...request: Parameters<typeof send>) {
    const readAt = Date.now();
    try {
      const { token, value } = await send(...request);
      return { ...identityOf(token), readAt, value: pick(value) };
    } catch (error) {
      // The browser reads it again and shows the error. Frameworks use other errors, for example to redirect.
      if (error instanceof ApiError) return null;
      throw error;
    }
  }

  const operation = (method: Method) => async (path: string, input?: AnyInput) =>
    (await send(method.toUpperCase(), path, input)).value;

  const api = {
    delete: operation("delete"),
    get: operation("get"),
    patch: operation("patch"),
    post: operation("post"),
    put: operation("put"),
    preloadList(template: string, { pageSize = PAGE_SIZE, ...parameters }: { readonly pageSize?: number } = {}) {
      const path = pathOf(template, parameters);
      return preload((page) => ({ path, pageSize, page }), "GET", path, { query: { limit: pageSize } });
    },
    preloadProfile: (details: object = {}) => preload((profile) => profile, "PATCH", "/profile", { body: details }),
  };
  return api as unknown as ServerApi;
}
