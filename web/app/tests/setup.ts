import { somewhere, start } from "../../testing/stack.ts";

/** One stack for all tests, which keep apart by their people. */
export default async function setup() {
  const { stop, ...stack } = await start(await somewhere());
  process.env["STACK"] = JSON.stringify(stack);
  return stop;
}
