import AxeBuilder from "@axe-core/playwright";
import { test as plain } from "@playwright/test";

import { securityHeaders } from "../../app/headers.ts";
import { inject, watchForViolations } from "../../app/tests/support.ts";
import { expect, newChat, type Page, signUp, stack, test } from "./support.ts";

async function checkAccessibility(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
}

test("every page is accessible", async ({ page }) => {
  await page.goto(`${stack().web}/sign-in`);
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await checkAccessibility(page);
  await page.getByRole("link", { name: "Sign up" }).click();
  await expect(page.getByLabel("First name")).toBeVisible();
  await checkAccessibility(page);
  await signUp(page);
  await checkAccessibility(page);
  await newChat(page, "Plans");
  await checkAccessibility(page);
  await page.getByRole("button", { name: "Rename Plans" }).click();
  await checkAccessibility(page);
});

test("pages have the content security policy of the other application, with a nonce for each response", async ({
  request,
}) => {
  const { "Content-Security-Policy": policy = "", ...others } = securityHeaders({
    apiUrl: stack().api,
    liveUrl: stack().live,
  });
  const nonces = new Set<string>();
  for (const path of ["/", "/sign-in", "/sign-up", "/sign-in", "/dashboard", "/no/such/page"]) {
    const response = await request.get(`${stack().web}${path}`);
    const sent = response.headers()["content-security-policy"] ?? "";
    const [source = "", nonce = ""] = /'nonce-([^']+)' /.exec(sent) ?? [];
    expect(sent.replace(source, "")).toBe(policy);
    nonces.add(nonce);
    for (const [name, value] of Object.entries(others)) expect(response.headers()[name.toLowerCase()]).toBe(value);
    for (const [script, sent] of (await response.text()).matchAll(
      /<script[^>]* nonce="([^"]*)"|<script(?![^>]* nonce=)/g,
    ))
      expect(sent, script).toBe(nonce);
  }
  expect(nonces.size).toBe(6);
});

test("requests to another host, and requests of other sites, do not reach Next.js", async ({ request }) => {
  const others = [{ host: "evil.test" }, { origin: "http://evil.test" }, { "sec-fetch-site": "cross-site" }];
  for (const headers of others as Record<string, string>[]) {
    const response = await request.get(`${stack().web}/sign-in`, { headers });
    expect(response.status(), JSON.stringify(headers)).toBe(403);
  }
});

plain("the policy blocks scripts without the nonce, and no page can be framed", async ({ page, context }) => {
  const violations: string[] = [];
  await watchForViolations(context, violations);
  await signUp(page);
  await inject(page);
  await expect
    .poll(() => [...violations].sort())
    .toEqual([
      "connect-src https://evil.test/",
      "frame-src https://evil.test",
      "script-src-elem https://evil.test/script.js",
      "script-src-elem inline",
    ]);
  expect(await page.evaluate(() => "isInjected" in window)).toBe(false);

  const framing = `${stack().web}/framing`;
  await page.route(framing, (route) =>
    route.fulfill({ contentType: "text/html", body: '<iframe src="/sign-in"></iframe>' }),
  );
  await page.goto(framing);
  await expect.poll(() => page.frames()[1]?.url()).toMatch(/^chrome-error:/);
});
