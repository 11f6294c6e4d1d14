import { securityHeaders } from "../app/headers.ts";

const { "Content-Security-Policy": policy = "", ...others } = securityHeaders({
  apiUrl: process.env["API_URL"],
  liveUrl: process.env["LIVE_URL"],
  publishableKey: process.env["NEXT_PUBLIC_CLERK_PUBLISHABLE_KEY"],
  proxyUrl: process.env["NEXT_PUBLIC_CLERK_PROXY_URL"],
});

/** The headers that do not depend on the response, by their names. */
export { others as headers };

// React evaluates code in development.
const evaluation = process.env.NODE_ENV === "development" ? "'unsafe-eval' " : "";

/** The policy of `web/app`, with a nonce for the scripts that Next.js writes into its pages. */
export const policyOf = (nonce: string) => policy.replace("script-src", `script-src ${evaluation}'nonce-${nonce}'`);
