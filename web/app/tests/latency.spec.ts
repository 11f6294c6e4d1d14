import { titles } from "./chats.ts";
import { expect, newWindow, signIn, signUp, stack, test, token } from "./support.ts";

/** With MEASURE, the number of measured changes. Otherwise only that they arrive is tested. */
const MEASURED = Number(process.env["MEASURE"] || 0);
const UNTIMED = 3;
/** Milliseconds between measured changes: the client reads more than ten within 5 s with their list, once a second. */
const INTERVAL = 600;

test("each change shows in the user's other window, and the time until then is printed", async ({ browser }) => {
  test.setTimeout(60_000 + 2_000 * MEASURED);
  const [writer, reader] = [await newWindow(browser), await newWindow(browser)];
  const user = await signUp(writer);
  const open = reader.waitForEvent("websocket");
  await signIn(reader, user);
  await open;
  await reader.evaluate(() => {
    const shown = new Map<string, number>();
    Object.assign(window, { shown });
    new MutationObserver(() => {
      const now = performance.timeOrigin + performance.now();
      for (const { textContent } of document.querySelectorAll(".chat .title")) {
        if (!shown.has(textContent)) shown.set(textContent, now);
      }
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });

  const times: number[] = [];
  for (let change = 0; change < UNTIMED + MEASURED; change += 1) {
    const title = `Chat ${change}`;
    const headers = {
      authorization: `Bearer ${await token(writer.context())}`,
      "content-type": "application/json",
    };
    const responded = await writer.evaluate(
      async ({ url, headers, body }) => {
        const { status } = await fetch(url, { method: "POST", headers, body });
        if (status !== 201) throw new Error(`the API responded with ${status}`);
        return performance.timeOrigin + performance.now();
      },
      { url: `${stack().api}/chats`, headers, body: JSON.stringify({ title }) },
    );
    await expect(titles(reader).first()).toHaveText(title);
    const shown = await reader.evaluate(
      (title) => (window as unknown as { shown: Map<string, number> }).shown.get(title),
      title,
    );
    if (change >= UNTIMED) {
      times.push((shown ?? Number.NaN) - responded);
      await writer.waitForTimeout(INTERVAL);
    }
  }
  await Promise.all([writer, reader].map((page) => page.context().close()));
  times.sort((one, other) => one - other);
  const quantile = (share: number) => times[Math.ceil(share * times.length) - 1]?.toFixed(1);
  if (MEASURED) console.log(`from response to shown: p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms`);
});
