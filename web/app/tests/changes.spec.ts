import { newChat, rename, titles } from "./chats.ts";
import { expect, hold, reject, stack, test, token } from "./support.ts";

test("a new chat is listed before the response, and stays", async ({ signedIn: page }) => {
  const request = await hold(page, "POST", "/chats", (route) => route.continue());
  await page.getByRole("button", { name: "New Chat", exact: true }).click();
  await request.arrived;
  await expect(titles(page)).toHaveText(["New Chat"]);
  await expect(page.getByText("Saving…")).toBeVisible();
  const item = await page.locator(".chat").elementHandle();
  request.release();
  await expect(page.getByText("Saving…")).toHaveCount(0);
  // The same element: it was not removed and added again.
  expect(await item?.evaluate((element) => element.isConnected)).toBe(true);
});

test("a new chat that the server rejects is rolled back, and the reason is shown", async ({ signedIn: page }) => {
  const request = await hold(page, "POST", "/chats", reject(422, "invalid_body", "title: is not for you."));
  await page.getByRole("button", { name: "New Chat", exact: true }).click();
  await request.arrived;
  await expect(titles(page)).toHaveCount(1);
  request.release();
  await expect(page.getByRole("alert")).toContainText("Couldn't create the chat. title: is not for you.");
  await expect(titles(page)).toHaveCount(0);
});

test("a new title is shown before the response, and rolled back if the server rejects it", async ({
  signedIn: page,
}) => {
  await newChat(page);
  const request = await hold(page, "PATCH", "/chats/*", reject(422, "invalid_body", "title: is not for you."));
  await rename(page, "New Chat", "Plans");
  await request.arrived;
  await expect(titles(page)).toHaveText(["Plans"]);
  request.release();
  await expect(page.getByRole("alert")).toContainText("Couldn't rename the chat. title: is not for you.");
  await expect(titles(page)).toHaveText(["New Chat"]);
  await page.getByRole("button", { name: "Dismiss" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
});

test("a conflict between two tabs that rename the same chat can be resolved either way", async ({
  signedIn: page,
  context,
}) => {
  await newChat(page, "Before");
  const other = await context.newPage();
  await other.goto(stack().web);
  await expect(titles(other)).toHaveText(["Before"]);

  const conflict = async (mine: string, theirs: string, seen: string) => {
    await other.getByRole("button", { name: `Rename ${seen}` }).click();
    await other.getByLabel("Title").fill(mine);
    await rename(page, seen, theirs);
    // What is typed stays in the form.
    await expect(other.getByText(`renamed to “${theirs}” elsewhere`)).toBeVisible();
    await expect(other.getByLabel("Title")).toHaveValue(mine);
    await other.getByRole("button", { name: "Save" }).click();
    await expect(other.getByRole("alert")).toContainText(`renamed to “${theirs}” elsewhere`);
    await expect(titles(other)).toHaveText([theirs]);
  };
  await conflict("Mine", "Theirs", "Before");
  await other.getByRole("button", { name: "Use “Mine”" }).click();
  await expect(titles(other)).toHaveText(["Mine"]);
  await expect(other.getByText("Saving…")).toHaveCount(0);
  await expect(titles(page)).toHaveText(["Mine"]);

  await conflict("Mine again", "Theirs again", "Mine");
  await other.getByRole("button", { name: "Keep “Theirs again”" }).click();
  await expect(other.getByRole("alert")).toHaveCount(0);
  await other.reload();
  await expect(titles(other)).toHaveText(["Theirs again"]);
});

test("five hundred chats are listed page by page", async ({ signedIn: page, context }) => {
  const authorization = `Bearer ${await token(context)}`;
  const numbers = Array.from({ length: 500 }, (_, index) => index + 1);
  const ids = numbers.map((number) => `018f0000-0000-7000-8000-${String(number).padStart(12, "0")}`);
  while (numbers.length > 0) {
    const some = numbers.splice(0, 8);
    await Promise.all(
      some.map(async (number) => {
        const answer = await context.request.post(`${stack().api}/chats`, {
          headers: { authorization },
          data: { id: ids[number - 1], title: `Chat ${number}` },
        });
        expect(answer.status()).toBe(201);
      }),
    );
  }
  await page.reload();
  for (let shown = 50; shown < 500; shown += 50) {
    await expect(titles(page)).toHaveCount(shown);
    await page.getByRole("button", { name: "Load more" }).click();
  }
  await expect(titles(page)).toHaveCount(500);
  await expect(page.getByRole("button", { name: "Load more" })).toHaveCount(0);
  const chats: { id: string; title: string; createdAt: number }[] = [];
  let cursor = "";
  do {
    const answer = await context.request.get(`${stack().api}/chats?limit=100${cursor}`, { headers: { authorization } });
    const page = await answer.json();
    chats.push(...page.chats);
    cursor = page.cursor ? `&cursor=${encodeURIComponent(page.cursor)}` : "";
  } while (cursor);
  chats.sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1));
  expect(chats).toHaveLength(500);
  expect(await titles(page).allTextContents()).toEqual(chats.map((chat) => chat.title));
});
