import { readFile } from "node:fs/promises";
import path from "node:path";

import { expect } from "@playwright/test";

import { newPlace, start } from "../../testing/stack.ts";

/** One stack for all tests. Each test has its own users. */
export default async function setup() {
  const place = await newPlace();
  const log = path.join(place.data, "connections");
  process.env["CONNECTIONS"] = log;
  process.env["NODE_OPTIONS"] = `--import=${path.join(import.meta.dirname, "connections.mjs")}`;
  const { stop, ...stack } = await start(place, "--next");
  delete process.env["NODE_OPTIONS"];
  process.env["STACK"] = JSON.stringify(stack);
  return async () => {
    await stop();
    const hosts = new Set((await readFile(log, "utf8")).trim().split("\n"));
    expect([...hosts], "the server of Next.js connects only to this machine").toEqual(["127.0.0.1"]);
  };
}
