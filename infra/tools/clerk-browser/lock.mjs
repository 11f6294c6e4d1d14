// Writes package-lock.json: the packages of package.json with their hashes, without their dependencies.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const { name, dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
const packages = { "": { name, dependencies } };
for (const [dependency, version] of Object.entries(dependencies)) {
  const view = ["view", `${dependency}@${version}`, "dist.integrity", "license", "--json"];
  const { license, "dist.integrity": integrity } = JSON.parse(execFileSync("npm", view));
  packages[`node_modules/${dependency}`] = { version, integrity, license };
}
const lock = { name, lockfileVersion: 3, requires: true, packages };
writeFileSync("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
