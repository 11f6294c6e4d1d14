import { useAuth } from "@clerk/react";
import { expectTypeOf, test } from "vitest";

import type { ApiProviderProps, ErrorCode } from "../src/index.ts";

test("Clerk's own useAuth fits the provider", () => {
  expectTypeOf(useAuth).toExtend<ApiProviderProps["useAuth"]>();
});

test("error codes are the document's and the library's own, and not any string", () => {
  expectTypeOf<"version_mismatch" | "session_ended" | "unreachable">().toExtend<ErrorCode>();
  expectTypeOf<string>().not.toExtend<ErrorCode>();
});
