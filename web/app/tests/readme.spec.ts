import { readFile } from "node:fs/promises";
import path from "node:path";

import { expect, test } from "@playwright/test";

const read = (file: string) => readFile(path.join(import.meta.dirname, "../../..", file), "utf8");

test("the client library's README has only code that the compiler checks", async () => {
  const readme = await read("web/client/README.md");
  const [example, recipes, component] = await Promise.all([
    read("web/app/tests/readme.tsx"),
    read("web/app/tests/recipes.tsx"),
    read("web/client/tests/readme.test.tsx"),
  ]);
  const checked = [example, recipes, component.replace("../src/index.ts", "cubby-client")];
  const blocks = [...readme.matchAll(/^```tsx\n(.*?)^```$/gms)].map(([, code = ""]) => code);
  expect(blocks.length).toBeGreaterThan(10);
  expect(blocks.filter((block) => !checked.some((code) => code.includes(block)))).toEqual([]);
  expect(blocks).toContain(example);
});

test("the guide's hooks for notes are those of chats under other names", async () => {
  const chats = await read("web/app/src/resources/chats.ts");
  const notes = chats.replaceAll("chat", "note").replaceAll("Chat", "Note");
  const readme = await read("web/client/README.md");
  expect(readme).toContain(`\n\`\`\`ts web/app/src/resources/notes.ts\n${notes}\`\`\`\n`);
});
