import { render, renderHook } from "@testing-library/react";
import { type ReactNode, StrictMode, useSyncExternalStore } from "react";
import { expect, inject, onTestFinished } from "vitest";

import { clerk } from "../../testing/stack.ts";
import { type ApiError, ApiProvider, type Auth } from "../src/index.ts";

/** Somebody signed in, with a way to tokens of theirs. */
export interface Person {
  readonly userId: string;
  readonly sessionId: string;
  token(): Promise<string>;
}

export const stack = inject("stack");

export async function signUp(names: object = {}): Promise<Person> {
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

export function clerkOf(person?: Person): FakeClerk {
  let auth = signedIn(person);
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

/** What Clerk says of somebody, or of nobody. */
export function signedIn(person?: Person): Auth {
  return {
    isLoaded: true,
    isSignedIn: person !== undefined,
    userId: person?.userId,
    sessionId: person?.sessionId,
    getToken: async () => (person ? person.token() : null),
  };
}

function provider(fake: FakeClerk) {
  return ({ children }: { children: ReactNode }) => (
    <StrictMode>
      <ApiProvider baseUrl={stack.api} useAuth={fake.useAuth}>
        {children}
      </ApiProvider>
    </StrictMode>
  );
}

/** A hook, used inside the provider. */
export function use<T>(hook: () => T, fake: FakeClerk) {
  return renderHook(hook, { wrapper: provider(fake) });
}

/** Components inside the provider. */
export function show(children: ReactNode, fake: FakeClerk) {
  return render(children, { wrapper: provider(fake) });
}

type Answering = (request: Request, send: () => Promise<Response>) => Promise<Response> | Response;

/** Has `answer` stand between this side and the API, for requests of a method and a path that begins like this. */
export function between(method: string, path: string, answer: Answering): void {
  const { fetch } = globalThis;
  globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    const isIt = request.method === method && request.url.startsWith(`${stack.api}${path}`);
    return isIt ? answer(request, () => fetch(request)) : fetch(request);
  };
  onTestFinished(() => {
    globalThis.fetch = fetch;
  });
}

/** Holds something back until it is let go. */
export function gate(): { readonly opened: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** The API, called past the library. */
export async function api(person: Person, method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${stack.api}${path}`, {
    method,
    headers: { authorization: `Bearer ${await person.token()}`, "content-type": "application/json" },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
}

export const problem = (status: number, code: string, detail = "No.") =>
  new Response(JSON.stringify({ type: "about:blank", title: "", status, detail, code }), { status });

/** Why a promise fails. */
export const failure = (promise: Promise<unknown>): Promise<ApiError> =>
  promise.then(
    () => expect.fail("it succeeds"),
    (error) => error,
  );
