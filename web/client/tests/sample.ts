import { globSync, readFileSync } from "node:fs";
import path from "node:path";

/** The resource that the tests use. */
export interface Resource {
  readonly path: string;
  /** The member of a page that has the items. */
  readonly member: string;
  /** The body of a creation. */
  readonly create: object;
  /** The member of an item that stands for the title: a text that can change. */
  readonly title: string;
}

const FUNCTIONS = path.resolve(import.meta.dirname, "../../../functions");

/** The resource of the first `functions/<plural>/sample.json` with a text that can change. */
export function findResource(): Resource | undefined {
  for (const file of globSync("*/sample.json", { cwd: FUNCTIONS }).sort()) {
    const sample = JSON.parse(readFileSync(path.join(FUNCTIONS, file), "utf8"));
    const title = Object.keys(sample.update).find((name) => typeof sample.update[name] === "string");
    if (title && !sample.path.includes("{")) {
      return { path: sample.path, member: path.dirname(file), create: sample.create, title };
    }
  }
  return undefined;
}
