import { focusManager } from "@tanstack/react-query";
import { act, waitFor } from "@testing-library/react";
import { expect, onTestFinished, test, vi } from "vitest";

import { useUserProfile } from "../src/index.ts";
import { clerkOf, failure, intercept, latch, signUp, use } from "./support.tsx";

test("the profile is synchronized on sign-in, once, and again by refreshProfile", async () => {
  const ada = await signUp({ first_name: "Ada", last_name: "Lovelace" });
  let written = 0;
  intercept("PATCH", "/profile", (_, send) => {
    written += 1;
    return send();
  });
  const { result } = use(useUserProfile, clerkOf(ada));
  expect(result.current).toMatchObject({ isLoaded: false, profile: undefined });
  await waitFor(() => expect(result.current.isLoaded).toBe(true));
  expect(result.current.profile).toMatchObject({ email: "ada@example.com", firstName: "Ada", lastName: "Lovelace" });
  expect(written).toBe(1);
  const profile = await act(() => result.current.refreshProfile());
  expect(written).toBe(2);
  expect(profile.id).toBe(ada.userId);
});

test("a Clerk-verified value cannot be changed", async () => {
  const ada = await signUp();
  const { result } = use(useUserProfile, clerkOf(ada));
  await waitFor(() => expect(result.current.isLoaded).toBe(true));
  const error = await act(() => failure(result.current.refreshProfile({ email: "eve@example.com" })));
  expect(error).toMatchObject({ code: "claim_mismatch", status: 403 });
  expect(result.current.profile?.email).toBe("ada@example.com");
});

test("a read of the profile that started before a change does not revert it", async () => {
  const ada = await signUp({ first_name: "Ada" });
  const { result } = use(useUserProfile, clerkOf(ada));
  await waitFor(() => expect(result.current.isLoaded).toBe(true));
  const { profile } = result.current;
  const [requested, stale] = [latch(), latch()];
  let reads = 0;
  intercept("GET", "/profile", async (_, send) => {
    if (reads++ > 0) return send();
    requested.open();
    await stale.opened;
    return Response.json(profile);
  });
  intercept("PATCH", "/profile", () => Response.json({ ...profile, firstName: "Augusta" }));
  // Stale data is read again when the window gets the focus.
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 10_000 });
  onTestFinished(() => void vi.useRealTimers());
  act(() => {
    focusManager.setFocused(false);
    focusManager.setFocused(true);
  });
  onTestFinished(() => focusManager.setFocused(undefined));
  await requested.opened;
  const seen: (string | null | undefined)[] = [];
  intercept("GET", "/profile", async () => {
    seen.push(result.current.profile?.firstName);
    return Response.json({ ...profile, firstName: "Augusta" });
  });
  await act(() => result.current.refreshProfile());
  stale.open();
  await waitFor(() => expect(seen.length).toBeGreaterThan(0));
  expect(seen).toEqual(["Augusta"]);
  expect(result.current.profile?.firstName).toBe("Augusta");
});
