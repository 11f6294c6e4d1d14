import { somewhere, start } from "../../testing/stack.ts";

declare module "vitest" {
  interface ProvidedContext {
    stack: { api: string; clerk: string; secretKey: string };
  }
}

/** One stack for all tests, which keep apart by their people. */
export default async function setup({ provide }: { provide: (key: "stack", value: object) => void }) {
  const { api, clerk, secretKey, stop } = await start(await somewhere(), "--api-only");
  provide("stack", { api, clerk, secretKey });
  return stop;
}
