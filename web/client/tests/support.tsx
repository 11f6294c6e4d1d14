import { render, renderHook } from "@testing-library/react";
import { type ReactNode, StrictMode, useSyncExternalStore } from "react";
import { expect, inject, onTestFinished } from "vitest";

import { clerk } from "../../testing/stack.ts";
import { type ApiError, ApiProvider, type Auth } from "../src/index.ts";

/** A signed-in user, with a function that returns a token. */
export interface User {
  readonly userId: string;
  readonly sessionId: string;
  token(): Promise<string>;
}

export const stack = inject("stack");

export async function signUp(names: object = {}): Promise<User> {
  const { id: userId = "" } = await clerk(stack, "/v1/users", { email_address: ["ada@example.com"], ...names });
  const { id: sessionId = "" } = await clerk(stack, "/v1/sessions", { user_id: userId });
  const token = async () => (await clerk(stack, `/v1/sessions/${sessionId}/tokens`))["jwt"] ?? "";
  return { userId, sessionId, token };
}

/** A Clerk whose state the test sets. */
export interface FakeClerk {
  set(auth: Partial<Auth>): void;
  useAuth: () => Auth;
}

export function clerkOf(user?: User): FakeClerk {
  let auth = signedIn(user);
  const listeners = new Set<() => void>();
  const subscribe = (listener: () => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  return {
    set(changed) {
      auth = { ...auth, ...changed };
      for (const listener of listeners) listener();
    },
    useAuth: () => useSyncExternalStore(subscribe, () => auth),
  };
}

/** Clerk's state while a user is signed in, or while none is. */
export function signedIn(user?: User): Auth {
  return {
    isLoaded: true,
    isSignedIn: user !== undefined,
    userId: user?.userId,
    sessionId: user?.sessionId,
    getToken: async () => (user ? user.token() : null),
  };
}

function provider(fake: FakeClerk, liveUrl?: string) {
  return ({ children }: { children: ReactNode }) => (
    <StrictMode>
      <ApiProvider baseUrl={stack.api} liveUrl={liveUrl} useAuth={fake.useAuth}>
        {children}
      </ApiProvider>
    </StrictMode>
  );
}

/** Renders a hook inside the provider. */
export function use<T>(hook: () => T, fake: FakeClerk, liveUrl?: string) {
  return renderHook(hook, { wrapper: provider(fake, liveUrl) });
}

/** Renders components inside the provider. */
export function show(children: ReactNode, fake: FakeClerk, liveUrl?: string) {
  return render(children, { wrapper: provider(fake, liveUrl) });
}

type Respond = (request: Request, send: () => Promise<Response>) => Promise<Response> | Response;

/** Has `respond` handle the requests with a method and with a path that begins with `path`. */
export function intercept(method: string, path: string, respond: Respond): void {
  const { fetch } = globalThis;
  globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    const isIntercepted = request.method === method && request.url.startsWith(`${stack.api}${path}`);
    return isIntercepted ? respond(request, () => fetch(request)) : fetch(request);
  };
  onTestFinished(() => {
    globalThis.fetch = fetch;
  });
}

/** A promise that the test resolves. */
export function latch(): { readonly opened: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** Calls the API without the library. */
export async function api(user: User, method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${stack.api}${path}`, {
    method,
    headers: { authorization: `Bearer ${await user.token()}`, "content-type": "application/json" },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
}

export const problem = (status: number, code: string, detail = "No.") =>
  new Response(JSON.stringify({ type: "about:blank", title: "", status, detail, code }), { status });

/** The error of a promise that rejects. */
export const failure = (promise: Promise<unknown>): Promise<ApiError> =>
  promise.then(
    () => expect.fail("the promise resolves"),
    (error) => error,
  );
