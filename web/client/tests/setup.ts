import { newPlace, start } from "../../testing/stack.ts";
import type { Resource } from "./sample.ts";

declare module "vitest" {
  interface ProvidedContext {
    stack: { api: string; clerk: string; secretKey: string };
    resource: Resource;
  }
}

/** One stack for all tests. Each test has its own users. */
export default async function setup({ provide }: { provide: (key: "stack", value: object) => void }) {
  const { api, clerk, secretKey, stop } = await start(await newPlace(), "--api-only");
  provide("stack", { api, clerk, secretKey });
  return stop;
}
