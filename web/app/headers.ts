import type { Plugin } from "vite";

/** The URL of the API of `make run`. */
export const LOCAL_API = "http://127.0.0.1:9000";

/** The URL of the WebSocket API for an API. Without `VITE_LIVE_URL`, only that of `make run` is known. */
export const liveUrlOf = (apiUrl: string) => (apiUrl === LOCAL_API ? "ws://127.0.0.1:9001/v1" : undefined);

/** The Clerk that the application uses: without `VITE_CLERK_PUBLISHABLE_KEY`, the development Clerk of `make run`. */
export const clerkOf = (env: { VITE_CLERK_PUBLISHABLE_KEY?: string; VITE_CLERK_PROXY_URL?: string }) => {
  const { VITE_CLERK_PUBLISHABLE_KEY: publishableKey, VITE_CLERK_PROXY_URL: proxyUrl } = env;
  if (!publishableKey) return { publishableKey: "pk_live_MTI3LjAuMC4xOjQ1MDAk", proxyUrl: "/clerk" };
  return { publishableKey, ...(proxyUrl && { proxyUrl }) };
};

interface Settings {
  /** `VITE_API_URL` */
  readonly apiUrl?: string | undefined;
  /** `VITE_LIVE_URL` */
  readonly liveUrl?: string | undefined;
  /** `VITE_CLERK_PUBLISHABLE_KEY` */
  readonly publishableKey?: string | undefined;
  /** `VITE_CLERK_PROXY_URL` */
  readonly proxyUrl?: string | undefined;
}

/** The origin of Clerk's Frontend API. A publishable key holds its host in base64, followed by a dollar sign. */
function clerkOrigin(publishableKey: string): string {
  const [, host] = /^([a-z0-9.:-]+)\$$/.exec(atob(publishableKey.replace(/^pk_(test|live)_/, ""))) ?? [];
  if (!host) throw new Error("VITE_CLERK_PUBLISHABLE_KEY is not a Clerk publishable key.");
  return new URL(`https://${host}`).origin;
}

/** The response headers of every page and file of the application, with its content security policy. */
export function securityHeaders({
  apiUrl = LOCAL_API,
  liveUrl = liveUrlOf(apiUrl),
  publishableKey,
  proxyUrl,
}: Settings): Record<string, string> {
  // The development Clerk is on this origin.
  const isLocal = !publishableKey || proxyUrl?.startsWith("/");
  const clerk = isLocal ? "" : proxyUrl ? new URL(proxyUrl).origin : clerkOrigin(publishableKey);
  // Clerk's documentation requires these for bot and fraud protection.
  const forClerk = (...sources: string[]) => (isLocal ? [] : sources);
  const policy: Record<string, readonly string[]> = {
    "default-src": ["'self'"],
    "script-src": ["'self'", ...forClerk(clerk, "https://challenges.cloudflare.com", "https://*.protect.clerk.com")],
    // Clerk's components create styles at run time.
    "style-src": ["'self'", "'unsafe-inline'"],
    // A profile's picture can be on any host, but only over HTTPS. Clerk shows one that is being uploaded as `data:`.
    "img-src": ["'self'", "https:", "data:"],
    // Fraud protection also uses ports other than 443.
    "connect-src": [
      "'self'",
      new URL(apiUrl).origin,
      ...(liveUrl ? [new URL(liveUrl).origin] : []),
      ...forClerk(clerk, "https://*.protect.clerk.com:*"),
    ],
    // Clerk's SDK renews tokens in a worker.
    "worker-src": ["'self'", "blob:"],
    "frame-src": isLocal ? ["'none'"] : ["https://challenges.cloudflare.com", "https://*.protect.clerk.com"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
  };
  return {
    "Content-Security-Policy": Object.entries(policy)
      .map(([directive, sources]) => `${directive} ${sources.join(" ")}`)
      .join("; "),
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
  };
}

/** Writes the headers to the file `_headers` of the build, which static hosts read. */
export function headersFile(): Plugin {
  let settings: Settings = {};
  return {
    name: "headers-file",
    apply: "build",
    configResolved({ env }) {
      settings = { apiUrl: env["VITE_API_URL"], liveUrl: env["VITE_LIVE_URL"], ...clerkOf(env) };
    },
    generateBundle() {
      const lines = Object.entries(securityHeaders(settings)).map(([name, value]) => `  ${name}: ${value}\n`);
      this.emitFile({ type: "asset", fileName: "_headers", source: `/*\n${lines.join("")}` });
    },
  };
}
