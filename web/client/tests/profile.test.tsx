import { act, waitFor } from "@testing-library/react";
import { expect, test } from "vitest";

import { useUserProfile } from "../src/index.ts";
import { between, clerkOf, failure, signUp, use } from "./people.tsx";

test("the profile is synchronised on sign-in, once, and again when asked for", async () => {
  const ada = await signUp({ first_name: "Ada", last_name: "Lovelace" });
  let written = 0;
  between("PUT", "/profile", (_, send) => {
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

test("what Clerk has said, the caller cannot change", async () => {
  const ada = await signUp();
  const { result } = use(useUserProfile, clerkOf(ada));
  await waitFor(() => expect(result.current.isLoaded).toBe(true));
  const error = await act(() => failure(result.current.refreshProfile({ email: "eve@example.com" })));
  expect(error).toMatchObject({ code: "contradicts_token", status: 403 });
  expect(result.current.profile?.email).toBe("ada@example.com");
});
