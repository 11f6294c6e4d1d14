export interface Json<T> {
  content: { "application/json": T };
}

export interface Problem<Code extends string> {
  content: { "application/problem+json": { code: Code; detail: string } };
}

export interface Base {
  id: string;
  createdAt: number;
  updatedAt: number;
  version: number;
}

export interface Item extends Base {
  title: string;
}

export interface Note extends Base {
  text: string;
  isPinned: boolean;
  tag?: string | null;
}

export interface Profile {
  id: string;
  createdAt: number;
  updatedAt: number;
  email: string | null;
  firstName: string | null;
  lastName: string | null;
}

/** A document in the form that openapi-typescript generates, with resources of the tests' own. */
export interface Paths {
  "/items": {
    get: {
      parameters: { query?: { limit?: number; cursor?: string } };
      responses: { 200: Json<{ items: Item[]; cursor: string | null }>; 401: Problem<"session_ended"> };
    };
    post: { requestBody: Json<{ id?: string | null; title: string }>; responses: { 200: Json<Item>; 201: Json<Item> } };
    patch?: never;
  };
  "/items/{id}": {
    get: { responses: { 200: Json<Item> } };
    patch: {
      parameters: { header?: { "If-Match"?: string }; path: { id: string } };
      requestBody: Json<{ title?: string }>;
      responses: { 200: Json<Item>; 409: Problem<"item_locked"> };
    };
    delete: { responses: { 204: object } };
  };
  "/boards/{board}/notes": {
    get: { responses: { 200: Json<{ notes: Note[]; cursor: string | null }> } };
    post: {
      requestBody: Json<{ id?: string | null; text: string; isPinned?: boolean; tag?: string | null }>;
      responses: { 201: Json<Note> };
    };
  };
  "/boards/{board}/notes/{id}": {
    patch: { requestBody: Json<{ text?: string; isPinned?: boolean }>; responses: { 200: Json<Note> } };
    delete?: never;
  };
  "/profile": {
    get: { responses: { 200: Json<Profile> } };
    patch: { requestBody: Json<{ email?: string; firstName?: string }>; responses: { 200: Json<Profile> } };
  };
}

declare module "../src/index.ts" {
  interface Register {
    paths: Paths;
  }
}
