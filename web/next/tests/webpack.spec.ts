import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";

import { newPlace, start } from "../../testing/stack.ts";
import { expect, newChat, newUser, signUp, test, titles } from "./support.ts";

test("the application works when webpack bundles it", async ({ page }) => {
  test.setTimeout(300_000);
  process.env["NEXT_DIST_DIR"] = ".next/webpack";
  const next = path.join(import.meta.dirname, "../../node_modules/next/dist/bin/next");
  const env = { ...process.env, NODE_ENV: "production", NEXT_TELEMETRY_DISABLED: "1" } as const;
  const options = { cwd: path.join(import.meta.dirname, ".."), env };
  await promisify(execFile)(process.execPath, [next, "build", "--webpack"], options);
  const stack = await start(await newPlace(), "--next");
  try {
    await signUp(page, newUser("Ada"), stack);
    await newChat(page, "Plans");
    const html = await (await page.request.get(`${stack.web}/dashboard`)).text();
    expect(html).toContain("Plans");
    await page.reload();
    await expect(titles(page)).toHaveText(["Plans"]);
  } finally {
    await stack.stop();
  }
});
