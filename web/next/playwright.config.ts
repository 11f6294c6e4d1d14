import { defineConfig } from "@playwright/test";

import application from "../app/playwright.config.ts";

export default defineConfig(application, {
  testDir: "tests",
  globalSetup: "./tests/setup.ts",
  projects: [
    { name: "pages", testIgnore: "webpack.spec.ts" },
    // A build takes both processors.
    { name: "webpack", testMatch: "webpack.spec.ts", dependencies: ["pages"] },
  ],
});
