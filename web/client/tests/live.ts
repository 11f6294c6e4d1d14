import { focusManager, onlineManager } from "@tanstack/react-query";
import { act } from "@testing-library/react";
import { afterEach, beforeEach, vi } from "vitest";

import type { Auth, Item } from "../src/index.ts";
import { problem } from "./support.tsx";

export const LIVE_URL = "ws://live.example.com/v1";

/** The sockets that were created, and the channels that are open. */
export const sockets: FakeSocket[] = [];
export const channels = new Set<FakeChannel>();

export class FakeSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  state: "closed" | "connecting" | "open" = "connecting";
  readonly createdAt = Date.now();
  readonly sent: string[] = [];

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    sockets.push(this);
  }

  send(data: string) {
    if (this.state !== "open") throw new Error("the socket is not open");
    this.sent.push(data);
  }

  /** As the client does. The event follows later. */
  close() {
    if (this.state === "closed") return;
    this.state = "closed";
    setTimeout(() => this.onclose?.(), 0);
  }

  open() {
    this.state = "open";
    this.onopen?.();
  }

  poke(...changes: unknown[]) {
    this.receive({ changes });
  }

  receive(message: unknown) {
    if (this.state === "open") this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** As the server or the network does. */
  lose() {
    if (this.state === "closed") return;
    this.state = "closed";
    this.onclose?.();
  }
}

class FakeChannel {
  onmessage: ((event: { data: unknown }) => void) | null = null;

  constructor(readonly name: string) {
    channels.add(this);
  }

  postMessage(data: unknown) {
    if (!channels.has(this)) throw new DOMException("the channel is closed", "InvalidStateError");
    for (const other of channels) {
      if (other !== this && other.name === this.name) other.onmessage?.({ data: structuredClone(data) });
    }
  }

  close() {
    channels.delete(this);
  }
}

/** The latest socket. */
export function socket(): FakeSocket {
  const latest = sockets.at(-1);
  if (!latest) throw new Error("no socket was created");
  return latest;
}

/** Lets time pass, and what happens in it be rendered. */
export const pass = (ms: number, first: () => void = () => {}) =>
  act(async () => {
    first();
    await vi.advanceTimersByTimeAsync(ms);
  });

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export type Stored = Item<"/items">;
export interface Change {
  of: string;
  id?: string;
  version: number | null;
}

/** An API in memory. It has the items of one user, and calls `onChange` for each change. */
export class FakeServer {
  readonly items = new Map<string, Stored>();
  readonly requests: string[] = [];
  profile = { id: "ada", createdAt: 1, updatedAt: 1, email: null, firstName: "Ada", lastName: null };
  /** The time of the profile's next update, if it is not the server's. */
  profileTime: (() => number) | undefined;
  isSignedIn = true;
  onChange: (change: Change) => void = () => {};
  /** Runs before and after a request is handled. */
  before: (method: string, path: string) => Promise<void> = async () => {};
  after: (method: string, path: string) => Promise<void> = () => sleep(5);
  /** Versions go on from those of a deleted item. */
  readonly #versions = new Map<string, number>();
  #time = 1_000_000;
  #created = 0;

  write(title: string, id = `item-${++this.#created}`): Stored {
    const version = (this.#versions.get(id) ?? 0) + 1;
    this.#versions.set(id, version);
    const now = ++this.#time;
    const item = { id, title, version, createdAt: this.items.get(id)?.createdAt ?? now, updatedAt: now };
    this.items.set(id, item);
    this.onChange({ of: "items", id, version });
    return item;
  }

  delete(id: string): void {
    this.items.delete(id);
    this.#versions.set(id, (this.#versions.get(id) ?? 0) + 1);
    this.onChange({ of: "items", id, version: null });
  }

  /** The time goes back when Clerk reports the user, and stays the same from then on. */
  changeProfile(firstName: string, updatedAt = ++this.#time): void {
    const isSame = this.profile.firstName === firstName;
    this.profile = { ...this.profile, firstName, updatedAt };
    if (!isSame) this.onChange({ of: "profile", version: updatedAt });
  }

  list(): Stored[] {
    return [...this.items.values()].sort((a, b) => b.createdAt - a.createdAt);
  }

  titles(): string[] {
    return this.list().map((item) => item.title);
  }

  /** The requests since the last call. */
  take(): string[] {
    return this.requests.splice(0);
  }

  readonly fetch: typeof fetch = async (input, { method = "GET", headers, body, signal } = {}) => {
    const { pathname, searchParams } = new URL(String(input));
    this.requests.push(`${method} ${pathname}`);
    const aborted = new Promise<never>((_, reject) => {
      if (signal?.aborted) reject(signal.reason);
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
    aborted.catch(() => {});
    await Promise.race([this.before(method, pathname), aborted]);
    const version = new Headers(headers).get("if-match");
    const response = this.#handle(method, pathname, searchParams, version, body ? JSON.parse(String(body)) : {});
    await Promise.race([this.after(method, pathname), aborted]);
    return response;
  };

  #handle(method: string, path: string, query: URLSearchParams, version: string | null, body: Partial<Stored>) {
    if (!this.isSignedIn) return problem(401, "session_ended");
    if (path === "/profile") {
      if (method === "PATCH" && "firstName" in body) this.changeProfile(String(body.firstName), this.profileTime?.());
      return Response.json(this.profile);
    }
    const id = path.split("/")[2];
    if (method === "POST") return Response.json(this.write(body.title ?? "", body.id), { status: 201 });
    if (!id) {
      const limit = Number(query.get("limit"));
      const before = Number(query.get("cursor") ?? Number.POSITIVE_INFINITY);
      const rest = this.list().filter((item) => item.createdAt < before);
      const items = rest.slice(0, limit);
      return Response.json({ items, cursor: rest.length > limit ? `${items.at(-1)?.createdAt}` : null });
    }
    const item = this.items.get(id);
    if (!item) return problem(404, "not_found");
    if (method === "GET") return Response.json(item);
    if (method === "DELETE") {
      this.delete(id);
      return new Response(null, { status: 204 });
    }
    if (version !== `"${item.version}"`) return problem(412, "version_mismatch");
    return Response.json(this.write(body.title ?? item.title, id));
  }
}

/** Clerk's state while Ada is signed in. */
export const ADA = {
  isLoaded: true,
  isSignedIn: true,
  userId: "ada",
  sessionId: "ada-1",
  getToken: async () => `.${btoa(JSON.stringify({ sub: "ada", sid: "ada-1" }))}.`,
} satisfies Auth;

/** Replaces time, sockets, channels and `fetch` in every test of a file. */
export function fakeEverything(): void {
  const { fetch } = globalThis;
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
    vi.stubGlobal("WebSocket", FakeSocket);
    vi.stubGlobal("BroadcastChannel", FakeChannel);
    sockets.length = 0;
  });
  afterEach(() => {
    focusManager.setFocused(undefined);
    onlineManager.setOnline(true);
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
    vi.useRealTimers();
    globalThis.fetch = fetch;
  });
}
