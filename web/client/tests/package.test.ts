// @vitest-environment node
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import openapi, { astToString } from "openapi-typescript";
import { build } from "vite";
import { expect, test } from "vitest";

import { signUp, stack } from "./support.tsx";

const ROOT = path.resolve(import.meta.dirname, "..");

/** A module's bytes, bundled, minified and gzipped, without React and TanStack Query, and which of these it imports. */
async function bundle(code: string): Promise<{ size: number; imports: string[] }> {
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
  const [{ code: bundled, imports }] = output.output;
  return { size: gzipSync(bundled, { level: 9 }).length, imports };
}

const INDEX = JSON.stringify(path.join(ROOT, "src/index.ts"));
const SERVER = JSON.stringify(path.join(ROOT, "src/server.ts"));

/** What a program prints that imports the built package in Node, without a bundler. */
async function run(program: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const node = promisify(execFile);
  await node(process.execPath, [path.join(ROOT, "../node_modules/typescript/bin/tsc"), "--build", ROOT]);
  const options = { cwd: ROOT, env: { ...process.env, ...env } };
  const { stdout } = await node(process.execPath, ["--input-type=module", "--eval", program], options);
  return stdout.trim();
}

test("the application's types are those of the OpenAPI document", async () => {
  const document = new URL("../../../docs/openapi.json", import.meta.url);
  const types = astToString(await openapi(document, { alphabetize: true }));
  const committed = await readFile(path.join(ROOT, "../app/src/openapi.ts"), "utf8");
  expect(committed.endsWith(types), "run `npm run generate` in web").toBe(true);
});

test("the built package can be imported without a bundler", async () => {
  const exported =
    "ApiError,ApiProvider,AuthLoading,Authenticated,Unauthenticated,createResourceHooks,useAuthState,useConnection,useUserProfile";
  expect(await run("console.log(Object.keys(await import('cubby-client')).sort().join())")).toBe(exported);
  expect(await run("console.log(Object.keys(await import('cubby-client/server')).sort().join())")).toBe(
    "ApiError,serverApi",
  );
});

test("a Node program with a user's token can call the API", async () => {
  const ada = await signUp({ first_name: "Ada" });
  const program = `
    import { ApiError, serverApi } from "cubby-client/server";
    const { API_URL: baseUrl, TOKEN } = process.env;
    const { firstName } = await serverApi({ baseUrl, getToken: async () => TOKEN }).patch("/profile", { body: {} });
    const rejected = await serverApi({ baseUrl, getToken: async () => "x" }).get("/profile").catch((error) => error);
    console.log(firstName, rejected instanceof ApiError, rejected.code);`;
  const printed = await run(program, { API_URL: stack.api, TOKEN: await ada.token() });
  expect(printed).toBe("Ada true token_malformed");
});

test("only what carries types is exported by a star, for server components", async () => {
  for (const file of ["index", "server"]) {
    const code = await readFile(path.join(ROOT, "dist", `${file}.js`), "utf8");
    expect(code).toContain("export {");
    expect(code).not.toContain("export *");
  }
});

test("the README lists every export", async () => {
  const sources = ["index.ts", "document.ts", "hooks.ts", "server.ts"].map((file) =>
    readFile(path.join(ROOT, "src", file), "utf8"),
  );
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

test("the library takes at most 6.3 kB, and a part of it takes less", async () => {
  const { size: all } = await bundle(`export * from ${INDEX};`);
  const { size: part } = await bundle(`export { ApiError } from ${INDEX};`);
  console.info(`the whole library: ${all} bytes gzipped; only ApiError: ${part}`);
  expect(all).toBeLessThanOrEqual(6_300);
  expect(part).toBeLessThan(all / 3);
});

test("the server entry takes at most 1.3 kB, and has no React", async () => {
  const { size, imports } = await bundle(`export * from ${SERVER};`);
  console.info(`the server entry: ${size} bytes gzipped`);
  expect(size).toBeLessThanOrEqual(1_300);
  expect(imports).toEqual([]);
  expect((await bundle(`export * from ${INDEX};`)).imports).toContain("react");
});
