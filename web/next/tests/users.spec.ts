import { clerk } from "../../testing/stack.ts";
import {
  expect,
  expire,
  forget,
  hold,
  isSignedIn,
  newChat,
  newUser,
  newWindow,
  rename,
  signIn,
  signOut,
  signUp,
  stack,
  test,
  titles,
  token,
} from "./support.ts";

test("from signing up to signing out", async ({ page }) => {
  await signUp(page);
  await expect(page.getByRole("heading")).toHaveText("Chats of Ada");
  await newChat(page);
  await newChat(page, "Plans");
  await expect(titles(page)).toHaveText(["Plans", "New Chat"]);
  await page.reload();
  await expect(titles(page)).toHaveText(["Plans", "New Chat"]);
  await page.getByRole("button", { name: "Delete New Chat" }).click();
  await expect(titles(page)).toHaveText(["Plans"]);

  await signOut(page);
  await expect(page).toHaveURL(/\/sign-in/);
  await page.goto(`${stack().web}/dashboard`);
  await expect(page).toHaveURL(/\/sign-in/);
});

test("without JavaScript, the page has the user's profile and first page of chats", async ({ page, browser }) => {
  await signUp(page, newUser("Augusta"));
  for (const title of ["Groceries", "Plans"]) await newChat(page, title);
  const storageState = await page.context().storageState();
  const plain = await newWindow(browser, { javaScriptEnabled: false, storageState });
  await plain.goto(`${stack().web}/dashboard`);
  await expect(titles(plain)).toHaveText(["Plans", "Groceries"]);
  await expect(plain.getByRole("heading")).toHaveText("Chats of Augusta");
  await plain.context().close();
});

test("the first render needs no response of the API", async ({ page }) => {
  await signUp(page);
  await newChat(page, "Plans");
  await page.route(`${stack().api}/**`, (route) => route.abort());
  await page.routeWebSocket(stack().live, (socket) => socket.close());
  await page.reload();
  await isSignedIn(page);
  await expect(titles(page)).toHaveText(["Plans"]);
  await expect(page.getByRole("heading")).toHaveText("Chats of Ada");
});

test("requests without a user are redirected to the sign-in page", async ({ page, request }) => {
  for (const cookie of ["", "__session=x; __client_uat=0", "__session=a.b.c; __client_uat=1"]) {
    const response = await request.get(`${stack().web}/dashboard`, { headers: { cookie }, maxRedirects: 0 });
    expect(response.status(), cookie).toBe(307);
    expect(response.headers()["location"], cookie).toContain("/sign-in?");
  }
  await page.goto(stack().web);
  await expect(page).toHaveURL(/\/sign-in\?redirect_url=/);
});

test("a change shows at once, and is rolled back if the API rejects it", async ({ page }) => {
  await signUp(page);
  await newChat(page, "Plans");
  const update = await hold(page, "PATCH", "/chats/*", (route) => route.fulfill({ status: 400, json: {} }));
  await rename(page, "Plans", "Secret plans");
  await update.arrived;
  await expect(titles(page)).toHaveText(["Secret plans"]);
  update.release();
  await expect(titles(page)).toHaveText(["Plans"]);
  await expect(page.getByText("The response did not come from the API.")).toBeVisible();
});

test("what a user does in one browser shows in their other one, without a reload", async ({ page, browser }) => {
  const user = await signUp(page);
  const phone = await newWindow(browser);
  await signIn(phone, user);
  const loads: string[] = [];
  phone.on("load", () => loads.push(phone.url()));
  await newChat(page, "Plans");
  await expect(titles(phone)).toHaveText(["Plans"]);
  await newChat(phone, "Groceries");
  await expect(titles(page)).toHaveText(["Groceries", "Plans"]);
  expect(loads).toEqual([]);
  await phone.context().close();
});

test("the second user of a browser sees nothing of the first, not even by going back", async ({ page }) => {
  const ada = await signUp(page);
  await newChat(page, "Ada's");
  await signOut(page);
  await expect(page).toHaveURL(/\/sign-in/);
  // Every text that shows from now on, in pages that are loaded and in those that are not.
  const seen: string[] = [];
  await page.context().exposeBinding("noteText", (_, text: string) => seen.push(text));
  const watch = () => {
    const { noteText } = window as unknown as { noteText: (text: string) => void };
    const note = () => noteText(document.body?.textContent ?? "");
    new MutationObserver(note).observe(document, { childList: true, subtree: true, characterData: true });
  };
  await page.context().addInitScript(watch);
  await page.evaluate(watch);
  await page.getByRole("link", { name: "Sign up" }).click();
  const eve = newUser("Eve");
  await page.getByLabel("First name").fill(eve.firstName);
  await page.getByLabel("Email address").fill(eve.email);
  await page.getByRole("button", { name: "Continue", exact: true }).click();
  await isSignedIn(page);
  await expect(page.getByRole("heading")).toHaveText("Chats of Eve");
  await newChat(page, "Eve's");
  for (let visits = 0; visits < 3; visits += 1) {
    await page.goBack();
    await expect(page.getByRole("banner")).toBeVisible();
  }
  await page.goto(`${stack().web}/dashboard`);
  await expect(titles(page)).toHaveText(["Eve's"]);
  expect(seen.some((text) => text.includes("Eve's"))).toBe(true);
  expect(seen.filter((text) => /Ada/.test(text))).toEqual([]);
  await signOut(page);
  await expect(page).toHaveURL(/\/sign-in/);
  await signIn(page, ada);
  await expect(titles(page)).toHaveText(["Ada's"]);
});

test("a browser whose token has expired gets the next one, and the page at once", async ({ page, context }) => {
  await signUp(page);
  await newChat(page, "Plans");
  await page.goto("about:blank");
  await expire(context);
  const url = `${stack().web}/dashboard`;
  const awake = await context.request.get(url, { maxRedirects: 0 });
  expect(awake.status()).toBe(200);
  expect((await awake.text()).includes("Plans")).toBe(true);

  // Without a token, the server sends the browser to Clerk, and Clerk sends it back.
  await forget(context);
  const response = await context.request.get(url, { headers: { accept: "text/html" }, maxRedirects: 0 });
  expect(response.status()).toBe(307);
  expect(response.headers()["location"]).toContain("/clerk/v1/client/handshake?");
  await page.goto(url);
  await isSignedIn(page);
  await expect(titles(page)).toHaveText(["Plans"]);
});

test("a session that is revoked elsewhere ends at once", async ({ page, context }) => {
  await signUp(page);
  await newChat(page, "Secret");
  const { sid } = JSON.parse(Buffer.from((await token(context)).split(".")[1] ?? "", "base64url").toString());
  await clerk(stack(), `/v1/sessions/${sid}/revoke`);
  await expect(page).toHaveURL(/\/sign-in/);
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
});

test("the dashboard opens the application as another user than the signed-in one", async ({ page, context }) => {
  await signUp(page, newUser("Eve"));
  await newChat(page, "Eve's");
  const { email } = newUser("Ada");
  const { id } = await clerk(stack(), "/v1/users", { email_address: [email], first_name: "Ada" });
  await page.goto(`${stack().dashboard}/users/${id}`);
  const opened = context.waitForEvent("page");
  await page.getByRole("button", { name: "Open the application as this user" }).click();
  const application = await opened;
  await isSignedIn(application);
  await expect(application.getByRole("heading")).toHaveText("Chats of Ada");
  await expect(titles(application)).toHaveCount(0);
});
