import type { BrowserContext } from "@playwright/test";

import { clerk, newPlace, start } from "../../testing/stack.ts";
import { countDisappearances, newChat, rename, titles } from "./chats.ts";
import { expect, newUser, reject, signOut, signUp, stack, test, token } from "./support.ts";

test("a token that expires during a session is replaced while everything stays on the screen", async ({ page }) => {
  await page.clock.install();
  await signUp(page);
  await newChat(page);
  const tokens: string[] = [];
  page.on("request", (request) => {
    const sent = request.headers()["authorization"];
    if (sent && request.method() !== "OPTIONS") tokens.push(sent);
  });
  const disappearances = await countDisappearances(page);
  await rename(page, "New Chat", "1");
  await expect(page.getByText("Saving…")).toHaveCount(0);
  await page.clock.fastForward("02:00");
  await rename(page, "1", "2");
  await expect(page.getByText("Saving…")).toHaveCount(0);
  await expect(titles(page)).toHaveText(["2"]);
  expect(new Set(tokens).size).toBeGreaterThan(1);
  expect(await disappearances()).toBe(0);
});

test("a token that the server rejects is replaced once, while everything stays on the screen", async ({
  signedIn: page,
}) => {
  await newChat(page);
  const disappearances = await countDisappearances(page);
  const statuses: number[] = [];
  page.on("response", (response) => {
    if (response.request().method() === "PATCH") statuses.push(response.status());
  });
  // The token becomes invalid in transit.
  await page.route(
    `${stack().api}/chats/*`,
    (route) => route.continue({ headers: { ...route.request().headers(), authorization: "Bearer a.b.c" } }),
    { times: 1 },
  );
  await rename(page, "New Chat", "Plans");
  await expect(page.getByText("Saving…")).toHaveCount(0);
  await expect(titles(page)).toHaveText(["Plans"]);
  expect(statuses).toEqual([401, 200]);
  expect(await disappearances()).toBe(0);
});

test("a sign-out in one tab signs the other out", async ({ signedIn: page, context }) => {
  await newChat(page, "Secret");
  const other = await context.newPage();
  await other.goto(stack().web);
  await expect(titles(other)).toHaveText(["Secret"]);
  await signOut(page);
  await expect(other).toHaveURL(/\/sign-in/);
});

/** Revokes the session of a page in Clerk. */
async function revoke(context: BrowserContext): Promise<void> {
  const payload = (await token(context)).split(".")[1] ?? "";
  const { sid } = JSON.parse(Buffer.from(payload, "base64url").toString()) as { sid: string };
  await clerk(stack(), `/v1/sessions/${sid}/revoke`);
}

test("a session that is revoked elsewhere ends at once", async ({ signedIn: page, context }) => {
  await newChat(page, "Secret");
  await revoke(context);
  await expect(page).toHaveURL(/\/sign-in/);
});

test("without live updates, a session that is revoked elsewhere ends with the next call", async ({ page, context }) => {
  await page.routeWebSocket(stack().live, () => {});
  await signUp(page);
  await newChat(page, "Secret");
  await revoke(context);
  await page.getByRole("button", { name: "New Chat", exact: true }).click();
  await expect(page).toHaveURL(/\/sign-in/);
});

test("a 401 about the token is shown, and does not sign the user out of Clerk", async ({ page, context }) => {
  await signUp(page);
  let isRejected = true;
  await page.route(`${stack().api}/profile`, (route) => {
    if (!isRejected || route.request().method() === "OPTIONS") return route.fallback();
    return reject(401, "token_unauthorized_party", "The token is for another application.")(route);
  });
  await page.reload();
  await expect(page.getByRole("alert")).toContainText("The token is for another application.");
  expect(new URL(page.url()).pathname).toBe("/");
  expect(await token(context)).not.toBe("");
  isRejected = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("button", { name: "New Chat", exact: true })).toBeVisible();
});

test("an inactive account is signed out of Clerk", async ({ page }) => {
  await signUp(page);
  await page.route(`${stack().api}/profile`, reject(401, "account_inactive", "The account is not active."));
  await page.reload();
  await expect(page).toHaveURL(/\/sign-in/);
});

test("a sign-out that fails can be retried", async ({ page }) => {
  await signUp(page);
  await page.route(`${stack().api}/profile`, reject(401, "session_ended", "The session has ended."));
  await page.route("**/clerk/v1/client/sessions?*", (route) => route.fulfill({ status: 500, json: { errors: [] } }));
  await page.reload();
  await expect(page.getByText("Couldn't sign you out.")).toBeVisible();
  await page.unroute("**/clerk/v1/client/sessions?*");
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page).toHaveURL(/\/sign-in/);
});

test("every screen that cannot be loaded shows the reason and can be retried", async ({ signedIn: page }) => {
  // A socket that opens would cause a retry.
  await page.routeWebSocket(stack().live, (socket) => void socket.close());
  await newChat(page, "Plans");
  let isRejected = true;
  const rejecting = (path: string) =>
    page.route(`${stack().api}${path}`, (route) => {
      if (!isRejected || route.request().method() !== "GET") return route.fallback();
      return reject(400, "invalid_query", "The query is invalid.")(route);
    });
  await rejecting("/chats*");
  await page.reload();
  await expect(page.getByRole("alert")).toContainText("The query is invalid.");
  isRejected = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(titles(page)).toHaveText(["Plans"]);

  isRejected = true;
  await rejecting("/profile");
  await page.clock.install();
  await page.clock.fastForward("01:00");
  await page.getByRole("link", { name: "Your Profile" }).click();
  await expect(page.getByRole("alert")).toContainText("The query is invalid.");
  // Data that was read before stays on the screen.
  await expect(page.getByRole("region", { name: "Profile" })).toBeVisible();
  isRejected = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
});

test("without a network, changes are pending, and they are made when it returns", async ({
  signedIn: page,
  context,
}) => {
  await context.setOffline(true);
  await expect(page.getByText("You are offline.")).toBeVisible();
  await page.getByRole("button", { name: "New Chat", exact: true }).click();
  await expect(titles(page)).toHaveText(["New Chat"]);
  await expect(page.getByText("Saving…")).toBeVisible();
  await context.setOffline(false);
  await expect(page.getByText("Saving…")).toHaveCount(0);
  await expect(page.getByText("You are offline.")).toHaveCount(0);
  await page.reload();
  await expect(titles(page)).toHaveText(["New Chat"]);
});

test("a slow response is reported", async ({ signedIn: page }) => {
  const held = Promise.withResolvers<void>();
  await page.route(`${stack().api}/chats`, async (route) => {
    await held.promise;
    await route.continue();
  });
  await page.getByRole("button", { name: "New Chat", exact: true }).click();
  await expect(page.getByText("This is taking longer than usual.")).toBeVisible();
  held.resolve();
  await expect(page.getByText("This is taking longer than usual.")).toHaveCount(0);
});

test("an unreachable server is reported, and pending changes are made when it returns", async ({ page }) => {
  test.setTimeout(180_000);
  const first = await start(await newPlace());
  await signUp(page, newUser("Ada"), first);
  await newChat(page, "Before");
  await first.stop();
  await page.getByRole("button", { name: "New Chat", exact: true }).click();
  await expect(page.getByText("The server cannot be reached.")).toBeVisible();
  await expect(titles(page)).toHaveText(["New Chat", "Before"]);
  const second = await start(first);
  try {
    await expect(page.getByText("Saving…")).toHaveCount(0, { timeout: 30_000 });
    await expect(page.getByText("The server cannot be reached.")).toHaveCount(0);
    await page.reload();
    await expect(titles(page)).toHaveText(["New Chat", "Before"]);
  } finally {
    await second.stop();
  }
});
