import { newPlace, start } from "../../testing/stack.ts";

/** One stack for all tests, to measure with the functions' release build. Each test has its own users. */
export default async function setup() {
  const { stop, ...stack } = await start(await newPlace(), ...(process.env["MEASURE"] ? ["--release"] : []));
  process.env["STACK"] = JSON.stringify(stack);
  return stop;
}
