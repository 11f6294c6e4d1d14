// Verifies tokens with Clerk's own verifier. The first line of standard input has the settings, `{"verifiers": […]}`, each
// the options of a `verifyToken`. Every further line is a token and its time, `{"token", "now"}`, in milliseconds since the
// epoch. For each of them, a line of output has a list with `{"ok": sub}` or `{"rejected": reason}` for each verifier.
//
// It runs in the folder in which @clerk/backend is installed.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { verifyToken } = createRequire(`${process.cwd()}/`)("@clerk/backend");

// The verifier gets the current time only from Date.now. All other times come from the token.
let now;
Date.now = () => now;

async function answer(token, options) {
  try {
    const { sub } = await verifyToken(token, options);
    return { ok: sub };
  } catch (error) {
    return { rejected: error?.message ?? String(error) };
  }
}

let verifiers;
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (!verifiers) {
    verifiers = request.verifiers;
    continue;
  }
  now = request.now;
  const answers = [];
  for (const options of verifiers) {
    answers.push(await answer(request.token, options));
  }
  console.log(JSON.stringify(answers));
}
