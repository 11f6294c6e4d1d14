import { defineConfig } from "vitest/config";

import { findResource } from "./tests/sample.ts";

const resource = findResource();
if (!resource) console.warn("skipped: tests/{auth,resources}.test.tsx, since functions/ has no resource with a text");

export default defineConfig({
  test: {
    environment: "jsdom",
    globalSetup: "tests/setup.ts",
    setupFiles: "tests/cleanup.ts",
    include: ["tests/**/*.test.{ts,tsx}"],
    ...(resource ? { provide: { resource } } : { exclude: ["tests/{auth,resources}.test.tsx"] }),
    testTimeout: 30_000,
    hookTimeout: 120_000,
  },
});
