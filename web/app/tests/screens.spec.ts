import path from "node:path";

import { devices } from "@playwright/test";

import { newChat, rename } from "./chats.ts";
import { expect, hold, IMAGES, isAccessible, type Page, reject, signUp, stack, test } from "./support.ts";

const { viewport, deviceScaleFactor, isMobile, hasTouch } = devices["Pixel 7"];
const DEVICES = {
  light: { colorScheme: "light", viewport: { width: 1024, height: 640 } },
  dark: { colorScheme: "dark", viewport: { width: 1024, height: 640 } },
  phone: { colorScheme: "light", viewport, deviceScaleFactor, isMobile, hasTouch },
} as const;

for (const [device, options] of Object.entries(DEVICES)) {
  test.describe(device, () => {
    test.use({ ...options, reducedMotion: "reduce" } as Parameters<typeof test.use>[0]);

    /** Checks that the screen is accessible, and takes a picture. */
    async function check(page: Page, screen: string) {
      await isAccessible(page);
      await page.screenshot({ path: path.join(IMAGES, `${screen}-${device}.png`), scale: "css" });
    }

    test("pages of errors are accessible", async ({ signedIn: page }) => {
      await page.goto(`${stack().web}/no/such/page`);
      await expect(page.getByRole("heading", { name: "Page not found" })).toBeVisible();
      await isAccessible(page);
      for (const path of ["/chats*", "/profile"]) {
        await page.route(`${stack().api}${path}`, reject(400, "invalid_query", "The query is invalid."));
        await page.goto(stack().web);
        await expect(page.getByRole("alert")).toContainText("The query is invalid.");
        await isAccessible(page);
        await page.unroute(`${stack().api}${path}`);
      }
    });

    test("every screen is accessible", async ({ page, context }) => {
      test.setTimeout(180_000);
      await page.goto(stack().web);
      await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
      await check(page, "sign-in");
      await page.getByRole("link", { name: "Sign up" }).click();
      await expect(page.getByLabel("First name")).toBeVisible();
      await check(page, "sign-up");
      await signUp(page, { firstName: "Ada", email: `ada@${device}.example.com` });
      await check(page, "empty");

      for (const title of ["Groceries", "Notes on the Analytical Engine", "Holidays"]) await newChat(page, title);
      await check(page, "chats");
      await page.getByRole("button", { name: "Rename Holidays" }).click();
      await check(page, "rename");
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "Delete Groceries" }).click();
      await check(page, "delete");
      await page.getByRole("button", { name: "Keep" }).click();

      const other = await context.newPage();
      await other.goto(stack().web);
      await page.getByRole("button", { name: "Rename Holidays" }).click();
      await page.getByLabel("Title").fill("Holidays in July");
      await rename(other, "Holidays", "Holidays in June");
      await expect(page.getByText("renamed to “Holidays in June” elsewhere")).toBeVisible();
      await check(page, "renamed-elsewhere");
      await page.getByRole("button", { name: "Save" }).click();
      await expect(page.getByRole("alert")).toBeVisible();
      await check(page, "conflict");
      await other.close();

      await page.getByRole("link", { name: "Your Profile" }).click();
      await expect(page.getByRole("region", { name: "Profile" })).toBeVisible();
      await check(page, "profile");

      const list = await hold(page, "GET", "/chats*", (route) => route.continue());
      await page.goto(stack().web);
      await list.arrived;
      await expect(page.getByRole("status").filter({ hasText: "Loading your chats" })).toBeVisible();
      await check(page, "loading");
      list.release();
      await context.setOffline(true);
      await expect(page.getByText("You are offline.")).toBeVisible();
      await check(page, "offline");
    });

    test("every page of the dashboard is accessible", async ({ page }) => {
      const { dashboard } = stack();
      await signUp(page, { firstName: "Ada", email: `ada@dashboard-${device}.example.com` });
      await newChat(page, "Groceries");
      for (const name of ["Overview", "Users", "Webhooks", "Data", "Requests"]) {
        await page.goto(dashboard);
        await page.getByRole("link", { name, exact: true }).click();
        await expect(page.getByRole("heading", { name, level: 1 })).toBeVisible();
        await check(page, `dashboard-${name.toLowerCase()}`);
      }
    });
  });
}
