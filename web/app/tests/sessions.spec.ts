import { clerk, somewhere, start } from "../../testing/stack.ts";
import {
  expect,
  newChat,
  refuse,
  rename,
  signUp,
  somebody,
  stack,
  test,
  titles,
  token,
  watchForBlinks,
} from "./people.ts";

test("a token that expires in the middle of a session is replaced without a blink", async ({ page }) => {
  await page.clock.install();
  await signUp(page);
  await newChat(page);
  const tokens: string[] = [];
  page.on("request", (request) => {
    const sent = request.headers()["authorization"];
    if (sent && request.method() !== "OPTIONS") tokens.push(sent);
  });
  const blinks = await watchForBlinks(page);
  await rename(page, "New Chat", "1");
  await expect(page.getByText("Saving…")).toHaveCount(0);
  await page.clock.fastForward("02:00");
  await rename(page, "1", "2");
  await expect(page.getByText("Saving…")).toHaveCount(0);
  await expect(titles(page)).toHaveText(["2"]);
  expect(new Set(tokens).size).toBeGreaterThan(1);
  expect(await blinks()).toBe(0);
});

test("a token that the server refuses is replaced once, without a blink", async ({ signedIn: page }) => {
  await newChat(page);
  const blinks = await watchForBlinks(page);
  const statuses: number[] = [];
  page.on("response", (response) => {
    if (response.request().method() === "PATCH") statuses.push(response.status());
  });
  // As if the token had lost its validity on the way.
  await page.route(
    `${stack().api}/chats/*`,
    (route) => route.continue({ headers: { ...route.request().headers(), authorization: "Bearer a.b.c" } }),
    { times: 1 },
  );
  await rename(page, "New Chat", "Plans");
  await expect(page.getByText("Saving…")).toHaveCount(0);
  await expect(titles(page)).toHaveText(["Plans"]);
  expect(statuses).toEqual([401, 200]);
  expect(await blinks()).toBe(0);
});

test("signing out in one tab shuts the other", async ({ signedIn: page, context }) => {
  await newChat(page, "Secret");
  const other = await context.newPage();
  await other.goto(stack().web);
  await expect(titles(other)).toHaveText(["Secret"]);
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(other).toHaveURL(/\/clerk\/sign-in/);
});

test("a session that is ended elsewhere is shut with the next thing done", async ({ signedIn: page, context }) => {
  await newChat(page, "Secret");
  const payload = (await token(context)).split(".")[1] ?? "";
  const { sid } = JSON.parse(Buffer.from(payload, "base64url").toString()) as { sid: string };
  await clerk(stack(), `/v1/sessions/${sid}/revoke`);
  await page.getByRole("button", { name: "New Chat", exact: true }).click();
  await expect(page).toHaveURL(/\/clerk\/sign-in/);
});

test("a 401 that is about the token is shown, and does not sign the user out of Clerk", async ({ page, context }) => {
  await signUp(page);
  let isRefused = true;
  await page.route(`${stack().api}/profile`, (route) => {
    if (!isRefused || route.request().method() === "OPTIONS") return route.fallback();
    return refuse(401, "token_unauthorized_party", "The token is for another application.")(route);
  });
  await page.reload();
  await expect(page.getByRole("alert")).toContainText("The token is for another application.");
  expect(new URL(page.url()).pathname).toBe("/");
  expect(await token(context)).not.toBe("");
  isRefused = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("button", { name: "New Chat", exact: true })).toBeVisible();
});

test("an account that is inactive is signed out of Clerk, and the reason is given", async ({ page }) => {
  await signUp(page);
  await page.route(`${stack().api}/profile`, refuse(401, "account_inactive", "The account is not active."));
  await page.reload();
  await expect(page).toHaveURL(/\/clerk\/sign-in/);
});

test("a sign-out that fails can be tried again", async ({ page }) => {
  await signUp(page);
  await page.route(`${stack().api}/profile`, refuse(401, "session_ended", "The session has ended."));
  await page.route("**/clerk/v1/client/sessions/*/end", (route) => route.abort());
  await page.reload();
  await expect(page.getByText("You could not be signed out.")).toBeVisible();
  await page.unroute("**/clerk/v1/client/sessions/*/end");
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page).toHaveURL(/\/clerk\/sign-in/);
});

test("every screen that cannot be loaded says why and can be tried again", async ({ signedIn: page }) => {
  await newChat(page, "Plans");
  let isRefused = true;
  const refusing = (path: string) =>
    page.route(`${stack().api}${path}`, (route) => {
      if (!isRefused || route.request().method() !== "GET") return route.fallback();
      return refuse(400, "invalid_query", "The request is not understood.")(route);
    });
  await refusing("/chats*");
  await page.reload();
  await expect(page.getByRole("alert")).toContainText("The request is not understood.");
  isRefused = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(titles(page)).toHaveText(["Plans"]);

  isRefused = true;
  await refusing("/profile");
  await page.clock.install();
  await page.clock.fastForward("01:00");
  await page.getByRole("link", { name: "Your Profile" }).click();
  await expect(page.getByRole("alert")).toContainText("The request is not understood.");
  // What was read before stays on the screen.
  await expect(page.getByRole("region", { name: "Profile" })).toBeVisible();
  isRefused = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
});

test("without a network, changes wait and say so, and are made when it is back", async ({
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

test("a slow answer is said to be slow", async ({ signedIn: page }) => {
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

test("a server that goes and comes back is told of, and what was done meanwhile is done", async ({ page }) => {
  test.setTimeout(180_000);
  const first = await start(await somewhere());
  await signUp(page, somebody("Ada"), first);
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
