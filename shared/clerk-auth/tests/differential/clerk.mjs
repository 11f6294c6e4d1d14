// What Clerk's own verifier says to tokens. The first line of standard input holds the settings, `{"verifiers": […]}`, each
// the options of a `verifyToken`; every further line is a token and its time, `{"token", "now"}`, in milliseconds since the
// epoch. Each of these is answered with a line: a list with `{"ok": sub}` or `{"refused": reason}` for each verifier.
//
// It runs in the folder that @clerk/backend is installed in.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { verifyToken } = createRequire(`${process.cwd()}/`)("@clerk/backend");

// The verifier asks for the time through Date.now alone; what else it dates comes from the token.
let now;
Date.now = () => now;

async function answer(token, options) {
  try {
    const { sub } = await verifyToken(token, options);
    return { ok: sub };
  } catch (error) {
    return { refused: error?.message ?? String(error) };
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
