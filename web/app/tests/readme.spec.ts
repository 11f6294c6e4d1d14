import { readFile } from "node:fs/promises";
import path from "node:path";

import { expect, test } from "@playwright/test";

const read = (file: string) => readFile(path.join(import.meta.dirname, "../../..", file), "utf8");

test("the README has the example that the compiler checks", async () => {
  expect(await read("README.md")).toContain(`\n\`\`\`tsx\n${await read("web/app/tests/readme.tsx")}\`\`\`\n`);
});

test("the guide's hooks for notes are those of chats under other names", async () => {
  const chats = await read("web/app/src/resources/chats.ts");
  const notes = chats.replaceAll("chat", "note").replaceAll("Chat", "Note");
  expect(await read("docs/front-end.md")).toContain(`\n\`\`\`ts web/app/src/resources/notes.ts\n${notes}\`\`\`\n`);
});
