// @vitest-environment node
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import openapi, { astToString } from "openapi-typescript";
import { build } from "vite";
import { expect, test } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "..");

/** Bytes of a module, bundled, minified and gzipped, without React and TanStack Query. */
async function size(code: string): Promise<number> {
  const entry = "\0entry";
  const output = await build({
    root: ROOT,
    configFile: false,
    logLevel: "silent",
    resolve: { conditions: ["source"] },
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === entry ? id : undefined),
        load: (id) => (id === entry ? code : undefined),
      },
    ],
    build: {
      write: false,
      target: "es2022",
      rolldownOptions: {
        input: entry,
        external: [/^react/, /^@tanstack/],
        preserveEntrySignatures: "strict",
        output: { format: "es", minify: true },
      },
    },
  });
  if (!("output" in output)) throw new Error("one output");
  return gzipSync(output.output[0].code, { level: 9 }).length;
}

const INDEX = JSON.stringify(path.join(ROOT, "src/index.ts"));

test("the application's types are those of the OpenAPI document", async () => {
  const document = new URL("../../../docs/openapi.json", import.meta.url);
  const types = astToString(await openapi(document, { alphabetize: true }));
  const committed = await readFile(path.join(ROOT, "../app/src/openapi.ts"), "utf8");
  expect(committed.endsWith(types), "run `npm run generate` in web").toBe(true);
});

test("the built package can be imported without a bundler", async () => {
  const node = promisify(execFile);
  await node(process.execPath, [path.join(ROOT, "../node_modules/typescript/bin/tsc"), "--build", ROOT]);
  const program = "console.log(Object.keys(await import('cubby-client')).sort().join())";
  const { stdout } = await node(process.execPath, ["--input-type=module", "--eval", program], { cwd: ROOT });
  const exported =
    "ApiError,ApiProvider,AuthLoading,Authenticated,Unauthenticated,createResourceHooks,useAuthState,useConnection,useUserProfile";
  expect(stdout.trim()).toBe(exported);
});

test("the README lists every export", async () => {
  const sources = ["index.ts", "document.ts", "hooks.ts"].map((file) => readFile(path.join(ROOT, "src", file), "utf8"));
  const [index = "", ...exported] = await Promise.all(sources);
  // `index.ts` names exports in braces, or exports all of a file.
  const named = [...index.matchAll(/\{([^}]+)\}/g)].flatMap(([, names = ""]) => names.split(","));
  const declared = exported.flatMap((code) => code.match(/^export (?:function|interface|type) \w+/gm) ?? []);
  const names = [...named, ...declared].flatMap((name) => name.trim().split(" ").at(-1) || []);
  expect(names).toEqual(expect.arrayContaining(["ApiError", "Connection", "ListState", "createResourceHooks"]));
  const readme = await readFile(path.join(ROOT, "README.md"), "utf8");
  const [, listed = ""] = readme.split("\n## Exports\n");
  const rows = listed
    .split("\n## ")[0]
    ?.split("\n")
    .flatMap((row) => row.split("|")[1] ?? [])
    .join();
  expect(names.filter((name) => !rows?.match(new RegExp(`\\b${name}\\b`)))).toEqual([]);
});

test("the library takes at most 6.1 kB, and a part of it takes less", async () => {
  const all = await size(`export * from ${INDEX};`);
  const part = await size(`export { ApiError } from ${INDEX};`);
  console.info(`the whole library: ${all} bytes gzipped; only ApiError: ${part}`);
  expect(all).toBeLessThanOrEqual(6_100);
  expect(part).toBeLessThan(all / 3);
});
