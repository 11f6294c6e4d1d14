import { randomUUID } from "node:crypto";

import AxeBuilder from "@axe-core/playwright";

import { clerk, newPlace, start } from "../../testing/stack.ts";
import { newChat } from "./chats.ts";
import { database } from "./database.ts";
import { expect, isSignedIn, newUser, type Page, signUp, stack, test } from "./support.ts";

/** Checks with axe-core, and that nothing is wider than the screen. */
async function check(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(beyond, "nothing is wider than the screen").toBeLessThanOrEqual(0);
}

const row = (page: Page, text: string) => page.getByRole("row").filter({ hasText: text });

/** A user of Clerk's Backend API, whose webhook was delivered. */
async function newAccount(firstName = "Ada") {
  const id = `user_${randomUUID().replaceAll("-", "")}`;
  const email = newUser(firstName).email;
  await clerk(stack(), "/v1/users", { id, email_address: [email], first_name: firstName });
  return { id, email };
}

/** Opens the page of a user. */
const openUser = (page: Page, id: string) => page.goto(`${stack().dashboard}/users/${id}`);

test("users are created, found, changed, banned and deleted", async ({ page }) => {
  const id = `user_${randomUUID().replaceAll("-", "")}`;
  await page.goto(stack().dashboard);
  await page.getByRole("link", { name: "Users", exact: true }).click();
  await page.getByLabel("Id (optional)").fill(id);
  await page.getByLabel("Email address").fill(`${id}@example.com`);
  await page.getByLabel("First name").fill("Grace");
  await page.getByRole("button", { name: "Create user" }).click();
  await expect(page.getByRole("heading", { name: id })).toBeVisible();
  await check(page);

  await page.getByLabel("First name").fill("Grace Brewster");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByLabel("First name")).toHaveValue("Grace Brewster");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("button", { name: "Sign out" })).toBeVisible();
  await check(page);
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(row(page, "sess_")).toContainText("ended");

  await page.getByText("Ban", { exact: true }).click();
  await page.getByRole("button", { name: "Yes, ban" }).click();
  await expect(page.getByRole("button", { name: "Sign in" })).toBeDisabled();
  await page.getByRole("button", { name: "Unban" }).click();
  await expect(page.getByRole("button", { name: "Sign in" })).toBeEnabled();

  await page.getByRole("link", { name: "Users", exact: true }).click();
  await page.getByLabel("Search").pressSequentially(id);
  await expect(page).toHaveURL(new RegExp(`query=${id}`));
  await expect(row(page, id)).toContainText("Grace Brewster");
  await expect(page.getByRole("row")).toHaveCount(2);
  await check(page);

  await page.getByRole("link", { name: id }).click();
  await page.getByText("Delete", { exact: true }).click();
  await page.getByRole("button", { name: "Yes, delete" }).click();
  // Until the webhook is delivered.
  await expect(async () => {
    await openUser(page, id);
    await expect(page.getByRole("alert")).toContainText(`No user has the id ${id}.`);
    await expect(page.getByRole("region", { name: "Stored item" })).toContainText('"deletedAt"', { timeout: 100 });
  }).toPass();
  await check(page);
});

test("a user that never was is not found", async ({ request }) => {
  const url = `${stack().dashboard}/users/user_${randomUUID()}`;
  const headers = { origin: stack().dashboard };
  expect((await request.get(url)).status()).toBe(404);
  for (const action of ["open", "token", "ban", "sessions"]) {
    expect((await request.post(`${url}/${action}`, { headers })).status(), action).toBe(404);
  }
});

test("the application opens as another user than the signed-in one", async ({ page, context }) => {
  await signUp(page, newUser("Eve"));
  const { id, email } = await newAccount("Ada");
  await openUser(page, id);
  const opened = context.waitForEvent("page");
  await page.getByRole("button", { name: "Open the application as this user" }).click();
  const application = await opened;
  await isSignedIn(application);
  await application.getByRole("link", { name: "Your Profile" }).click();
  await expect(application.getByText(email)).toBeVisible();
  // The ticket in the URL is valid once.
  expect(new URL(application.url()).pathname).not.toContain("tickets");
});

test("a token is accepted, and its claims are explained", async ({ page, request }) => {
  const { id } = await newAccount();
  await openUser(page, id);
  await page.getByRole("button", { name: "Get a token" }).click();
  const token = (await page.getByRole("region", { name: "Token" }).textContent()) ?? "";
  const response = await request.get(`${stack().api}/profile`, {
    headers: { authorization: `Bearer ${token}` },
  });
  expect(response.status()).toBe(200);
  await expect(row(page, "sub")).toContainText(id);
  await expect(row(page, "azp")).toContainText("authorized party");
  await check(page);
});

test("a profile that differs from Clerk's is marked with its source", async ({ page }) => {
  const { id } = await newAccount("Ada");
  await openUser(page, id);
  const name = page.getByRole("region", { name: "Profile" }).getByRole("row").filter({ hasText: "firstName" });
  await expect(name).toContainText("webhook");
  await expect(name).not.toContainText("differs");

  await page.goto(`${stack().dashboard}/webhooks/send?kind=user.updated&user=${id}`);
  const event = page.getByLabel("Event", { exact: true });
  await event.fill((await event.inputValue()).replace('"first_name": "Ada"', '"first_name": "Eve"'));
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByRole("status")).toContainText("200");
  await check(page);

  await openUser(page, id);
  await expect(name).toContainText("differs");
  await expect(name).toContainText("Eve");

  const state = page.getByRole("region", { name: "Profile" }).getByRole("row").filter({ hasText: "state" });
  await expect(state).not.toContainText("differs");
  await page.goto(`${stack().dashboard}/webhooks/send?kind=user.updated&user=${id}`);
  await event.fill((await event.inputValue()).replace('"banned": false', '"banned": true'));
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByRole("status")).toContainText("200");
  await openUser(page, id);
  await expect(state).toContainText("differs");
  await expect(state).toContainText("banned");
});

test("webhooks are listed with their attempts, and sent again", async ({ page }) => {
  await newAccount();
  await page.goto(`${stack().dashboard}/webhooks`);
  await expect(row(page, "user.created").first()).toContainText("delivered");
  await check(page);
  // Shown without reloading the page.
  const { id } = await newAccount("Bob");
  await clerk(stack(), `/v1/users/${id}`, {}, "DELETE");
  await expect(row(page, "user.deleted").first()).toBeVisible();

  await row(page, "user.deleted").first().getByRole("link").click();
  const attempts = page.getByRole("region", { name: "Attempts" }).getByRole("row");
  const before = await attempts.count();
  await page.getByRole("button", { name: "Send twice" }).click();
  await expect(attempts).toHaveCount(before + 2);
  await expect(attempts.nth(1)).toContainText("200 known");
  await check(page);
});

test("events with a wrong signature are rejected", async ({ page }) => {
  const { id } = await newAccount();
  for (const [signature, code] of [
    ["of another body", "webhook_bad_signature"],
    ["an hour old", "webhook_stale"],
    ["of another instance", "webhook_bad_signature"],
    ["missing", "webhook_headers_missing"],
  ] as const) {
    await page.goto(`${stack().dashboard}/webhooks/send`);
    await page.getByLabel("Sample").selectOption("session.ended");
    await page.getByLabel("User", { exact: true }).fill(id);
    await page.getByRole("button", { name: "Use this sample" }).click();
    await expect(page.getByLabel("Event", { exact: true })).toHaveValue(
      new RegExp(`session.ended[^]*${id}|${id}[^]*session.ended`),
    );
    await page.getByLabel("Signature").selectOption(signature);
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await expect(page.getByRole("status")).toContainText("400");
    await expect(page.getByRole("region", { name: "Body of the response" })).toContainText(code);
    // It is among the deliveries, and the form keeps what was sent.
    await expect(page.getByLabel("Sample")).toHaveValue("session.ended");
    await expect(page.getByLabel("User", { exact: true })).toHaveValue(id);
  }
  await page.goto(`${stack().dashboard}/webhooks`);
  await page.getByLabel("State").selectOption("failed");
  await expect(page).toHaveURL(/state=failed/);
  await expect(row(page, "session.ended").first()).toContainText("not delivered");
  await expect(page.getByRole("row").filter({ hasText: /[^t] delivered/ })).toHaveCount(0);
});

test("samples are about the user and a session of the user", async ({ page }) => {
  const { id, email } = await newAccount("Grace");
  const session = await clerk(stack(), "/v1/sessions", { user_id: id });
  for (const [kind, text] of [
    ["user.updated", email],
    ["session.revoked", session["id"]],
  ] as const) {
    await page.goto(`${stack().dashboard}/webhooks/send?kind=${kind}&user=${id}`);
    await expect(page.getByLabel("Event", { exact: true })).toHaveValue(new RegExp(String(text)));
  }
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await expect(page.getByRole("status")).toContainText("200");
  // The first event of the user is older than that of the sign-in.
  await page.goto(`${stack().dashboard}/webhooks`);
  await clerk(stack(), `/v1/users/${id}`, { first_name: "Grace Brewster" }, "PATCH");
  await row(page, "user.created").first().getByRole("link").click();
  await expect(page.getByText("arrives out of order")).toBeVisible();
});

test("an edit of an item that has changed since is not saved", async ({ page, request }) => {
  const { id } = await newAccount();
  const session = await clerk(stack(), "/v1/sessions", { user_id: id });
  const { jwt } = await clerk(stack(), `/v1/sessions/${session["id"]}/tokens`);
  const headers = { authorization: `Bearer ${jwt}` };
  const created = await request.post(`${stack().api}/chats`, { headers, data: { title: "First" } });
  const chat = `${stack().api}${created.headers()["location"]}`;
  const save = async (text: string) => {
    await page.getByLabel("Item", { exact: true }).fill(text);
    await page.getByText("Save", { exact: true }).click();
    await page.getByRole("button", { name: "Yes, save" }).click();
    await expect(page.getByRole("alert")).toContainText("Not saved");
    // What was written is not lost.
    await expect(page.getByLabel("Item", { exact: true })).toHaveValue(text);
  };
  await page.goto(`${stack().dashboard}/data?table=ChatsTable&user=${id}`);
  await page.locator("details.item summary").click();
  await page.getByRole("link", { name: "Edit or delete" }).click();
  const item = await page.getByLabel("Item", { exact: true }).inputValue();
  await save('{"userId":');
  await save(item.replace('"N"', '"NUMBER"'));
  await check(page);
  const changes = { headers: { ...headers, "if-match": created.headers()["etag"] ?? "" }, data: { title: "Second" } };
  expect((await request.patch(chat, changes)).status()).toBe(200);
  await save(item.replace("First", "Third"));
  await expect(page.getByRole("alert")).toContainText("has changed or was deleted");
  expect((await request.delete(chat, { headers })).status()).toBe(204);
  await save(item.replace("First", "Third"));
  expect((await request.get(chat, { headers })).status()).toBe(404);
});

test("items are shown by user and page, changed and deleted", async ({ page, request }) => {
  const { id } = await newAccount();
  const session = await clerk(stack(), "/v1/sessions", { user_id: id });
  const { jwt } = await clerk(stack(), `/v1/sessions/${session["id"]}/tokens`);
  const headers = { authorization: `Bearer ${jwt}` };
  for (let number = 0; number < 26; number++) {
    const created = await request.post(`${stack().api}/chats`, { headers, data: { title: `Chat ${number}` } });
    expect(created.status()).toBe(201);
  }
  await page.goto(`${stack().dashboard}/data`);
  await page.getByLabel("Table", { exact: true }).selectOption("ChatsTable");
  await page.getByLabel("User", { exact: true }).fill(id);
  await page.getByRole("button", { name: "Show" }).click();
  const items = page.locator("details.item");
  await expect(items).toHaveCount(25);
  await page.getByRole("link", { name: "Next page" }).click();
  await expect(items).toHaveCount(1);
  await items.locator("summary").click();
  await expect(items.locator("summary")).toContainText(id);
  await expect(items).toContainText('"title": "Chat 25"');
  await check(page);

  await page.getByRole("link", { name: "Edit or delete" }).click();
  const item = page.getByLabel("Item", { exact: true });
  await item.fill((await item.inputValue()).replace("Chat 25", "Renamed"));
  await page.getByText("Save", { exact: true }).click();
  await page.getByRole("button", { name: "Yes, save" }).click();
  await expect(item).toHaveValue(/Renamed/);
  await check(page);
  // A changed key would make a second item.
  await item.fill((await item.inputValue()).replace(id, `${id}2`));
  await page.getByText("Save", { exact: true }).click();
  await page.getByRole("button", { name: "Yes, save" }).click();
  await expect(page.getByRole("alert")).toContainText("key");
  await page.goBack();
  const titles = async () => {
    const list = await (await request.get(`${stack().api}/chats`, { headers })).json();
    return list.chats.map(({ title }: { title: string }) => title);
  };
  expect(await titles()).toContain("Renamed");
  await page.getByText("Delete", { exact: true }).click();
  await page.getByRole("button", { name: "Yes, delete" }).click();
  await expect(page.getByRole("heading", { name: "Data" })).toBeVisible();
  expect(await titles()).not.toContain("Renamed");
  // A full page is the last one if nothing follows.
  await page.goto(`${stack().dashboard}/data?table=ChatsTable&user=${id}`);
  await expect(items).toHaveCount(25);
  await expect(page.getByRole("link", { name: "Next page" })).toHaveCount(0);
});

test("all users are listed, and all items counted", async ({ page }) => {
  const large = await start(await newPlace(), "--api-only");
  try {
    const oldest = await clerk(large, "/v1/users", { id: "user_oldest", email_address: ["oldest@example.com"] });
    const others = Array.from({ length: 100 }, (_, number) => ({ email_address: [`${number}@example.com`] }));
    await Promise.all(others.map((other) => clerk(large, "/v1/users", other)));
    await page.goto(`${large.dashboard}/users`);
    await expect(page.getByRole("row")).toHaveCount(101);
    await page.getByRole("link", { name: "Next page" }).click();
    await expect(page.getByRole("row")).toHaveCount(2);
    await expect(row(page, oldest["id"] ?? "")).toBeVisible();
    await expect(page.getByRole("link", { name: "Next page" })).toHaveCount(0);
    await check(page);
    await page.goto(`${large.dashboard}/users?query=OLDEST%40example`);
    await expect(page.getByRole("row")).toHaveCount(2);

    // Together more than the megabyte that DynamoDB reads at once.
    for (let number = 0; number < 4; number++) {
      const key = { userId: { S: "user_oldest" }, chatId: { S: `${number}` } };
      const item = { ...key, title: { S: "a".repeat(390_000) } };
      expect(await database("PutItem", { TableName: "ChatsTable", Item: item }, large)).toBe(200);
    }
    await page.goto(large.dashboard);
    await expect(page.getByRole("link", { name: "4 items in ChatsTable" })).toBeVisible();
  } finally {
    await large.stop();
  }
});

test("open connections and their messages are shown", async ({ page, context }) => {
  await signUp(page);
  const dashboard = await context.newPage();
  await dashboard.goto(`${stack().dashboard}/data`);
  await expect(dashboard.getByRole("region", { name: "Open connections" })).toContainText("user_");
  await newChat(page, "Groceries");
  await expect(dashboard.getByRole("region", { name: "Messages" })).toContainText("chats");
});

test("requests are live, filtered by the URL, and explained", async ({ page, request }) => {
  await page.goto(`${stack().dashboard}/requests`);
  const token = "not a token";
  await request.get(`${stack().api}/chats`, { headers: { authorization: `Bearer ${token}` } });
  const line = page.getByRole("region", { name: "Requests" }).getByRole("row").filter({ hasText: "token_malformed" });
  await expect(line.first()).toContainText("401");
  await check(page);

  // The filters offer what is new.
  await page.getByLabel("Code").selectOption("token_malformed");
  await expect(page).toHaveURL(/code=token_malformed/);
  await expect(page.getByRole("row").filter({ hasText: "GET" }).filter({ hasNotText: "token_malformed" })).toHaveCount(
    0,
  );
  await page.reload();
  await expect(page.getByLabel("Code")).toHaveValue("token_malformed");

  // A filter is shown even if it selects nothing.
  await page.goto(`${stack().dashboard}/requests?code=no_such_code`);
  await expect(page.getByLabel("Code")).toHaveValue("no_such_code");
  await page.goto(`${stack().dashboard}/requests?code=token_malformed`);
  // Anywhere in the row. Its link is above the text.
  await line.first().getByText("chats", { exact: true }).click({ force: true });
  await expect(page.getByText("What to do", { exact: true })).toBeVisible();
  await expect(page.getByRole("region", { name: "Log line" })).toContainText('"code": "token_malformed"');
  await check(page);
});

test("a page of another origin that the application's port rejects is listed", async ({ page, request }) => {
  const { web, dashboard } = stack();
  const rejected = await request.get(`${web}/clerk/v1/client`, { headers: { origin: "https://app.example" } });
  expect(rejected.status()).toBe(403);
  await page.goto(`${dashboard}/requests?code=origin_not_allowed`);
  await page.getByRole("row").filter({ hasText: "local stack" }).getByRole("link").first().click();
  await expect(page.getByRole("region", { name: "Log line" })).toContainText("https://app.example");
});

test("malformed URLs and methods get a page with the reason", async ({ page, request }) => {
  const { dashboard } = stack();
  for (const path of ["/users?offset=abc", "/requests/%ff", "/data/item"]) {
    expect((await page.goto(`${dashboard}${path}`))?.status()).toBe(400);
    await expect(page.getByRole("alert")).toContainText(/\w+ .*\.$/);
    await expect(page.getByRole("link", { name: "Users", exact: true })).toBeVisible();
  }
  const deleted = await request.delete(`${dashboard}/users`);
  expect(deleted.status()).toBe(405);
  expect(await deleted.text()).toContain("Method Not Allowed.");
  expect((await page.goto(`${dashboard}/data?table=nope`))?.status()).toBe(404);
  await expect(page.getByRole("alert")).toContainText("no such table");
  await page.goto(`${dashboard}/requests?status=7xx`);
  await expect(page.getByText("No requests match.")).toBeVisible();
});

test("no page is wider than a small phone", async ({ page, request }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  const { id } = await newAccount("Ada");
  await request.get(`${stack().api}/chats`, { headers: { authorization: "Bearer not a token" } });
  for (const path of ["", "users", `users/${id}`, "webhooks", "webhooks/send", "data", `data?user=${id}`, "requests"]) {
    await page.goto(`${stack().dashboard}/${path}`);
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
    await check(page);
  }
  for (const name of ["Users", "Requests"]) {
    await page.getByRole("link", { name, exact: true }).click();
    const rows = page.getByRole("region", { name });
    const hidden = await rows.evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth);
    expect(hidden, `rows of ${name} need no scrolling`).toBe(0);
  }
  await row(page, "token_malformed").first().getByRole("link").click();
  await expect(page.getByText("What to do")).toBeVisible();
  await check(page);
});

test("the overview shows parts, counts, problems and the doctor's checks", async ({ page, request }) => {
  for (let time = 0; time < 3; time++) {
    await request.get(`${stack().api}/profile`);
  }
  await page.goto(stack().dashboard);
  await expect(page.getByText(stack().api, { exact: true })).toBeVisible();
  // One row for all that are the same.
  const problem = row(page, "GET /profile of profile").filter({ hasText: "token_missing" });
  await expect(problem).toHaveCount(1);
  expect(Number(await problem.getByRole("cell").nth(1).textContent())).toBeGreaterThanOrEqual(3);
  await expect(page.getByRole("link", { name: /users$/ })).toBeVisible();
  await expect(page.getByText("✓ signature")).toBeVisible();
  // Other tests of this stack open pages of other origins.
  await expect(page.getByText(/^✗ (?!parties)/)).toHaveCount(0);
  await check(page);
});

test("the pages work with the keyboard and without scripts", async ({ browser }) => {
  const { id } = await newAccount();
  const page = await browser.newPage({ javaScriptEnabled: false });
  await page.goto(stack().dashboard);
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to content" })).toBeFocused();
  for (let pressed = 0; pressed < 2; pressed++) await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Users", exact: true })).toBeFocused();
  await page.keyboard.press("Enter");
  await page.getByLabel("Search").fill(id);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("row")).toHaveCount(2);
  await page.goto(`${stack().dashboard}/requests?status=4xx`);
  await expect(page.getByLabel("Status")).toHaveValue("4xx");
  await page.close();
});
