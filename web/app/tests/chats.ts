import { expect, type Page } from "./support.ts";

/** The titles on the screen, from top to bottom. */
export const titles = (page: Page) => page.locator(".chat .title");

/** Creates a chat, and waits until it is confirmed, since leaving a page cancels its requests. */
export async function newChat(page: Page, title?: string) {
  const before = await titles(page).count();
  await page.getByRole("button", { name: "New Chat", exact: true }).click();
  await expect(titles(page)).toHaveCount(before + 1);
  if (title) await rename(page, "New Chat", title);
  await expect(page.locator(".chat[aria-busy=true]")).toHaveCount(0);
}

export async function rename(page: Page, from: string, to: string) {
  await page
    .getByRole("button", { name: `Rename ${from}`, exact: true })
    .first()
    .click();
  await page.getByLabel("Title").fill(to);
  await page.getByRole("button", { name: "Save" }).click();
}

/** Counts how often the dashboard leaves the screen, even for a moment. */
export async function countDisappearances(page: Page): Promise<() => Promise<number>> {
  await page.evaluate(() => {
    const root = document.getElementById("root");
    if (!root) throw new Error("the page has a root");
    const watched = window as unknown as { disappearances: number };
    watched.disappearances = 0;
    new MutationObserver(() => {
      if (!document.querySelector(".dashboard .chats")) watched.disappearances += 1;
    }).observe(root, { childList: true, subtree: true });
  });
  return () => page.evaluate(() => (window as unknown as { disappearances: number }).disappearances);
}
