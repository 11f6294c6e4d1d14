import type { NextConfig } from "next";

import { headers } from "./headers.ts";

const { NEXT_DIST_DIR: distDir = ".next", NODE_ENV, WEB_PORT = "3000" } = process.env;

export default {
  distDir,
  poweredByHeader: false,
  // `make lint` checks the types.
  typescript: { ignoreBuildErrors: true },
  turbopack: { root: `${import.meta.dirname}/..` },
  headers: async () => [
    { source: "/:path*", headers: Object.entries(headers).map(([key, value]) => ({ key, value })) },
  ],
  redirects: async () => [{ source: "/", destination: "/dashboard", permanent: false }],
  // `npm run dev` runs beside `make run`, which has the development Clerk.
  rewrites: async () =>
    NODE_ENV === "development"
      ? [{ source: "/clerk/:path*", destination: `http://localhost:${WEB_PORT}/clerk/:path*` }]
      : [],
} satisfies NextConfig;
