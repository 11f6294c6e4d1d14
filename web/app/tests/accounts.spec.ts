import { clerk, newPlace, start } from "../../testing/stack.ts";
import { newChat, titles } from "./chats.ts";
import { enter, expect, isAccessible, isSignedIn, newUser, openUserMenu, type Page, signUp, test } from "./support.ts";

/** Records each moment in which chats of one user are beside the name of another. Titles begin with the owner's name. */
async function watchForMixtures(page: Page): Promise<() => Promise<string[]>> {
  await page.evaluate(() => {
    const watched = window as unknown as { mixtures: string[] };
    watched.mixtures = [];
    new MutationObserver(() => {
      const name = document.querySelector("header .name")?.textContent ?? "";
      const shown = [...document.querySelectorAll(".chat .title")].map(({ textContent }) => textContent);
      const foreign = shown.filter((title) => title !== "New Chat" && !name.startsWith(title.split(" ")[0] ?? ""));
      if (name && foreign.length) watched.mixtures.push(`${name}: ${foreign.join()}`);
    }).observe(document.body, { childList: true, characterData: true, subtree: true });
  });
  return () => page.evaluate(() => (window as unknown as { mixtures: string[] }).mixtures);
}

/** Changes the user of a page in Clerk's menu. */
async function switchTo(page: Page, email: string) {
  await openUserMenu(page);
  await page.getByRole("button").filter({ hasText: email }).click();
}

test("two users in one browser switch without a reload, and see only their own data", async ({ page, context }) => {
  test.setTimeout(180_000);
  const own = await start(await newPlace());
  try {
    await clerk(own, "/v1/instance", { single_session_mode: false }, "PATCH");
    const [ada, eve] = [newUser("Ada"), newUser("Eve")];
    await signUp(page, ada, own);
    await newChat(page, "Ada plans");
    await openUserMenu(page);
    await page.getByRole("button", { name: "Add account" }).click();
    await expect(page.getByLabel("Email address")).toBeVisible();
    await isAccessible(page);
    await enter(page, eve.email);
    await isSignedIn(page);
    await expect(page.getByRole("banner")).toContainText(eve.email);
    await expect(page.getByText("No chats yet.")).toBeVisible();
    await newChat(page, "eve plans");
    const mixtures = await watchForMixtures(page);

    await switchTo(page, ada.email);
    await expect(page.getByRole("banner")).toContainText("Ada");
    await expect(titles(page)).toHaveText(["Ada plans"]);
    await switchTo(page, eve.email);
    await expect(titles(page)).toHaveText(["eve plans"]);
    await page.getByRole("link", { name: "Your Profile" }).click();
    await expect(page.getByRole("region", { name: "Profile" })).toContainText(eve.email);
    expect(await mixtures()).toEqual([]);

    // The other tab begins with the user that was active last.
    const other = await context.newPage();
    await other.goto(own.web);
    await expect(titles(other)).toHaveText(["eve plans"]);
    await openUserMenu(other);
    await other.getByRole("button", { name: "Sign out of all accounts" }).click();
    await expect(other).toHaveURL(/\/sign-in/);
    await expect(page).toHaveURL(/\/sign-in/);
  } finally {
    await own.stop();
  }
});
