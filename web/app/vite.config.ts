import react from "@vitejs/plugin-react";
import { defaultClientConditions, defineConfig } from "vite";

import { headersFile } from "./headers.ts";

export default defineConfig({
  plugins: [react(), headersFile()],
  // The policy allows no `data:` URLs.
  build: { assetsInlineLimit: 0 },
  // The library as it is written, not as it was last built.
  resolve: { conditions: ["source", ...defaultClientConditions] },
  // `npm run dev` goes beside `make run`, which has the development Clerk. That serves requests to its own host only.
  server: {
    proxy: { "/clerk": { target: `http://localhost:${process.env["WEB_PORT"] ?? 3000}`, changeOrigin: true } },
  },
});
