import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

import { expect, type Page, signUp, stack, test } from "./support.ts";

/** A web server on another port of this machine, for the page of an attacker. */
async function otherPort(): Promise<{ server: Server; origin: string }> {
  const server = createServer((_, response) => response.setHeader("content-type", "text/html").end("<p>other</p>"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://localhost:${(server.address() as AddressInfo).port}` };
}

type Init = Pick<RequestInit, "credentials" | "headers" | "method" | "mode"> & { body?: string };

/** The type, status and body of a response as a page sees them, or that the request is blocked. */
async function sees(page: Page, url: string, init: Init = {}): Promise<string> {
  return page.evaluate(
    async ([url, init]) => {
      try {
        const response = await fetch(url, init);
        return `${response.type} ${response.status} ${await response.text()}`;
      } catch {
        return "blocked";
      }
    },
    [url, init] as const,
  );
}

test("a page of another port can neither read nor call nor change anything", async ({ page, context }) => {
  const ada = await signUp(page);
  const { api, clerk, dashboard, data, database, web } = stack();
  const key = /aws_access_key_id = (\S+)/.exec(await readFile(path.join(data, "aws-credentials"), "utf8"))?.[1];
  const { server, origin } = await otherPort();
  const other = await context.newPage();
  const statuses: number[] = [];
  other.on("response", (response) => {
    if (!response.url().startsWith(origin)) statuses.push(response.status());
  });
  try {
    await other.goto(origin);
    const json = { "content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.ListTables" };
    const authorization = `AWS4-HMAC-SHA256 Credential=${key}/20260101/us-east-1/dynamodb/aws4_request, Signature=0`;
    const urls = [
      `${api}/profile`,
      `${api}/.rt/profile/2018-06-01/runtime/invocation/next`,
      `${api}/2015-03-31/functions/profile/invocations`,
      `${api}/lambda-url/clerk-webhook`,
      `${clerk}/.well-known/jwks.json`,
      `${clerk}/v1/users`,
      dashboard,
      `${dashboard}/users`,
      `${dashboard}/webhooks/send`,
      database,
      web,
      `${web}/clerk/v1/client`,
      `${web}/clerk/v1/client/sign_ups`,
    ];
    for (const url of urls) {
      expect(await sees(other, url, { credentials: "include" }), url).toBe("blocked");
      expect(await sees(other, url, { method: "POST", body: "{}" }), url).toBe("blocked");
    }
    for (const headers of [json, { ...json, authorization }]) {
      expect(await sees(other, database, { method: "POST", headers, body: "{}" })).toBe("blocked");
    }
    const patch = { method: "PATCH", headers: { authorization: "Bearer x" }, body: "{}" };
    expect(await sees(other, `${api}/profile`, patch)).toBe("blocked");

    // Without CORS a page sees no response, but its request is sent.
    const blind = { method: "POST", mode: "no-cors", credentials: "include" } as const;
    for (const url of urls) await sees(other, url, { ...blind, body: "email_address=eve@example.com" });
    expect(new Set(statuses)).toEqual(new Set([403]));

    // It can neither sign in with a form nor show the page in a frame.
    await other.evaluate(
      ([action, email]) => {
        document.body.innerHTML = `<form method="post" action="${action}"><input name="identifier" value="${email}"></form>`;
        document.querySelector("form")?.submit();
      },
      [`${web}/clerk/v1/client/sign_ins`, ada.email] as const,
    );
    await expect(other.getByText("origin_not_allowed")).toBeVisible();
    await other.goto(origin);
    for (const framed of [web, `${web}/sign-in`, dashboard]) {
      await other.setContent(`<iframe src="${framed}"></iframe>`);
      await expect(other.frameLocator("iframe").getByText("origin_not_allowed")).toBeVisible();
    }
    // A link to it works.
    await other.goto(origin);
    await other.setContent(`<a href="${web}/sign-in">the stack</a>`);
    await other.getByRole("link").click();
    await expect(other.getByRole("navigation", { name: "Pages" })).toBeVisible();
  } finally {
    server.close();
  }
  await page.reload();
  await expect(page.getByRole("navigation", { name: "Pages" })).toBeVisible();
});
