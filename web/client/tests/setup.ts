import { newPlace, start } from "../../testing/stack.ts";

declare module "vitest" {
  interface ProvidedContext {
    stack: { api: string; clerk: string; secretKey: string };
    /** The resource that the tests use: its path, the member of a page that has its items, and a creation's body. */
    resource: { path: string; member: string; title: string; create: object };
  }
}

const RESOURCE = { path: "/chats", member: "chats", title: "title", create: {} };

/** One stack for all tests. Each test has its own users. */
export default async function setup({ provide }: { provide: (key: "resource" | "stack", value: object) => void }) {
  const { api, clerk, secretKey, stop } = await start(await newPlace(), "--api-only");
  provide("stack", { api, clerk, secretKey });
  provide("resource", RESOURCE);
  return stop;
}
