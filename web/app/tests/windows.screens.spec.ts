import { mkdir } from "node:fs/promises";
import path from "node:path";

import sharp from "sharp";

import { newChat, titles } from "./chats.ts";
import { expect, IMAGES, newWindow, type Page, signIn, signUp, test } from "./support.ts";

const WINDOW = { width: 480, height: 440 };
const BAR = 28;
const GAP = 16;
const WIDTH = 2 * WINDOW.width + 3 * GAP;
const HEIGHT = WINDOW.height + BAR + 2 * GAP;

/** Two windows without their content. */
const frame = (left: number) => `
  <rect x="${left - 1}" y="${GAP - 1}" width="${WINDOW.width + 2}" height="${WINDOW.height + BAR + 2}" rx="8" fill="#8b93a1"/>
  <rect x="${left}" y="${GAP}" width="${WINDOW.width}" height="${BAR + 8}" rx="8" fill="#e4e7ec"/>
  ${[14, 32, 50].map((x) => `<circle cx="${left + x}" cy="${GAP + BAR / 2}" r="5" fill="#aab1bd"/>`).join("")}`;
const POSITIONS = [GAP, 2 * GAP + WINDOW.width] as const;
const BACKGROUND = Buffer.from(
  `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}">
    <rect width="100%" height="100%" fill="#f6f7f9"/>${POSITIONS.map(frame).join("")}</svg>`,
);

test("two windows of one user are in step, in a picture of at most 1 MB", async ({ browser }) => {
  const options = { viewport: WINDOW, reducedMotion: "reduce" } as const;
  const [left, right] = [await newWindow(browser, options), await newWindow(browser, options)];
  const frames: Buffer[] = [];
  const delay: number[] = [];
  const take = async (ms: number) => {
    const contents = await Promise.all([left, right].map((page) => page.screenshot()));
    const layers = contents.map((input, index) => ({ input, left: POSITIONS[index] ?? 0, top: GAP + BAR }));
    frames.push(await sharp(BACKGROUND).composite(layers).png().toBuffer());
    delay.push(ms);
  };
  const rename = async (page: Page, title: string) => {
    await page.getByRole("button", { name: "Rename New Chat" }).click();
    await page.getByLabel("Title").fill("");
    for (const letter of title) {
      await page.keyboard.type(letter);
      await take(90);
    }
    await page.keyboard.press("Enter");
  };

  const user = await signUp(left, { firstName: "Ada", email: "ada@windows.example.com" });
  await signIn(right, user);
  await take(1_200);
  await newChat(left);
  await expect(titles(right)).toHaveText(["New Chat"]);
  await take(900);
  await rename(left, "Groceries");
  await expect(titles(right)).toHaveText(["Groceries"]);
  await take(1_500);
  await newChat(right);
  await expect(titles(left)).toHaveText(["New Chat", "Groceries"]);
  await take(900);
  await rename(right, "Holidays");
  await expect(titles(left)).toHaveText(["Holidays", "Groceries"]);
  await take(1_500);
  await left.getByRole("button", { name: "Delete Groceries" }).click();
  await take(900);
  await left.getByRole("group").getByRole("button", { name: "Delete" }).click();
  await expect(titles(right)).toHaveText(["Holidays"]);
  await take(2_500);
  await Promise.all([left, right].map((page) => page.context().close()));

  await mkdir(IMAGES, { recursive: true });
  const picture = sharp(frames, { join: { animated: true } }).webp({ loop: 0, delay, quality: 80 });
  const { size } = await picture.toFile(path.join(IMAGES, "live.webp"));
  expect(size).toBeLessThanOrEqual(1_000_000);
  expect((await sharp(path.join(IMAGES, "live.webp")).metadata()).pages).toBe(frames.length);
});
