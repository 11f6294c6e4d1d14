import { test as plain } from "@playwright/test";
import { clerk } from "../../testing/stack.ts";
import { securityHeaders } from "../headers.ts";
import { claims, expect, inject, signUp, stack, test } from "./support.ts";

test("every page and file has the security headers", async ({ page }) => {
  const expected = Object.entries(securityHeaders({ apiUrl: stack().api, liveUrl: stack().live }));
  const paths = ["/", "/profile", "/sign-in", "/icon.svg", "/no/such/page"];
  const scripts = await page.request.get(stack().web).then((response) => response.text());
  for (const path of [...paths, ...[...scripts.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? "")]) {
    const response = await page.request.get(`${stack().web}${path}`);
    expect(response.status(), path).toBe(200);
    for (const [name, value] of expected)
      expect(response.headers()[name.toLowerCase()], `${path}: ${name}`).toBe(value);
  }
});

test("no page has an inline script or style", async ({ page }) => {
  const html = await page.request.get(stack().web).then((response) => response.text());
  expect(html).not.toMatch(/<script(?![^>]* src=)|<style| style=| on[a-z]+=/i);
});

test("a picture from another host is shown", async ({ page, context, requestsElsewhere }) => {
  const ada = await signUp(page);
  const picture = "https://img.clerk.com/picture.png";
  const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
  // Clerk's components add the width.
  await context.route(`${picture}*`, (route) =>
    route.fulfill({ contentType: "image/png", body: Buffer.from(pixel, "base64") }),
  );
  const { sub } = await claims(context);
  await clerk(stack(), `/v1/users/${sub}`, { image_url: picture }, "PATCH");
  await page.goto(`${stack().web}/profile`);
  await expect(page.getByRole("region", { name: "Profile" })).toContainText(ada.email);
  const image = page.locator("img.picture");
  await expect(image).toHaveAttribute("src", picture);
  await expect.poll(() => image.evaluate((element) => (element as HTMLImageElement).naturalWidth)).toBe(1);
  expect(requestsElsewhere.splice(0).filter((url) => !url.startsWith(picture))).toEqual([]);
});

test("the policy blocks foreign scripts, inline scripts, connections and frames", async ({
  page,
  requestsElsewhere,
  violations,
}) => {
  await signUp(page);
  expect(violations).toEqual([]);
  await inject(page, [["img", { src: "http://evil.test/picture.png" }]]);
  await expect
    .poll(() => [...violations].sort())
    .toEqual([
      "connect-src https://evil.test/",
      "frame-src https://evil.test",
      "img-src http://evil.test/picture.png",
      "script-src-elem https://evil.test/script.js",
      "script-src-elem inline",
    ]);
  expect(await page.evaluate(() => "isInjected" in window)).toBe(false);
  violations.length = 0;
  // Chromium reports requests that it blocks.
  expect(requestsElsewhere.splice(0).filter((url) => !new URL(url).hostname.endsWith("evil.test"))).toEqual([]);
});

test("no page can be framed, not even by this origin", async ({ page }) => {
  const framing = `${stack().web}/framing`;
  await page.route(framing, (route) => route.fulfill({ contentType: "text/html", body: '<iframe src="/"></iframe>' }));
  await page.goto(framing);
  await expect.poll(() => page.frames()[1]?.url()).toMatch(/^chrome-error:/);
});

plain("with Clerk, the policy allows what its components need, and nothing more", () => {
  const headers = securityHeaders({
    apiUrl: "https://api.example.com/v1",
    liveUrl: "wss://live.example.com/v1",
    publishableKey: `pk_live_${Buffer.from("clerk.example.com$").toString("base64")}`,
  });
  const policy = Object.fromEntries(
    (headers["Content-Security-Policy"] ?? "").split("; ").map((part) => {
      const [directive = "", ...sources] = part.split(" ");
      return [directive, sources];
    }),
  );
  expect(policy["script-src"]).toEqual([
    "'self'",
    "https://clerk.example.com",
    "https://challenges.cloudflare.com",
    "https://*.protect.clerk.com",
  ]);
  expect(policy["connect-src"]).toEqual([
    "'self'",
    "https://api.example.com",
    "wss://live.example.com",
    "https://clerk.example.com",
    "https://*.protect.clerk.com:*",
  ]);
  expect(policy["frame-src"]).toEqual(["https://challenges.cloudflare.com", "https://*.protect.clerk.com"]);
  expect(policy["worker-src"]).toEqual(["'self'", "blob:"]);
  expect(policy["style-src"]).toEqual(["'self'", "'unsafe-inline'"]);
  expect(policy["frame-ancestors"]).toEqual(["'none'"]);
});

plain("without live updates, the policy allows no WebSocket", () => {
  for (const liveUrl of [undefined, ""]) {
    const policy = securityHeaders({ apiUrl: "https://api.example.com", liveUrl })["Content-Security-Policy"];
    expect(policy).toContain("connect-src 'self' https://api.example.com;");
  }
});

plain("the build rejects a publishable key without a host", () => {
  for (const publishableKey of ["pk_live_", "pk_test_Y2xlcms", `pk_test_${btoa("evil.test; script-src *$")}`, "?"]) {
    expect(() => securityHeaders({ publishableKey }), publishableKey).toThrow();
  }
});

plain("behind a proxy, the policy has the proxy's origin in place of the key's", () => {
  const publishableKey = `pk_live_${btoa("clerk.example.com$")}`;
  const policyOf = (proxyUrl: string) => securityHeaders({ publishableKey, proxyUrl })["Content-Security-Policy"];
  expect(policyOf("https://app.example.com/__clerk")).toContain("script-src 'self' https://app.example.com https://");
  expect(policyOf("/clerk")).toContain("script-src 'self';");
});
