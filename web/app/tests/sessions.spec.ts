import type { BrowserContext } from "@playwright/test";

import { clerk, newPlace, start } from "../../testing/stack.ts";
import { countDisappearances, newChat, rename, titles } from "./chats.ts";
import {
  claims,
  enter,
  expect,
  isAccessible,
  isSignedIn,
  newUser,
  newWindow,
  reject,
  signIn,
  signOut,
  signUp,
  stack,
  test,
  token,
} from "./support.ts";

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
  for (const [minute, title] of ["1", "2", "3"].entries()) {
    await rename(page, minute ? String(minute) : "New Chat", title);
    await expect(page.getByText("Saving…")).toHaveCount(0);
    await page.clock.fastForward("01:01");
  }
  await expect(titles(page)).toHaveText(["3"]);
  // A token is valid for one minute.
  expect(new Set(tokens).size).toBeGreaterThanOrEqual(3);
  expect(await disappearances()).toBe(0);
});

test("a tab that has slept for a night shows what has changed, and its user's changes are made", async ({
  page,
  context,
  browser,
}) => {
  await page.clock.install();
  const ada = await signUp(page);
  await newChat(page, "Evening");
  const phone = await newWindow(browser);
  await signIn(phone, ada);
  await context.setOffline(true);
  await newChat(phone, "Night");
  // Timers that are due run once, as after a computer has slept.
  await page.clock.fastForward("09:00:00");
  await context.setOffline(false);
  await expect(titles(page)).toHaveText(["Night", "Evening"]);
  await newChat(page, "Morning");
  await expect(titles(phone)).toHaveText(["Morning", "Night", "Evening"]);
  await phone.context().close();
});

test("a tab whose session ended while it slept is signed out", async ({ page, context }) => {
  await page.clock.install();
  await signUp(page);
  await newChat(page, "Secret");
  const { sid } = await claims(context);
  await context.setOffline(true);
  await clerk(stack(), `/v1/sessions/${sid}/revoke`);
  await page.clock.fastForward("09:00:00");
  await context.setOffline(false);
  await expect(page).toHaveURL(/\/sign-in/);
  await expect(page.getByText("Secret")).toHaveCount(0);
});

/** The session tokens in a browser's cookies. */
const sessionCookies = async (context: BrowserContext) =>
  (await context.cookies()).filter(({ name, value }) => name.startsWith("__session") && value);

test("a handshake gives a browser whose token cookies have expired new ones", async ({ signedIn: page, context }) => {
  const handshake = (path: string) =>
    `${stack().web}/clerk/v1/client/handshake?redirect_url=${encodeURIComponent(`${stack().web}${path}`)}`;
  await page.goto("about:blank");
  await context.clearCookies({ name: /^__session/ });
  expect(await sessionCookies(context)).toEqual([]);
  // Without the application, whose SDK writes these cookies, too.
  await page.goto(handshake("/icon.svg"));
  await expect(page).toHaveURL(`${stack().web}/icon.svg`);
  expect(await sessionCookies(context)).toHaveLength(2);
  await page.goto(handshake("/profile"));
  await expect(page.getByRole("region", { name: "Profile" })).toBeVisible();

  const { sid } = await claims(context);
  await clerk(stack(), `/v1/sessions/${sid}/revoke`);
  await page.goto("about:blank");
  await page.goto(handshake("/icon.svg"));
  expect(await sessionCookies(context)).toEqual([]);
  await page.goto(handshake("/profile"));
  await expect(page).toHaveURL(/\/sign-in/);
});

test("a browser whose cookies have expired is signed in or out, depending on which", async ({
  signedIn: page,
  context,
}) => {
  await context.clearCookies({ name: /^__(session|refresh|client_uat)/ });
  await page.reload();
  await isSignedIn(page);
  await context.clearCookies({ name: /^__client_(?!uat)/ });
  await page.reload();
  await expect(page).toHaveURL(/\/sign-in/);
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

/** Changes the user of a browser in Clerk. */
async function change(context: BrowserContext, method: string, action = "") {
  const { sub } = await claims(context);
  return clerk(stack(), `/v1/users/${sub}${action}`, {}, method);
}

/** Revokes the session of a page in Clerk. */
async function revoke(context: BrowserContext): Promise<void> {
  const { sid } = await claims(context);
  await clerk(stack(), `/v1/sessions/${sid}/revoke`);
}

for (const [event, end] of [
  ["a session that is revoked", revoke],
  ["the session of a user that is banned", async (context) => void (await change(context, "POST", "/ban"))],
  ["the session of a user that is deleted", async (context) => void (await change(context, "DELETE"))],
] satisfies [string, (context: BrowserContext) => Promise<void>][]) {
  test(`${event} elsewhere ends at once in every tab, and stays ended`, async ({ page, context }) => {
    const ada = await signUp(page);
    await newChat(page, "Secret");
    const other = await context.newPage();
    await other.goto(`${stack().web}/profile`);
    await expect(other.getByRole("region", { name: "Profile" })).toContainText(ada.email);
    await end(context);
    for (const tab of [page, other]) {
      await expect(tab).toHaveURL(/\/sign-in/);
      await tab.goto(stack().web);
      await expect(tab).toHaveURL(/\/sign-in/);
      await expect(tab.getByText("Secret")).toHaveCount(0);
    }
    await enter(page, ada.email);
    if (end === revoke) await expect(titles(page)).toHaveText(["Secret"]);
    else await expect(page.getByText(/is banned|No account has/).first()).toBeVisible();
  });
}

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
  await isAccessible(page);
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
