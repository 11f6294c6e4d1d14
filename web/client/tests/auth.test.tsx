import { act, renderHook, screen, waitFor } from "@testing-library/react";
import { expect, test, vi } from "vitest";

import { clerk } from "../../testing/stack.ts";
import {
  Authenticated,
  AuthLoading,
  Unauthenticated,
  useAuthState,
  useChats,
  useConnection,
  useCreateChat,
} from "../src/index.ts";
import { api, between, clerkOf, failure, gate, show, signedIn, signUp, stack, use } from "./people.tsx";

const WHO = (
  <>
    <AuthLoading>loading</AuthLoading>
    <Unauthenticated>unauthenticated</Unauthenticated>
    <Authenticated>authenticated</Authenticated>
  </>
);

test("somebody is authenticated once the server has accepted their token, and not before", async () => {
  const ada = await signUp();
  const answer = gate();
  between("PUT", "/profile", async (_, send) => {
    await answer.opened;
    return send();
  });
  const fake = clerkOf(ada);
  fake.set({ isLoaded: false });
  const { container } = show(WHO, fake);
  expect(container.textContent).toBe("loading");
  act(() => fake.set({ isLoaded: true }));
  expect(container.textContent).toBe("loading");
  answer.open();
  await screen.findByText("authenticated");
  expect(container.textContent).toBe("authenticated");
});

test("nobody is unauthenticated, and so is who signs out", async () => {
  const fake = clerkOf();
  const { container } = show(WHO, fake);
  expect(container.textContent).toBe("unauthenticated");
  const ada = await signUp();
  act(() => fake.set(signedIn(ada)));
  await screen.findByText("authenticated");
  act(() => fake.set(signedIn()));
  expect(container.textContent).toBe("unauthenticated");
});

test("a token that the server refuses twice is nobody's, and the reason is there", async () => {
  const ada = await signUp();
  const fake = clerkOf({ ...ada, userId: "", token: async () => "no.token.atall" });
  const { result } = use(useAuthState, fake);
  await waitFor(() => expect(result.current.status).toBe("unauthenticated"));
  expect(result.current.error).toMatchObject({ code: "token_malformed", status: 401 });
});

test("a refused token is replaced once, and the request sent again, while everything stays on the screen", async () => {
  const ada = await signUp();
  const fake = clerkOf(ada);
  const { container } = show(WHO, fake);
  await screen.findByText("authenticated");
  const seen: string[] = [];
  new MutationObserver(() => seen.push(container.textContent)).observe(container, { childList: true, subtree: true });

  const good = await ada.token();
  const stale = `${good.slice(0, -8)}AAAAAAAA`;
  const getToken = vi.fn(async ({ skipCache = false } = {}) => (skipCache ? good : stale));
  act(() => fake.set({ getToken }));
  const { result } = use(() => ({ create: useCreateChat(), state: useAuthState().status }), fake);
  await waitFor(() => expect(result.current.state).toBe("authenticated"));
  getToken.mockClear();
  await act(() => result.current.create({ title: "Plans" }));
  expect(getToken.mock.calls).toEqual([[{ skipCache: false }], [{ skipCache: true }]]);
  expect(seen).toEqual([]);
});

test("who signed out elsewhere is unauthenticated with the next call", async () => {
  const ada = await signUp();
  const { result } = use(() => ({ state: useAuthState(), create: useCreateChat() }), clerkOf(ada));
  await waitFor(() => expect(result.current.state.status).toBe("authenticated"));
  const token = await ada.token();
  await clerk(stack, `/v1/sessions/${ada.sessionId}/end`);
  ada.token = async () => token;
  const error = await act(() => failure(result.current.create({ title: "Too late" })));
  expect(error).toMatchObject({ code: "session_ended" });
  expect(result.current.state.status).toBe("unauthenticated");
});

test("while Clerk brings itself up to date, everything stays on the screen", async () => {
  const fake = clerkOf(await signUp());
  const { container } = show(WHO, fake);
  await screen.findByText("authenticated");
  act(() => fake.set({ isLoaded: false, isSignedIn: undefined, userId: undefined, sessionId: undefined }));
  expect(container.textContent).toBe("authenticated");
});

test("who comes next sees nothing of who was there before", async () => {
  const [ada, eve] = await Promise.all([signUp(), signUp()]);
  await api(ada, "POST", "/chats", { title: "Ada's" });
  const fake = clerkOf(ada);
  const { result } = use(useChats, fake);
  await waitFor(() => expect(result.current.chats).toHaveLength(1));
  act(() => fake.set(signedIn(eve)));
  expect(result.current).toMatchObject({ chats: [], status: "LoadingFirstPage" });
  await waitFor(() => expect(result.current.status).toBe("Exhausted"));
  expect(result.current.chats).toEqual([]);
});

test("a change of somebody who was there before is never sent with the token of who is there now", async () => {
  const [ada, eve] = await Promise.all([signUp(), signUp()]);
  const fake = clerkOf(ada);
  const { result } = use(() => ({ create: useCreateChat(), state: useAuthState().status }), fake);
  await waitFor(() => expect(result.current.state).toBe("authenticated"));

  // Clerk has changed over already, and React has not heard of it.
  ada.token = eve.token;
  const error = await act(() => failure(result.current.create({ title: "Ada's" })));
  expect(error).toMatchObject({ code: "signed_out", status: 0 });
  const { chats } = await (await api(eve, "GET", "/chats")).json();
  expect(chats).toEqual([]);
});

test("a change that is on its way when its person signs out fails, and says so", async () => {
  const ada = await signUp();
  const fake = clerkOf(ada);
  const { result } = use(() => ({ create: useCreateChat(), state: useAuthState().status }), fake);
  await waitFor(() => expect(result.current.state).toBe("authenticated"));
  const held = gate();
  between("POST", "/chats", async (request, send) => {
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

test("a server that does not answer leaves it open who is there, says so, and is tried again", async () => {
  const ada = await signUp();
  let isDown = true;
  between("PUT", "/profile", (_, send) => {
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

test("a server that is lost is asked again, though nothing else is asking", async () => {
  const { result } = use(
    () => ({ create: useCreateChat(), state: useAuthState().status, connection: useConnection() }),
    clerkOf(await signUp()),
  );
  await waitFor(() => expect(result.current.state).toBe("authenticated"));
  const repeated = gate();
  let isFirst = true;
  between("POST", "/chats", async (_, send) => {
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

test("a request that takes long makes the connection a slow one until it ends", async () => {
  const fake = clerkOf(await signUp());
  const answer = gate();
  between("GET", "/chats", async (_, send) => {
    await answer.opened;
    return send();
  });
  const { result } = use(() => ({ chats: useChats(), connection: useConnection() }), fake);
  await waitFor(() => expect(result.current.connection).toBe("slow"), { timeout: 10_000 });
  answer.open();
  await waitFor(() => expect(result.current.connection).toBe("online"));
});

test("a hook outside the provider says where it belongs", () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  expect(() => renderHook(() => useChats())).toThrow("<ApiProvider>");
});
