import { execFile } from "node:child_process";
import { createPrivateKey, sign } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { clerk, newPlace, type Stack, start } from "../../testing/stack.ts";
import { database } from "./database.ts";
import { expect, type Page, test } from "./support.ts";

const PROGRAM = path.join(import.meta.dirname, "../../../target/debug/local");

/** The names of the checks of `cargo dev doctor` that fail. */
async function doctor({ data, ports }: Stack, ...options: string[]) {
  const env = { ...process.env, ...ports, LOCAL_DATA: data };
  const printed = await new Promise<string>((resolve) => {
    // The exit status says only whether one of them fails.
    execFile(PROGRAM, ["doctor", "--json", ...options], { env }, (_, stdout) => resolve(stdout));
  });
  const { checks } = JSON.parse(printed) as { checks: { name: string; passed: boolean | null }[] };
  return checks.filter(({ passed }) => passed === false).map(({ name }) => name);
}

/** The failed checks on the dashboard. */
async function dashboard(page: Page, { dashboard }: Stack) {
  await page.goto(dashboard);
  await expect(page.getByText("✓ api")).toBeVisible();
  return page.getByText(/^✗/).allTextContents();
}

/** A token like `token`, but issued to a page of another origin. */
async function ofOrigin(token: string, azp: string, { data }: Stack) {
  const { key } = JSON.parse(await readFile(path.join(data, "clerk-secrets.json"), "utf8"));
  const [header = "", payload = ""] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  const signed = `${header}.${Buffer.from(JSON.stringify({ ...claims, azp })).toString("base64url")}`;
  const signer = createPrivateKey({ key: Buffer.from(key.pkcs8, "base64"), format: "der", type: "pkcs8" });
  return `${signed}.${sign("sha256", Buffer.from(signed), signer).toString("base64url")}`;
}

test("a wrong secret, party or table is found by the dashboard and by the doctor", async ({ page, request }) => {
  let broken = await start(await newPlace(), "--api-only");
  try {
    expect(await doctor(broken)).toEqual([]);
    expect(await dashboard(page, broken)).toEqual([]);
    // Its own requests are not the developer's.
    await page.goto(`${broken.dashboard}/requests`);
    await expect(page.getByText("No requests yet.")).toBeVisible();

    const file = path.join(broken.data, "clerk-secrets.json");
    const secrets = await readFile(file, "utf8");
    const other = { ...JSON.parse(secrets), webhook_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" };
    await writeFile(file, JSON.stringify(other));
    expect(await doctor(broken)).toEqual(["signature"]);
    expect(await dashboard(page, broken)).toEqual(["✗ signature"]);
    await writeFile(file, secrets);

    const { id } = await clerk(broken, "/v1/users", { email_address: ["ada@example.com"] });
    const session = await clerk(broken, "/v1/sessions", { user_id: id });
    const { jwt = "" } = await clerk(broken, `/v1/sessions/${session["id"]}/tokens`);
    const origin = "http://localhost:5173";
    const token = await ofOrigin(jwt, origin, broken);
    const call = (token: string) =>
      request.get(`${broken.api}/chats`, { headers: { authorization: `Bearer ${token}` } });
    expect((await call(token)).status()).toBe(401);
    expect(await doctor(broken, "--token", token)).toEqual(["token-party"]);
    expect(await doctor(broken, "--origin", origin)).toEqual(["parties"]);
    await page.goto(`${broken.dashboard}/requests`);
    await page.getByRole("row").filter({ hasText: "token_unauthorized_party" }).getByRole("link").click();
    await expect(page.getByText("Add it as browsers write it")).toBeVisible();

    // A page of a front end that the stack does not know.
    const rejected = await request.get(`${broken.api}/chats`, { headers: { origin } });
    expect(rejected.status()).toBe(403);
    expect(await doctor(broken)).toEqual(["parties"]);
    expect(await dashboard(page, broken)).toEqual(["✗ parties"]);
    await expect(page.locator("code").filter({ hasText: `WEB_ORIGINS=${origin} make run` })).toBeVisible();
    await page.goto(`${broken.dashboard}/requests`);
    await page.getByRole("row").filter({ hasText: "origin_not_allowed" }).getByRole("link").click();
    await expect(page.getByText("Start the stack with its origin in")).toBeVisible();
    await broken.stop();
    // With the same ports, so that the token's issuer stays.
    broken = await start({ data: broken.data, ports: broken.ports }, "--api-only");

    expect(await database("DeleteTable", { TableName: "ChatsTable" }, broken)).toBe(200);
    expect((await call(jwt)).status()).toBe(500);
    expect(await doctor(broken)).toEqual(["tables"]);
    expect(await doctor(broken, "--token", jwt)).toEqual(["tables"]);
    expect(await dashboard(page, broken)).toEqual(["✗ tables"]);
    await page.goto(`${broken.dashboard}/data?table=ChatsTable`);
    await expect(page.getByRole("alert")).toContainText("ChatsTable cannot be read");
    await page.getByLabel("Table", { exact: true }).selectOption("UsersTable");
    await page.goto(broken.dashboard);
    await expect(page.getByRole("alert")).toContainText("ChatsTable");
    await expect(page.getByRole("region", { name: "Last problems" })).toContainText("internal");
  } finally {
    await broken.stop();
  }
});
