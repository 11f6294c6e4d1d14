import { readFile } from "node:fs/promises";
import path from "node:path";

import {
  enter,
  expect,
  isSignedIn,
  newUser,
  newWindow,
  openUserMenu,
  type Page,
  signIn,
  signOut,
  signUp,
  stack,
  submit,
  test,
} from "./support.ts";

/** Opens the user's account in Clerk's component. */
async function manageAccount(page: Page) {
  await openUserMenu(page);
  await page.getByRole("button", { name: "Manage account" }).click();
  await expect(page.getByRole("heading", { name: "Profile details" })).toBeVisible();
}

async function enterCode(page: Page, code: string) {
  const field = page.getByRole("textbox", { name: "Enter verification code" });
  // It empties itself after a wrong code.
  await expect(field).toHaveValue("");
  await field.pressSequentially(code);
}

test("test email addresses need Clerk's test code to sign up and to sign in", async ({ page }) => {
  const email = newUser("Ada").email.replace("@", "+clerk_test@");
  await page.goto(`${stack().web}/sign-up`);
  await page.getByLabel("First name").fill("Ada");
  await page.getByLabel("Email address").fill(email);
  await submit(page);
  await enterCode(page, "111111");
  await expect(page.getByText("The code is wrong.").first()).toBeVisible();
  await enterCode(page, "424242");
  await isSignedIn(page);
  await expect(page.getByRole("banner")).toContainText("Ada");

  await signOut(page);
  await enter(page, email);
  await enterCode(page, "424242");
  await isSignedIn(page);
});

test("a name that changes in Clerk's component reaches the API", async ({ signedIn: page }) => {
  await manageAccount(page);
  await page.getByRole("button", { name: "Update profile" }).click();
  await page.getByLabel("First name").fill("Augusta");
  await page.getByLabel("Last name").fill("King");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("button", { name: "Update profile" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("banner")).toContainText("Augusta King");
  await page.getByRole("link", { name: "Your Profile" }).click();
  await expect(page.getByRole("region", { name: "Profile" })).toContainText("Augusta King");
});

test("a picture that a user uploads in Clerk's component is shown", async ({ signedIn: page }) => {
  const shown = page.getByRole("banner").getByRole("img", { name: "logo" });
  await expect(shown).toHaveAttribute("src", /avatar_placeholder/);
  await manageAccount(page);
  await page.getByRole("button", { name: "Update profile" }).click();
  const buffer = await readFile(path.join(import.meta.dirname, "../../../docs/images/chats-light.png"));
  await page.locator("input[type=file]").setInputFiles({ name: "picture.png", mimeType: "image/png", buffer });
  await expect(page.getByRole("dialog").getByRole("img", { name: "logo" }).first()).toHaveAttribute(
    "src",
    /\/clerk\/pictures\//,
  );
  await page.keyboard.press("Escape");
  await expect(shown).toHaveAttribute("src", /\/clerk\/pictures\//);
  await expect.poll(() => shown.evaluate((image) => (image as HTMLImageElement).naturalWidth)).toBeGreaterThan(1);
  // Profiles accept only https URLs, and the local stack has no TLS.
  await page.getByRole("link", { name: "Your Profile" }).click();
  await expect(page.getByRole("region", { name: "Profile" })).toBeVisible();
  await expect(page.locator("img.picture")).toHaveCount(0);
});

test("a user signs another browser out in Clerk's component", async ({ page, browser }) => {
  const ada = await signUp(page);
  const phone = await newWindow(browser);
  await signIn(phone, ada);
  await manageAccount(page);
  await page.getByRole("button", { name: "Security" }).click();
  await page.getByRole("menuitem", { name: "Open menu" }).click();
  await page.getByRole("menuitem", { name: "Sign out of device" }).click();
  await expect(phone).toHaveURL(/\/sign-in/);
  await page.keyboard.press("Escape");
  await isSignedIn(page);
  await phone.context().close();
});

test("a user deletes their account in Clerk's component", async ({ page }) => {
  const ada = await signUp(page);
  await manageAccount(page);
  await page.getByRole("button", { name: "Security" }).click();
  await page.getByRole("button", { name: "Delete account" }).click();
  await page.getByLabel('Type "Delete account" below to continue.').fill("Delete account");
  await page.getByRole("button", { name: "Delete account" }).last().click();
  await expect(page).toHaveURL(/\/sign-in/);
  await enter(page, ada.email);
  await expect(page.getByText(`No account has the email address ${ada.email}.`).first()).toBeVisible();
});

test("a second user of the same tab sees nothing of the first", async ({ page }) => {
  await signUp(page);
  await page.evaluate(() => {
    (window as unknown as { isSamePage: boolean }).isSamePage = true;
  });
  await signOut(page);
  await expect(page).toHaveURL(/\/sign-in/);
  const eve = newUser("Eve");
  await page.getByRole("link", { name: "Sign up" }).click();
  await page.getByLabel("First name").fill(eve.firstName);
  await page.getByLabel("Email address").fill(eve.email);
  await submit(page);
  await isSignedIn(page);
  await expect(page.getByRole("banner")).toContainText("Eve");
  await page.getByRole("link", { name: "Your Profile" }).click();
  await expect(page.getByRole("region", { name: "Profile" })).toContainText(eve.email);
  expect(await page.evaluate(() => "isSamePage" in window)).toBe(true);
});
