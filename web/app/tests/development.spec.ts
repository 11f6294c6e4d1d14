import { newPlace, start } from "../../testing/stack.ts";
import { newChat, rename, titles } from "./chats.ts";
import { expect, newUser, signOut, signUp, test } from "./support.ts";

test("in a development build, where StrictMode mounts everything twice, nothing is done twice", async ({ page }) => {
  test.setTimeout(180_000);
  const own = await start({ ...(await newPlace()), environment: { NODE_ENV: "development" } });
  try {
    const messages: string[] = [];
    page.on("console", (message) => messages.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => messages.push(`error: ${error.message}`));
    const [changes, sockets]: [string[], Set<unknown>] = [[], new Set()];
    page.on("request", (request) => {
      if (/^(POST|DELETE)$/.test(request.method()) && request.url().startsWith(own.api)) changes.push(request.url());
    });
    page.on("websocket", (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    });

    await signUp(page, newUser("Ada"), own);
    await newChat(page, "Ada's");
    await rename(page, "Ada's", "Plans");
    await expect(page.getByText("Saving…")).toHaveCount(0);
    await expect(titles(page)).toHaveText(["Plans"]);
    expect(changes).toEqual([`${own.api}/chats`]);
    await expect.poll(() => sockets.size).toBe(1);
    await page.getByRole("link", { name: "Your Profile" }).click();
    await expect(page.getByRole("region", { name: "Profile" })).toContainText("Ada");
    await signOut(page);
    await expect(page).toHaveURL(/\/sign-in/);
    await expect.poll(() => sockets.size).toBe(0);
    await signUp(page, newUser("Eve"), own);
    await expect(page.getByText("No chats yet.")).toBeVisible();

    expect(messages.join("\n"), "React's development build").toContain("React DevTools");
    expect(messages.filter((message) => message.startsWith("error"))).toEqual([]);
  } finally {
    await own.stop();
  }
});
