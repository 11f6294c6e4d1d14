import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { expect, signUp, stack, test, token } from "./support.ts";

test("the client library's README has the code of this application", async () => {
  const read = (file: string) => readFile(path.join(import.meta.dirname, "../..", file), "utf8");
  const readme = await read("client/README.md");
  for (const file of ["app/dashboard/page.tsx", "tests/program.ts"]) {
    expect(readme, file).toContain(
      `\`\`\`${path.extname(file).slice(1)} web/next/${file}\n${await read(`next/${file}`)}\`\`\`\n`,
    );
  }
});

test("a Node program calls the API with a user's token", async ({ page, context }) => {
  await signUp(page);
  const env = { ...process.env, API_URL: stack().api, TOKEN: await token(context) };
  const program = path.join(import.meta.dirname, "program.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [program], { env });
  expect(stdout).toBe("Weekly report\n");
});
