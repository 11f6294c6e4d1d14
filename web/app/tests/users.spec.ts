import { newChat, rename, titles } from "./chats.ts";
import { enter, expect, isSignedIn, newUser, signIn, signOut, signUp, stack, submit, test } from "./support.ts";

test("from signing up to signing out", async ({ page }) => {
  const ada = await signUp(page);
  await expect(page.getByText("No chats yet. Create your first chat!")).toBeVisible();
  await expect(page.getByRole("banner")).toContainText("Ada");

  await newChat(page);
  await newChat(page, "Plans");
  await expect(titles(page)).toHaveText(["Plans", "New Chat"]);
  await expect(page.getByText("Saving…")).toHaveCount(0);
  await page.reload();
  await expect(titles(page)).toHaveText(["Plans", "New Chat"]);

  await page.getByRole("button", { name: "Delete New Chat" }).click();
  await page.getByRole("button", { name: "Keep" }).click();
  await page.getByRole("button", { name: "Delete New Chat" }).click();
  await page.getByRole("group", { name: "Delete New Chat?" }).getByRole("button", { name: "Delete" }).click();
  await expect(titles(page)).toHaveText(["Plans"]);

  await page.getByRole("link", { name: "Your Profile" }).click();
  await expect(page.getByRole("region", { name: "Profile" })).toContainText(ada.email);
  await page.getByRole("button", { name: "Refresh" }).click();
  await expect(page.getByText("Your profile is up to date.")).toBeVisible();

  await signOut(page);
  await expect(page).toHaveURL(/\/sign-in/);
  // The data is no longer accessible.
  await page.goto(`${stack().web}/profile`);
  await expect(page).toHaveURL(/\/sign-in/);
});

test("a user who signs in again sees their chats, and the next user does not", async ({ page }) => {
  const ada = await signUp(page);
  await newChat(page, "Ada's");
  await signOut(page);
  await expect(page).toHaveURL(/\/sign-in/);
  await signUp(page, newUser("Eve"));
  await expect(page.getByText("No chats yet.")).toBeVisible();
  await signOut(page);
  await expect(page).toHaveURL(/\/sign-in/);
  await signIn(page, ada);
  await expect(titles(page)).toHaveText(["Ada's"]);
});

test("a user who opens a page signed out is on it after signing in, and on no other site", async ({ page }) => {
  const ada = await signUp(page);
  for (const [opened, expected] of [
    ["/profile", "/profile"],
    ["/sign-in?redirect_url=%2Fprofile", "/profile"],
    ["/sign-in?redirect_url=https%3A%2F%2Fevil.example%2Fprofile", "/"],
    ["/sign-in?redirect_url=%2F%2Fevil.example%2Fprofile", "/"],
  ] as const) {
    await signOut(page);
    await expect(page).toHaveURL(/\/sign-in/);
    await page.goto(`${stack().web}${opened}`);
    await enter(page, ada.email);
    await isSignedIn(page);
    await expect(page).toHaveURL(`${stack().web}${expected}`);
  }
});

test("two users never see each other's chats", async ({ browser }) => {
  const [ada, eve] = await Promise.all([browser.newContext(), browser.newContext()]);
  const [hers, others] = await Promise.all([ada.newPage(), eve.newPage()]);
  await Promise.all([signUp(hers, newUser("Ada")), signUp(others, newUser("Eve"))]);
  await Promise.all([newChat(hers, "Ada's"), newChat(others, "Eve's")]);
  await Promise.all([hers.reload(), others.reload()]);
  await expect(titles(hers)).toHaveText(["Ada's"]);
  await expect(titles(others)).toHaveText(["Eve's"]);
  await Promise.all([ada.close(), eve.close()]);
});

test("unknown email addresses at sign-in and known ones at sign-up are errors", async ({ page }) => {
  const ada = await signUp(page);
  await signOut(page);
  await enter(page, "unknown@example.com");
  await expect(page.getByText("No account has the email address unknown@example.com.").first()).toBeVisible();
  await page.getByRole("link", { name: "Sign up" }).click();
  await page.getByLabel("Email address").fill(ada.email);
  await submit(page);
  await expect(page.getByText(`An account has the email address ${ada.email} already.`).first()).toBeVisible();
});

test("the keyboard is enough for everything", async ({ signedIn: page }) => {
  const press = async (name: string) => {
    const button = page.getByRole("button", { name });
    for (let tabs = 0; !(await button.evaluate((element) => element === document.activeElement)); tabs += 1) {
      expect(tabs, `${name} can be reached`).toBeLessThan(20);
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Enter");
  };
  await press("New Chat");
  await press("Rename New Chat");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("Typed");
  await page.keyboard.press("Enter");
  await expect(titles(page)).toHaveText(["Typed"]);
  await expect(page.getByRole("button", { name: "Rename Typed" })).toBeFocused();
  await page.keyboard.press("Enter");
  await page.keyboard.type("not this");
  await page.keyboard.press("Escape");
  await expect(titles(page)).toHaveText(["Typed"]);
  await expect(page.getByRole("button", { name: "Rename Typed" })).toBeFocused();
});

test("titles that the API rejects are not sent, and markup is shown as text", async ({ signedIn: page }) => {
  await newChat(page);
  await rename(page, "New Chat", "   ");
  await expect(titles(page)).toHaveText(["New Chat"]);
  await rename(page, "New Chat", "<b>bold</b>");
  await expect(titles(page)).toHaveText(["<b>bold</b>"]);
});
