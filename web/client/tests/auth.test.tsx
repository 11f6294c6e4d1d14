import { onlineManager } from "@tanstack/react-query";
import { act, renderHook, screen, waitFor } from "@testing-library/react";
import { describe, expect, onTestFinished, test, vi } from "vitest";

import { clerk } from "../../testing/stack.ts";
import {
  Authenticated,
  AuthLoading,
  Unauthenticated,
  useAuthState,
  useConnection,
  useUserProfile,
} from "../src/index.ts";
import { creation, PATH, stored, useCreateItem, useItems, useUpdateItem } from "./resource.ts";
import {
  api,
  clerkOf,
  failure,
  intercept,
  latch,
  problem,
  show,
  signedIn,
  signUp,
  stack,
  type User,
  use,
} from "./support.tsx";

const STATUS = (
  <>
    <AuthLoading>loading</AuthLoading>
    <Unauthenticated>unauthenticated</Unauthenticated>
    <Authenticated>authenticated</Authenticated>
  </>
);

test("a user is authenticated once the server has accepted their token, and not before", async () => {
  const ada = await signUp();
  const response = latch();
  intercept("PATCH", "/profile", async (_, send) => {
    await response.opened;
    return send();
  });
  const fake = clerkOf(ada);
  fake.set({ isLoaded: false });
  const { container } = show(STATUS, fake);
  expect(container.textContent).toBe("loading");
  act(() => fake.set({ isLoaded: true }));
  expect(container.textContent).toBe("loading");
  response.open();
  await screen.findByText("authenticated");
  expect(container.textContent).toBe("authenticated");
});

test("without a user and after a sign-out the status is unauthenticated", async () => {
  const fake = clerkOf();
  const { container } = show(STATUS, fake);
  expect(container.textContent).toBe("unauthenticated");
  const ada = await signUp();
  act(() => fake.set(signedIn(ada)));
  await screen.findByText("authenticated");
  act(() => fake.set(signedIn()));
  expect(container.textContent).toBe("unauthenticated");
});

test.each(["session_ended", "account_inactive", "session_pending"])("%s means unauthenticated", async (code) => {
  intercept("PATCH", "/profile", () => problem(401, code, "Sign in."));
  const { result } = use(useAuthState, clerkOf(await signUp()));
  await waitFor(() => expect(result.current.status).toBe("unauthenticated"));
  expect(result.current.error).toMatchObject({ code, status: 401 });
});

test.each(["token_wrong_issuer", "token_expired", "a_code_of_tomorrow"])(
  "%s is reported and retried, and does not sign the user out",
  async (code) => {
    let isRejected = true;
    const seen: string[] = [];
    intercept("PATCH", "/profile", (_, send) => (isRejected ? problem(401, code) : send()));
    const { result } = use(
      () => {
        const state = useAuthState();
        seen.push(state.status);
        return state;
      },
      clerkOf(await signUp()),
    );
    await waitFor(() => expect(result.current.error).toMatchObject({ code, status: 401 }));
    expect(result.current.status).toBe("loading");
    isRejected = false;
    await waitFor(() => expect(result.current.status).toBe("authenticated"), { timeout: 10_000 });
    expect(result.current.error).toBeNull();
    expect(seen).not.toContain("unauthenticated");
  },
);

test("the server rejects a token that cannot be read, and the error is reported", async () => {
  const ada = await signUp();
  const { result } = use(useAuthState, clerkOf({ ...ada, token: async () => "no.token.atall" }));
  await waitFor(() => expect(result.current.error).toMatchObject({ code: "token_malformed", status: 401 }));
  expect(result.current.status).toBe("loading");
});

test("a permanent error can be retried", async () => {
  let isRejected = true;
  intercept("PATCH", "/profile", (_, send) => (isRejected ? problem(403, "claim_mismatch") : send()));
  const { result } = use(useAuthState, clerkOf(await signUp()));
  await waitFor(() => expect(result.current.error).toMatchObject({ code: "claim_mismatch" }));
  isRejected = false;
  act(() => result.current.retry());
  await waitFor(() => expect(result.current.status).toBe("authenticated"));
});

test("a pending session is authenticated once it is active", async () => {
  let isPending = true;
  intercept("PATCH", "/profile", (_, send) => (isPending ? problem(401, "session_pending") : send()));
  const { result } = use(useAuthState, clerkOf(await signUp()));
  await waitFor(() => expect(result.current.status).toBe("unauthenticated"));
  isPending = false;
  await waitFor(() => expect(result.current.status).toBe("authenticated"), { timeout: 10_000 });
});

test("a request sent before the session ended does not lift the rejection", async () => {
  const ada = await signUp();
  const { result } = use(
    () => ({ state: useAuthState(), create: useCreateItem(), update: useUpdateItem() }),
    clerkOf(ada),
  );
  await waitFor(() => expect(result.current.state.status).toBe("authenticated"));
  const late = latch();
  intercept("POST", PATH, async (_, send) => {
    const response = await send();
    await late.opened;
    return response;
  });
  intercept("PATCH", PATH, () => problem(401, "session_ended"));
  const created = result.current.create({ title: "Sent in time" });
  const updated = result.current.update({ id: "018f0000-0000-7000-8000-000000000000", version: 1 }, { title: "Late" });
  expect(await act(() => failure(updated))).toMatchObject({ code: "session_ended" });
  expect(result.current.state.status).toBe("unauthenticated");
  late.open();
  await act(() => created);
  expect(result.current.state).toMatchObject({ status: "unauthenticated", error: { code: "session_ended" } });
});

/** Ways in which Clerk has no token for a moment. */
const TOKENLESS: Record<string, (eve: User) => Promise<string | null>> = {
  null: async () => null,
  "an empty token": async () => "",
  "a rejection": () => Promise.reject(new Error("Clerk cannot be reached")),
  "an exception": () => {
    throw new Error("Clerk is not ready");
  },
  "the token of another user": (eve) => eve.token(),
};

test("a getToken that never settles is retried", async () => {
  const ada = await signUp();
  let isFirst = true;
  const fake = clerkOf(ada);
  fake.set({
    getToken: () => {
      if (!isFirst) return ada.token();
      isFirst = false;
      return new Promise(() => {});
    },
  });
  const { result } = use(() => ({ ...useAuthState(), connection: useConnection() }), fake);
  await waitFor(() => expect(result.current.connection).toBe("slow"), { timeout: 5_000 });
  await waitFor(() => expect(result.current.status).toBe("authenticated"), { timeout: 20_000 });
});

describe.each(Object.entries(TOKENLESS))("%s from getToken", (_, missing) => {
  test("right after sign-in is retried until there is a token", async () => {
    const [ada, eve] = await Promise.all([signUp(), signUp()]);
    let failures = 2;
    const fake = clerkOf({
      ...ada,
      token: async () => (failures-- > 0 ? ((await missing(eve)) as string) : ada.token()),
    });
    const { result } = use(() => ({ ...useAuthState(), ...useUserProfile() }), fake);
    await waitFor(() => expect(result.current.status).toBe("authenticated"), { timeout: 10_000 });
    expect(result.current.profile?.id).toBe(ada.userId);
  });

  test("on a forced refresh is retried until there is a token", async () => {
    const [ada, eve] = await Promise.all([signUp(), signUp()]);
    const fake = clerkOf(ada);
    const { result } = use(() => ({ state: useAuthState().status, create: useCreateItem() }), fake);
    await waitFor(() => expect(result.current.state).toBe("authenticated"));
    const token = await ada.token();
    let failures = 1;
    act(() =>
      fake.set({
        getToken: async ({ skipCache = false } = {}) => {
          if (!skipCache) return `${token.slice(0, -8)}AAAAAAAA`;
          return failures-- > 0 ? missing(eve) : token;
        },
      }),
    );
    await act(() => result.current.create({ title: "Kept" }));
    expect(result.current.state).toBe("authenticated");
  });

  test("rolls no change back until Clerk says that the user is signed out", async () => {
    const [ada, eve] = await Promise.all([signUp(), signUp()]);
    const fake = clerkOf(ada);
    const { result } = use(() => ({ ...useItems(), auth: useAuthState().status, create: useCreateItem() }), fake);
    await waitFor(() => expect(result.current.status).toBe("Exhausted"));
    let outcome = "pending";
    const getToken = vi.fn(() => missing(eve));
    act(() => fake.set({ getToken }));
    const created = result.current.create({ title: "Waiting" }).catch((error) => {
      outcome = error.code;
    });
    await waitFor(() => expect(getToken.mock.calls.length).toBeGreaterThan(2), { timeout: 5_000 });
    expect(outcome).toBe("pending");
    expect(result.current).toMatchObject({ auth: "authenticated", items: [{ title: "Waiting", isPending: true }] });
    act(() => fake.set(signedIn()));
    await created;
    expect(outcome).toBe("signed_out");
    expect(await stored(eve)).toEqual([]);
  });
});

test("a rejected token is replaced once and the request sent again, while everything stays on the screen", async () => {
  const ada = await signUp();
  const fake = clerkOf(ada);
  const { container } = show(STATUS, fake);
  await screen.findByText("authenticated");
  const seen: string[] = [];
  new MutationObserver(() => seen.push(container.textContent)).observe(container, { childList: true, subtree: true });

  const good = await ada.token();
  const stale = `${good.slice(0, -8)}AAAAAAAA`;
  const getToken = vi.fn(async ({ skipCache = false } = {}) => (skipCache ? good : stale));
  act(() => fake.set({ getToken }));
  const { result } = use(() => ({ create: useCreateItem(), state: useAuthState().status }), fake);
  await waitFor(() => expect(result.current.state).toBe("authenticated"));
  getToken.mockClear();
  await act(() => result.current.create({ title: "Plans" }));
  expect(getToken.mock.calls).toEqual([[{ skipCache: false }], [{ skipCache: true }]]);
  expect(seen).toEqual([]);
});

test("a user who signed out elsewhere is unauthenticated with the next call", async () => {
  const ada = await signUp();
  const { result } = use(() => ({ state: useAuthState(), create: useCreateItem() }), clerkOf(ada));
  await waitFor(() => expect(result.current.state.status).toBe("authenticated"));
  const token = await ada.token();
  await clerk(stack, `/v1/sessions/${ada.sessionId}/end`);
  ada.token = async () => token;
  const error = await act(() => failure(result.current.create({ title: "Too late" })));
  expect(error).toMatchObject({ code: "session_ended" });
  expect(result.current.state.status).toBe("unauthenticated");
});

test("while Clerk loads again, everything stays on the screen", async () => {
  const fake = clerkOf(await signUp());
  const { container } = show(STATUS, fake);
  await screen.findByText("authenticated");
  act(() => fake.set({ isLoaded: false, isSignedIn: undefined, userId: undefined, sessionId: undefined }));
  expect(container.textContent).toBe("authenticated");
});

test("the next user does not see the previous user's items", async () => {
  const [ada, eve] = await Promise.all([signUp(), signUp()]);
  await api(ada, "POST", PATH, creation("Ada's"));
  const fake = clerkOf(ada);
  const { result } = use(useItems, fake);
  await waitFor(() => expect(result.current.items).toHaveLength(1));
  act(() => fake.set(signedIn(eve)));
  expect(result.current).toMatchObject({ items: [], status: "LoadingFirstPage" });
  await waitFor(() => expect(result.current.status).toBe("Exhausted"));
  expect(result.current.items).toEqual([]);
});

test("in components that stay mounted, each user sees their own items, and new ones stay listed", async () => {
  const [ada, eve] = await Promise.all([signUp(), signUp()]);
  await api(ada, "POST", PATH, creation("Ada's"));
  const fake = clerkOf();
  const { result } = use(() => ({ ...useItems(), auth: useAuthState().status, create: useCreateItem() }), fake);
  const titles = () => result.current.items.map((item) => item.title);
  act(() => fake.set(signedIn(ada)));
  await waitFor(() => expect(titles()).toEqual(["Ada's"]));
  await act(() => result.current.create({ title: "Ada's second" }));
  expect(titles()).toEqual(["Ada's second", "Ada's"]);
  act(() => fake.set(signedIn()));
  expect(result.current).toMatchObject({ auth: "unauthenticated", items: [] });
  const response = latch();
  intercept("PATCH", "/profile", async (_, send) => {
    await response.opened;
    return send();
  });
  act(() => fake.set(signedIn(eve)));
  expect(result.current).toMatchObject({ auth: "loading", items: [] });
  response.open();
  await waitFor(() => expect(result.current).toMatchObject({ auth: "authenticated", status: "Exhausted", items: [] }));
  await act(() => result.current.create({ title: "Eve's" }));
  await waitFor(() => expect(result.current.items).toMatchObject([{ title: "Eve's", isPending: false }]));
});

test("a change of the previous user is never sent with the next one's token", async () => {
  const [ada, eve] = await Promise.all([signUp(), signUp()]);
  const fake = clerkOf(ada);
  const { result } = use(() => ({ create: useCreateItem(), state: useAuthState().status }), fake);
  await waitFor(() => expect(result.current.state).toBe("authenticated"));

  // Clerk has switched users, but React has not rendered yet.
  ada.token = eve.token;
  const { create } = result.current;
  const created = failure(create({ title: "Ada's" }));
  act(() => fake.set(signedIn(eve)));
  expect(await act(() => created)).toMatchObject({ code: "signed_out", status: 0 });
  await waitFor(() => expect(result.current.state).toBe("authenticated"));
  // Neither is a change by a function that the previous user's render returned.
  expect(await act(() => failure(create({ title: "Ada's" })))).toMatchObject({ code: "signed_out" });
  expect(await stored(eve)).toEqual([]);
});

test("a change in flight when its user signs out fails with signed_out", async () => {
  const ada = await signUp();
  const fake = clerkOf(ada);
  const { result } = use(() => ({ create: useCreateItem(), state: useAuthState().status }), fake);
  await waitFor(() => expect(result.current.state).toBe("authenticated"));
  const held = latch();
  intercept("POST", PATH, async (request, send) => {
    await Promise.race([
      held.opened,
      new Promise((_, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason))),
    ]);
    return send();
  });
  const created = result.current.create({ title: "Ada's" });
  act(() => fake.set(signedIn()));
  expect(await act(() => failure(created))).toMatchObject({ code: "signed_out" });
});

test("a change that waits for the network when its user signs out fails at once", async () => {
  const fake = clerkOf(await signUp());
  const { result } = use(() => ({ create: useCreateItem(), state: useAuthState().status }), fake);
  await waitFor(() => expect(result.current.state).toBe("authenticated"));
  onTestFinished(() => onlineManager.setOnline(true));
  act(() => onlineManager.setOnline(false));
  const created = failure(result.current.create({ title: "Ada's" }));
  act(() => fake.set(signedIn()));
  expect(await act(() => created)).toMatchObject({ code: "signed_out" });
});

test("while the server is unreachable, the status is loading, and the request is retried", async () => {
  const ada = await signUp();
  let isDown = true;
  intercept("PATCH", "/profile", (_, send) => {
    if (isDown) throw new TypeError("Failed to fetch");
    return send();
  });
  const { result } = use(() => ({ state: useAuthState(), connection: useConnection() }), clerkOf(ada));
  await waitFor(() => expect(result.current.connection).toBe("unreachable"));
  expect(result.current.state.status).toBe("loading");
  isDown = false;
  await waitFor(() => expect(result.current.state.status).toBe("authenticated"), { timeout: 10_000 });
  expect(result.current.connection).toBe("online");
});

test("an unreachable server is polled even if no query is active", async () => {
  const { result } = use(
    () => ({ create: useCreateItem(), state: useAuthState().status, connection: useConnection() }),
    clerkOf(await signUp()),
  );
  await waitFor(() => expect(result.current.state).toBe("authenticated"));
  const repeated = latch();
  let isFirst = true;
  intercept("POST", PATH, async (_, send) => {
    if (isFirst) {
      isFirst = false;
      throw new TypeError("Failed to fetch");
    }
    await repeated.opened;
    return send();
  });
  const created = result.current.create({ title: "new" });
  await waitFor(() => expect(result.current.connection).toBe("unreachable"));
  await waitFor(() => expect(result.current.connection).not.toBe("unreachable"), { timeout: 10_000 });
  repeated.open();
  await act(() => created);
});

test("the connection is slow while a request takes long", async () => {
  const fake = clerkOf(await signUp());
  const response = latch();
  intercept("GET", PATH, async (_, send) => {
    await response.opened;
    return send();
  });
  const { result } = use(() => ({ list: useItems(), connection: useConnection() }), fake);
  await waitFor(() => expect(result.current.connection).toBe("slow"), { timeout: 10_000 });
  response.open();
  await waitFor(() => expect(result.current.connection).toBe("online"));
});

test("a hook outside the provider throws an error that names the provider", () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  expect(() => renderHook(() => useItems())).toThrow("<ApiProvider>");
});
