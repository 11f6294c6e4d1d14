import react from "@vitejs/plugin-react";
import { defaultClientConditions, defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  // The library as it is written, not as it was last built.
  resolve: { conditions: ["source", ...defaultClientConditions] },
  // `npm run dev` goes beside `make run`, which has the development Clerk.
  server: { proxy: { "/clerk": `http://localhost:${process.env["WEB_PORT"] ?? 3000}` } },
});
