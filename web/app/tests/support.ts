import { randomUUID } from "node:crypto";
import path from "node:path";

import AxeBuilder from "@axe-core/playwright";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  test as base,
  expect,
  type Page,
  type Route,
} from "@playwright/test";

import type { Stack } from "../../testing/stack.ts";

export { expect, type Page };

const LOCAL_HOSTS = ["localhost", "127.0.0.1"];

type Running = Omit<Stack, "stop">;

/** The stack that all tests share. */
export function stack(): Running {
  const running = process.env["STACK"];
  if (!running) throw new Error("playwright.config.ts starts the stack");
  return JSON.parse(running) as Running;
}

/** A user with a unique email address. */
export function newUser(firstName: string) {
  return { firstName, email: `${firstName.toLowerCase()}-${randomUUID()}@example.com` };
}

/** The pictures' folder. With UPDATE_IMAGES, it is that of the documents. */
export const IMAGES = path.resolve(
  import.meta.dirname,
  process.env["UPDATE_IMAGES"] ? "../../../docs/images" : "../test-results/images",
);

/** A window with a session of its own, as on another device. */
export async function newWindow(browser: Browser, options: BrowserContextOptions = {}): Promise<Page> {
  return (await browser.newContext(options)).newPage();
}

/** Signs a user up with Clerk's component, and waits until the first page has loaded. */
export async function signUp(page: Page, user = newUser("Ada"), { web } = stack()) {
  await page.goto(`${web}/sign-up`);
  await page.getByLabel("First name").fill(user.firstName);
  await page.getByLabel("Email address").fill(user.email);
  await submit(page);
  await isSignedIn(page);
  return user;
}

/** Signs a user in, and waits until the first page has loaded. */
export async function signIn(page: Page, { email }: { email: string }): Promise<void> {
  await page.goto(stack().web);
  await enter(page, email);
  await isSignedIn(page);
}

/** Enters an email address in Clerk's component on the page. */
export async function enter(page: Page, email: string) {
  await page.getByLabel("Email address").fill(email);
  await submit(page);
}

export const submit = (page: Page) => page.getByRole("button", { name: "Continue", exact: true }).click();

/** Waits until the first page has loaded. */
export async function isSignedIn(page: Page) {
  await expect(page.getByRole("navigation", { name: "Pages" })).toBeVisible();
  await expect(page.locator(".spinner")).toHaveCount(0);
}

/** Adds what the content security policy must block, with `more` elements by tag and attributes. */
export const inject = (page: Page, more: [tag: string, attributes: object][] = []) =>
  page.evaluate((more) => {
    const add = (tag: string, attributes: object) =>
      document.body.append(Object.assign(document.createElement(tag), attributes));
    add("script", { textContent: "window.isInjected = true" });
    add("script", { src: "https://evil.test/script.js" });
    add("iframe", { src: "https://evil.test/" });
    for (const [tag, attributes] of more) add(tag, attributes);
    void fetch("https://evil.test/").catch(() => {});
  }, more);

/** Opens the menu of Clerk's component for the user. */
export const openUserMenu = (page: Page) => page.getByRole("button", { name: "Open user menu" }).click();

/** Signs the user out with Clerk's component. */
export async function signOut(page: Page) {
  await openUserMenu(page);
  await page.getByRole("button", { name: "Sign out" }).click();
}

/** Checks a page with axe-core, and checks that nothing is wider than the screen. */
export async function isAccessible(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(beyond, "nothing is wider than the screen").toBeLessThanOrEqual(0);
}

/** Every test fails on a violation of the content security policy, and on a request that leaves the machine. */
export const test = base.extend<{ requestsElsewhere: string[]; signedIn: Page; violations: string[] }>({
  requestsElsewhere: [
    async ({ browser, context }, use) => {
      const [urls, missing]: [string[], string[]] = [[], []];
      const note = (request: { url(): string }) => {
        const { hostname, protocol } = new URL(request.url());
        if (/^(http|ws)s?:$/.test(protocol) && !LOCAL_HOSTS.includes(hostname)) urls.push(request.url());
      };
      const watch = async (watched: BrowserContext) => {
        watched.on("request", note);
        watched.on("page", (page) => page.on("websocket", note));
        watched.on("response", (response) => {
          if (response.status() === 404 && response.url().includes("/clerk/")) missing.push(response.url());
        });
        // Clerk's telemetry omits automated browsers.
        await watched.addInitScript(() =>
          Object.defineProperty(Navigator.prototype, "webdriver", { get: () => false }),
        );
      };
      await watch(context);
      browser.on("context", watch);
      await use(urls);
      browser.off("context", watch);
      expect(urls, "no request leaves the machine").toEqual([]);
      expect(missing, "the development Clerk has what Clerk's SDK requests").toEqual([]);
    },
    { auto: true },
  ],
  violations: [
    async ({ context }, use) => {
      const violations: string[] = [];
      await watchForViolations(context, violations);
      await use(violations);
      expect(violations, "the content security policy allows what the application does").toEqual([]);
    },
    { auto: true },
  ],
  signedIn: async ({ page }, use) => {
    await signUp(page);
    await use(page);
  },
});

/** Records the violations of the content security policy on every page of a context. */
export async function watchForViolations(context: BrowserContext, violations: string[]): Promise<void> {
  await context.exposeBinding("noteViolation", (_, violation: string) => violations.push(violation));
  await context.addInitScript(() => {
    const { noteViolation } = window as unknown as { noteViolation: (violation: string) => void };
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) =>
      noteViolation(`${effectiveDirective} ${blockedURI}`),
    );
  });
}

/** A session token of the signed-in user, requested as the application does. */
export async function token(context: BrowserContext, { web } = stack()): Promise<string> {
  const client = await (await context.request.get(`${web}/clerk/v1/client`)).json();
  const session = client.response.last_active_session_id;
  return (await (await context.request.post(`${web}/clerk/v1/client/sessions/${session}/tokens`)).json()).jwt;
}

interface Claims {
  readonly sub: string;
  readonly sid: string;
  /** The active organization, with the user's role. */
  readonly o?: { readonly id: string; readonly slg: string; readonly rol: string };
}

/** The claims of the signed-in user's session token. */
export async function claims(context: BrowserContext, running = stack()): Promise<Claims> {
  return JSON.parse(Buffer.from((await token(context, running)).split(".")[1] ?? "", "base64url").toString());
}

/** Holds requests of a method until `release` is called. `arrived` resolves when one has arrived. */
export async function hold(page: Page, method: string, path: string, go: (route: Route) => Promise<void>) {
  const held = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  await page.route(`${stack().api}${path}`, async (route) => {
    if (route.request().method() !== method) return route.fallback();
    arrived.resolve();
    await held.promise;
    await go(route);
  });
  return { arrived: arrived.promise, release: held.resolve };
}

export const reject = (status: number, code: string, detail: string) => (route: Route) =>
  route.fulfill({
    status,
    headers: { "access-control-allow-origin": "*", "content-type": "application/problem+json" },
    body: JSON.stringify({ type: "about:blank", title: "No", status, detail, code }),
  });
