import react from "@vitejs/plugin-react";
import { defaultClientConditions, defineConfig } from "vite";

import { headersFile } from "./headers.ts";

export default defineConfig({
  plugins: [react(), headersFile()],
  // The policy allows `data:` URLs only for pictures.
  build: { assetsInlineLimit: 0 },
  // The library's source, not its last build.
  resolve: { conditions: ["source", ...defaultClientConditions] },
  // `npm run dev` runs beside `make run`, whose development Clerk serves only requests to its own host.
  server: {
    proxy: { "/clerk": { target: `http://localhost:${process.env["WEB_PORT"] ?? 3000}`, changeOrigin: true } },
  },
});
