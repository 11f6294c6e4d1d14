/**
 * An application registers the types of its API here. openapi-typescript generates them from the OpenAPI document:
 *
 * ```ts
 * declare module "cubby-client" {
 *   interface Register { paths: paths }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: the application declares the member
export interface Register {}

type Paths = Register extends { paths: infer P } ? P : Record<never, never>;

/** The body that an operation accepts. */
type Body<O> = O extends { requestBody?: infer B } ? Json<NonNullable<B>> : never;
/** The body of an operation's successful response. */
type Success<O> = O extends { responses: infer R } ? Json<R[keyof R & (200 | 201)]> : never;
type Json<C> = C extends { content: { "application/json": infer J } } ? J : never;

type Operation<P extends string, Method extends string> = P extends keyof Paths
  ? Method extends keyof Paths[P]
    ? NonNullable<Paths[P][Method]>
    : never
  : never;

type OperationsOf<P> = P extends unknown ? NonNullable<P[keyof P]> : never;
type ResponsesOf<O> = O extends { responses: infer R } ? R[keyof R] : never;
type CodeOf<R> = R extends { content: { "application/problem+json": { code: infer C } } } ? C : never;

/** The API's own error codes. The OpenAPI document describes them. */
export type ApiCode = CodeOf<ResponsesOf<OperationsOf<Paths[keyof Paths]>>>;

/** The signed-in user's profile, as the API returns it. */
export type Profile = Success<Operation<"/profile", "get">>;
/** User-supplied values of a profile. Clerk-verified values take precedence. */
export type ProfileChange = Body<Operation<"/profile", "patch">>;

/** The members that the API adds to every item. Times are milliseconds since the epoch. */
export interface BaseItem {
  readonly id: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly version: number;
}

/** The paths that list items, such as `/chats` with `/chats/{id}` for one of them. */
export type ResourcePath = {
  [P in keyof Paths & string]: `${P}/{id}` extends keyof Paths ? P : never;
}[keyof Paths & string];

/** A page of the list at a path, as the API returns it. */
export type Page<P extends string> = Success<Operation<P, "get">>;
/** The member of a page that has its items. */
export type ListMember<P extends string> = {
  [M in keyof Page<P> & string]: Page<P>[M] extends readonly unknown[] ? M : never;
}[keyof Page<P> & string];
/** An item of the resource at a path, as the API returns it. */
export type Item<P extends string> = Page<P>[ListMember<P>] extends readonly (infer I)[] ? I : never;

type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;
type RequiredKeys<T> = { [K in keyof T]-?: Record<never, never> extends Pick<T, K> ? never : K }[keyof T] & string;

/** The members of a new item. The client generates its id. */
export type Creation<P extends string> = Without<Body<Operation<P, "post">>, "id">;
/** The members of an item that change. */
export type Change<P extends string> = Body<Operation<`${P}/{id}`, "patch">>;
/** The item to delete, if the API has that operation. */
export type Deletion<P extends string> = [Operation<`${P}/{id}`, "delete">] extends [never]
  ? never
  : Pick<BaseItem, "id">;
/** The members that an item has and that a creation can omit. */
export type Defaults<P extends string> = Without<Item<P>, RequiredKeys<Creation<P>> | keyof BaseItem>;

/** The parameters of a path: `{ chat: string }` for `/chats/{chat}/notes`. */
export type PathParameters<P extends string> = P extends `${string}{${infer Name}}${infer Rest}`
  ? { readonly [K in Name]: string } & PathParameters<Rest>
  : unknown;
/** An argument that can be omitted if none of its members is required. */
export type Optional<T> = Record<never, never> extends T ? [options?: T] : [options: T];

/** The methods of operations. */
export type Method = "delete" | "get" | "patch" | "post" | "put";
/** The paths that have an operation with a method. */
export type PathWith<M extends Method> = {
  [P in keyof Paths & string]: [Operation<P, M>] extends [never] ? never : P;
}[keyof Paths & string];

type Parameter<O, In extends string> = O extends { parameters: { [K in In]?: infer T } } ? NonNullable<T> : never;
type Member<K extends string, T> = [T] extends [never] ? unknown : { readonly [N in K]: T };

/**
 * What an operation accepts: the parameters of its path, `query`, `body`, and `version` if the API rejects it when the item
 * has another version.
 */
export type Input<P extends string, M extends Method> = PathParameters<P> &
  Partial<Member<"query", Parameter<Operation<P, M>, "query">>> &
  Member<"body", Body<Operation<P, M>>> &
  ("If-Match" extends keyof Parameter<Operation<P, M>, "header"> ? { readonly version?: number } : unknown);
/** The body of an operation's response, if it has one. */
export type Output<P extends string, M extends Method> = [Success<Operation<P, M>>] extends [never]
  ? undefined
  : Success<Operation<P, M>>;
