import { render, screen } from "@testing-library/react";
import { expect, test, vi } from "vitest";

import { ApiProvider, useUserProfile } from "../src/index.ts";

const useAuth = () => ({
  isLoaded: true,
  isSignedIn: true,
  userId: "user_ada",
  sessionId: "sess_ada",
  getToken: async () => "token",
});

function Greeting() {
  const { profile } = useUserProfile();
  return <p>{profile ? `Hello, ${profile.firstName}` : "Loading…"}</p>;
}

test("the user is greeted by name", async () => {
  vi.stubGlobal("fetch", async () => Response.json({ id: "user_ada", firstName: "Ada" }));
  render(
    <ApiProvider baseUrl="" useAuth={useAuth}>
      <Greeting />
    </ApiProvider>,
  );
  expect(await screen.findByText("Hello, Ada")).toBeDefined();
});
