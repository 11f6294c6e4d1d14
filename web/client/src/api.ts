import type { operations } from "./openapi.ts";

type Operation = keyof operations;
type Content<R> = R extends { content: { "application/json": infer C } } ? C : undefined;
/** What an operation answers if it succeeds. */
export type Answer<O extends Operation> = {
  [S in keyof operations[O]["responses"]]: S extends 200 | 201 | 204 ? Content<operations[O]["responses"][S]> : never;
}[keyof operations[O]["responses"]];
/** What an operation is sent. */
export type Body<O extends Operation> = operations[O] extends { requestBody: infer B } ? Content<B> : never;
type Query<O extends Operation> = NonNullable<operations[O]["parameters"]["query"]>;

/** Sends a request with a token, and gives what the answer of one that succeeded holds. */
export type Send = (path: string, init: RequestInit) => Promise<unknown>;

/** The API's operations, by their names and types in its document. */
export function operationsOf(send: Send) {
  const call = <O extends Operation>(method: string, path: string, init?: RequestInit) =>
    send(path, { ...init, method }) as Promise<Answer<O>>;
  const json = (body: unknown, headers?: HeadersInit): RequestInit => ({
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });
  return {
    listChats: ({ limit, cursor }: Query<"listChats">, signal: AbortSignal) =>
      call<"listChats">("GET", `/chats?${new URLSearchParams({ limit: `${limit}`, ...(cursor && { cursor }) })}`, {
        signal,
      }),
    createChat: (body: Body<"createChat">) => call<"createChat">("POST", "/chats", json(body)),
    getChat: (id: string) => call<"getChat">("GET", `/chats/${id}`),
    renameChat: (id: string, version: number, body: Body<"renameChat">) =>
      call<"renameChat">("PATCH", `/chats/${id}`, json(body, { "if-match": `"${version}"` })),
    deleteChat: (id: string) => call<"deleteChat">("DELETE", `/chats/${id}`),
    getProfile: (signal: AbortSignal) => call<"getProfile">("GET", "/profile", { signal }),
    putProfile: (body: Body<"putProfile">, signal: AbortSignal | null = null) =>
      call<"putProfile">("PUT", "/profile", { ...json(body), signal }),
  };
}
