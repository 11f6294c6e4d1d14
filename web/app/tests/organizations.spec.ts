import { randomUUID } from "node:crypto";

import { clerk } from "../../testing/stack.ts";
import { newChat, titles } from "./chats.ts";
import { claims, expect, isSignedIn, newUser, newWindow, type Page, signUp, stack, test } from "./support.ts";

const unique = (name: string) => `${name}-${randomUUID().slice(0, 8)}`;

/** Shows Clerk's component, which the application does not have. */
async function mountSwitcher(page: Page) {
  await isSignedIn(page);
  await page.evaluate(() => {
    const node = document.createElement("div");
    document.querySelector("header")?.append(node);
    const { Clerk } = window as unknown as { Clerk: { mountOrganizationSwitcher(node: HTMLElement): void } };
    Clerk.mountOrganizationSwitcher(node);
  });
  await expect(page.getByRole("button", { name: "Open organization switcher" })).toBeVisible();
}

const openSwitcher = (page: Page) => page.getByRole("button", { name: "Open organization switcher" }).click();

/** The organization in the page's next tokens, with the user's role. */
const organization = async (page: Page) => {
  const { o } = await claims(page.context());
  return o && `${o.slg} ${o.rol}`;
};

async function create(page: Page, name: string) {
  await openSwitcher(page);
  await page.getByRole("button", { name: "Create organization" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("textbox", { name: "Name" }).fill(name);
  await dialog.getByRole("button", { name: "Create organization" }).click();
  await dialog.getByRole("button", { name: "Skip" }).click();
  await expect(page.getByRole("button", { name: "Open organization switcher" })).toContainText(name);
}

async function switchTo(page: Page, name: string) {
  await openSwitcher(page);
  await page.getByRole("dialog").getByRole("button").filter({ hasText: name }).click();
  await expect(page.getByRole("button", { name: "Open organization switcher" })).toContainText(name);
}

test("a user creates organizations and switches between them", async ({ page }) => {
  await signUp(page);
  await newChat(page, "Plans");
  await mountSwitcher(page);
  const [acme, second] = [unique("acme"), unique("second")];
  await create(page, acme);
  expect(await organization(page)).toBe(`${acme} admin`);
  await create(page, second);
  expect(await organization(page)).toBe(`${second} admin`);
  await switchTo(page, acme);
  expect(await organization(page)).toBe(`${acme} admin`);
  // The API accepts these tokens. Chats are the user's in every organization.
  await newChat(page, "Made as a member");
  await page.reload();
  await expect(titles(page)).toHaveText(["Made as a member", "Plans"]);
  expect(await organization(page)).toBe(`${acme} admin`);
  await mountSwitcher(page);
  await switchTo(page, "Personal account");
  expect(await organization(page)).toBeUndefined();
});

test("a member sees the other members and leaves, and the last admin cannot", async ({ page, browser }) => {
  test.setTimeout(120_000);
  const [ada, eve] = [newUser("Ada"), newUser("Eve")];
  const phone = await newWindow(browser);
  await Promise.all([signUp(page, ada), signUp(phone, eve)]);
  const name = unique("acme");
  await mountSwitcher(page);
  await create(page, name);
  const { o } = await claims(page.context());
  const { sub } = await claims(phone.context());
  await clerk(stack(), `/v1/organizations/${o?.id}/memberships`, { user_id: sub, role: "org:member" });

  await phone.reload();
  await mountSwitcher(phone);
  await switchTo(phone, name);
  expect(await organization(phone)).toBe(`${name} member`);
  await openSwitcher(phone);
  await phone.getByRole("button", { name: "Manage" }).click();
  await phone.getByRole("button", { name: "Members" }).click();
  await expect(phone.getByRole("dialog").getByText(ada.email)).toBeVisible();
  await phone.getByRole("button", { name: "General" }).click();
  await leave(phone, name);
  await expect(phone.getByRole("button", { name: "Open organization switcher" })).toContainText("Personal account");
  expect(await organization(phone)).toBeUndefined();

  await openSwitcher(page);
  await page.getByRole("button", { name: "Manage" }).click();
  await leave(page, name);
  await expect(page.getByText("An organization must have an admin.").first()).toBeVisible();
  await phone.context().close();
});

/** Leaves the organization in Clerk's component, which is open. */
async function leave(page: Page, name: string) {
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Leave organization" }).click();
  await dialog.getByRole("textbox").fill(name);
  await dialog.locator("form").getByRole("button", { name: "Leave organization" }).click();
}
