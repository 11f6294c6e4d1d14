import { createPrivateKey, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";

import type { BrowserContext } from "@playwright/test";

import { enter, expect, newUser, type Page, stack, submit } from "../../app/tests/support.ts";

export { newChat, rename, titles } from "../../app/tests/chats.ts";
export {
  enter,
  expect,
  hold,
  newUser,
  newWindow,
  type Page,
  signOut,
  stack,
  test,
  token,
} from "../../app/tests/support.ts";

/** Waits until the dashboard shows and the browser has taken over from the server. */
export async function isSignedIn(page: Page) {
  await expect(page).toHaveURL(/\/dashboard$/);
  await expect(page.getByRole("button", { name: "Open user menu" })).toBeVisible();
}

/** Signs a user up with Clerk's component. */
export async function signUp(page: Page, user = newUser("Ada"), { web } = stack()) {
  await page.goto(`${web}/sign-up`);
  await page.getByLabel("First name").fill(user.firstName);
  await page.getByLabel("Email address").fill(user.email);
  await submit(page);
  await isSignedIn(page);
  return user;
}

export async function signIn(page: Page, { email }: { email: string }) {
  await page.goto(`${stack().web}/dashboard`);
  await expect(page).toHaveURL(/\/sign-in/);
  await enter(page, email);
  await isSignedIn(page);
}

/** The names of the cookies with the session token. */
const SESSION = /^__session(_|$)/;

/** Replaces the browser's session token by one that expired a minute ago, as after sleep. */
export async function expire(context: BrowserContext) {
  const past = Math.floor(Date.now() / 1000) - 120;
  const secrets = JSON.parse(await readFile(path.join(stack().data, "clerk-secrets.json"), "utf8"));
  const key = createPrivateKey({ key: Buffer.from(secrets.key.pkcs8, "base64"), format: "der", type: "pkcs8" });
  const expired = (token: string) => {
    const [header = "", payload = ""] = token.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    const changed = JSON.stringify({ ...claims, iat: past, nbf: past, exp: past + 60 });
    const signed = `${header}.${Buffer.from(changed).toString("base64url")}`;
    return `${signed}.${sign("sha256", Buffer.from(signed), key).toString("base64url")}`;
  };
  const cookies = await context.cookies();
  await context.addCookies([
    ...cookies.filter(({ name }) => SESSION.test(name)).map((cookie) => ({ ...cookie, value: expired(cookie.value) })),
    // The user had signed in before.
    ...cookies.filter(({ name }) => name.startsWith("__client_uat")).map((cookie) => ({ ...cookie, value: `${past}` })),
  ]);
}

/** Removes the browser's session token. */
export const forget = (context: BrowserContext) => context.clearCookies({ name: SESSION });
