import { clerk, somewhere, start } from "../../testing/stack.ts";
import { expect, newChat, rename, signUp, somebody, stack, test, titles, token, watchForBlinks } from "./people.ts";

test("a token that expires in the middle of a session is replaced without a blink", async ({ page }) => {
  await page.clock.install();
  await signUp(page);
  await newChat(page);
  await expect(page.getByText("Saving…")).toHaveCount(0);
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
  await expect(page.getByText("Saving…")).toHaveCount(0);
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
  await expect(page.getByText("This takes longer than usual.")).toBeVisible();
  held.resolve();
  await expect(page.getByText("This takes longer than usual.")).toHaveCount(0);
});

test("a server that goes and comes back is told of, and what was done meanwhile is done", async ({ page }) => {
  test.setTimeout(180_000);
  const place = await somewhere();
  const first = await start(place);
  await signUp(page, somebody("Ada"), first);
  await newChat(page, "Before");
  await expect(page.getByText("Saving…")).toHaveCount(0);
  await first.stop();
  await page.getByRole("button", { name: "New Chat", exact: true }).click();
  await expect(page.getByText("The server cannot be reached.")).toBeVisible();
  await expect(titles(page)).toHaveText(["New Chat", "Before"]);
  const second = await start(place);
  try {
    await expect(page.getByText("Saving…")).toHaveCount(0, { timeout: 30_000 });
    await expect(page.getByText("The server cannot be reached.")).toHaveCount(0);
    await page.reload();
    await expect(titles(page)).toHaveText(["New Chat", "Before"]);
  } finally {
    await second.stop();
  }
});
