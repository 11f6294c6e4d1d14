import { newPlace, start } from "../../testing/stack.ts";

/** One stack for all tests. Each test has its own users. */
export default async function setup() {
  const { stop, ...stack } = await start(await newPlace(), "--next");
  process.env["STACK"] = JSON.stringify(stack);
  return stop;
}
