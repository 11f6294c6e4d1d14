import type { WebSocketRoute } from "@playwright/test";

import { clerk } from "../../testing/stack.ts";
import { newChat, rename, titles } from "./chats.ts";
import { claims, expect, newUser, newWindow, type Page, signIn, signUp, stack, test, token } from "./support.ts";

/** The frames that a page receives, and whether its socket is open. */
function watchSocket(page: Page) {
  const frames: string[] = [];
  const open = page.waitForEvent("websocket");
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => frames.push(String(payload))));
  return { frames, open };
}

test("what a user does in one window shows in their other one, and no message reaches another user", async ({
  browser,
}) => {
  const [ada, phone, eve] = [await newWindow(browser), await newWindow(browser), await newWindow(browser)];
  const [hers, others] = [watchSocket(phone), watchSocket(eve)];
  const user = await signUp(ada);
  await Promise.all([signIn(phone, user), signUp(eve, newUser("Eve"))]);
  await Promise.all([hers.open, others.open]);
  await expect(phone.getByText("No chats yet.")).toBeVisible();
  const reloads: string[] = [];
  for (const page of [ada, phone, eve]) page.on("load", () => reloads.push(page.url()));

  await newChat(ada);
  await expect(titles(phone)).toHaveText(["New Chat"]);
  await rename(ada, "New Chat", "Plans");
  await expect(titles(phone)).toHaveText(["Plans"]);
  await newChat(phone, "Groceries");
  await expect(titles(ada)).toHaveText(["Groceries", "Plans"]);
  await ada.getByRole("button", { name: "Delete Plans" }).click();
  await ada.getByRole("group", { name: "Delete Plans?" }).getByRole("button", { name: "Delete" }).click();
  await expect(titles(phone)).toHaveText(["Groceries"]);

  expect(reloads).toEqual([]);
  expect(hers.frames.length).toBeGreaterThan(0);
  for (const frame of hers.frames) expect(frame).not.toMatch(/Plans|Groceries/);
  expect(others.frames).toEqual([]);
  // The first frames are about Eve's own chat, so that none was under way.
  await newChat(eve);
  await expect.poll(() => others.frames.length).toBeGreaterThan(0);
  const headers = { authorization: `Bearer ${await token(eve.context())}` };
  const { chats } = await (await eve.request.get(`${stack().api}/chats`, { headers })).json();
  const reported = others.frames.flatMap((frame) => JSON.parse(frame).changes);
  expect(reported.map(({ id }) => id)).toEqual(reported.map(() => chats[0].id));
  await Promise.all([ada, phone, eve].map((page) => page.context().close()));
});

test("a profile that changes in Clerk shows", async ({ signedIn: page, context }) => {
  await page.getByRole("link", { name: "Your Profile" }).click();
  await expect(page.getByRole("region", { name: "Profile" })).toContainText("Ada");
  const { sub } = await claims(context);
  await clerk(stack(), `/v1/users/${sub}`, { first_name: "Augusta" }, "PATCH");
  await expect(page.getByRole("region", { name: "Profile" })).toContainText("Augusta");
});

test("a sign-out elsewhere signs this window out, and leaves the user's other window signed in", async ({
  browser,
}) => {
  const [ada, phone] = [await newWindow(browser), await newWindow(browser)];
  const user = await signUp(ada);
  const { open } = watchSocket(phone);
  await signIn(phone, user);
  const socket = await open;
  const closed = socket.waitForEvent("close");
  const { sid } = await claims(phone.context());
  await clerk(stack(), `/v1/sessions/${sid}/revoke`);
  await closed;
  await expect(phone).toHaveURL(/\/sign-in/);
  await newChat(ada, "Plans");
  await expect(titles(ada)).toHaveText(["Plans"]);
  await Promise.all([ada, phone].map((page) => page.context().close()));
});

test("a change while no socket can be opened shows when one can, and the pause is reported", async ({ browser }) => {
  test.slow();
  const [ada, phone] = [await newWindow(browser), await newWindow(browser)];
  const sockets: WebSocketRoute[] = [];
  let isStopped = false;
  await phone.routeWebSocket(stack().live, (socket) => {
    sockets.push(socket);
    if (isStopped) void socket.close({ code: 1011 });
    else socket.connectToServer();
  });
  const user = await signUp(ada);
  await signIn(phone, user);
  await newChat(ada, "Before");
  await expect(titles(phone)).toHaveText(["Before"]);

  isStopped = true;
  for (const socket of sockets) void socket.close({ code: 1001 });
  await newChat(ada, "Meanwhile");
  await expect(phone.getByText("Live updates are paused.")).toBeVisible();
  await expect(titles(phone)).toHaveText(["Before"]);
  isStopped = false;
  // The next attempt is at most 30 s later.
  await expect(titles(phone)).toHaveText(["Meanwhile", "Before"], { timeout: 40_000 });
  await expect(phone.getByText("Live updates are paused.")).toHaveCount(0);
  await newChat(ada, "After");
  await expect(titles(phone)).toHaveText(["After", "Meanwhile", "Before"]);
  await Promise.all([ada, phone].map((page) => page.context().close()));
});

test("sockets that are closed after a while are replaced, and no change is missed", async ({ browser }) => {
  const [ada, phone] = [await newWindow(browser), await newWindow(browser)];
  let count = 0;
  // As the limit of two hours does.
  await phone.routeWebSocket(stack().live, (socket) => {
    count += 1;
    const server = socket.connectToServer();
    setTimeout(() => {
      void server.close();
      void socket.close({ code: 1001 });
    }, 1_000);
  });
  const user = await signUp(ada);
  await signIn(phone, user);
  const made: string[] = [];
  while (count < 4) {
    const title = `Chat ${made.length + 1}`;
    await newChat(ada, title);
    made.unshift(title);
    await expect(titles(phone)).toHaveText(made);
  }
  await expect(titles(ada)).toHaveText(made);
  await Promise.all([ada, phone].map((page) => page.context().close()));
});
