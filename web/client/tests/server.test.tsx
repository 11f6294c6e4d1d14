// @vitest-environment node
import { renderToString } from "react-dom/server";
import { expect, test, vi } from "vitest";

import { ApiProvider, Authenticated, AuthLoading, useConnection, useUserProfile } from "../src/index.ts";
import { signedIn } from "./support.tsx";

const getToken = vi.fn(async () => "token");
const useAuth = () => ({ ...signedIn(), isSignedIn: true, userId: "user_ada", sessionId: "sess_ada", getToken });
const Page = () => `${useConnection()}, ${useUserProfile().isLoaded ? "loaded" : "not loaded"}`;

test("on the server a signed-in user is loading, and no request is sent", async () => {
  const fetch = vi.spyOn(globalThis, "fetch");
  const html = renderToString(
    <ApiProvider baseUrl="https://api.example.com" useAuth={useAuth}>
      <AuthLoading>
        <Page />
      </AuthLoading>
      <Authenticated>authenticated</Authenticated>
    </ApiProvider>,
  );
  expect(html).toBe("online, not loaded");
  await Promise.resolve();
  expect(getToken).not.toHaveBeenCalled();
  expect(fetch).not.toHaveBeenCalled();
});
