import { useEffect, useSyncExternalStore } from "react";

import { Spinner } from "../components/Spinner.tsx";
import type { Identity } from "./index.ts";

interface Session {
  readonly id: string;
  readonly user: {
    readonly id: string;
    readonly first_name: string | null;
    readonly last_name: string | null;
    readonly email_addresses: readonly { readonly email_address: string }[];
  };
}

/** Undefined until the first response. */
let session: Session | null | undefined;
/** Stored only in memory, like Clerk's. */
let token: { readonly of: string; readonly expires: number; readonly jwt: Promise<string | null> } | undefined;
const listeners = new Set<() => void>();
/** Notifies the other tabs of a sign-out. */
const tabs = new BroadcastChannel("development-clerk");
/** A token is renewed before it expires, like Clerk's. */
const MARGIN = 10_000;
const LIFETIME = 60_000;

async function load(): Promise<void> {
  const response = await fetch("/clerk/v1/client").catch(() => undefined);
  if (!response?.ok) {
    if (session === undefined) setTimeout(load, 2_000);
    return;
  }
  const { response: client } = (await response.json()) as { response: { sessions: Session[] } | null };
  const next = client?.sessions[0] ?? null;
  if (session !== undefined && next?.id === session?.id) return;
  session = next;
  for (const listener of listeners) listener();
}

async function fetchToken(id: string): Promise<string | null> {
  const response = await fetch(`/clerk/v1/client/sessions/${id}/tokens`, { method: "POST" });
  if (response.ok) return ((await response.json()) as { jwt: string }).jwt;
  if (response.status >= 500) throw new Error(`The development Clerk returned ${response.status}.`);
  // The session has ended.
  void load();
  return null;
}

async function getToken({ skipCache = false }: { skipCache?: boolean } = {}): Promise<string | null> {
  if (!session) return null;
  if (skipCache || token?.of !== session.id || token.expires - MARGIN < Date.now()) {
    const jwt = fetchToken(session.id);
    token = { of: session.id, expires: Date.now() + LIFETIME, jwt };
    jwt.catch(() => {
      token = undefined;
    });
  }
  return token.jwt;
}

async function signOut(): Promise<void> {
  if (session) await fetch(`/clerk/v1/client/sessions/${session.id}/end`, { method: "POST" });
  await load();
  tabs.postMessage("signed out");
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function useSession(): Session | null | undefined {
  return useSyncExternalStore(subscribe, () => session);
}

function useAuth() {
  const current = useSession();
  return {
    isLoaded: current !== undefined,
    isSignedIn: current === undefined ? undefined : current !== null,
    userId: current?.user.id,
    sessionId: current?.id,
    getToken,
    signOut,
  };
}

function Provider({ children }: { children: React.ReactNode }) {
  useEffect(() => {
    void load();
    const again = () => void load();
    tabs.addEventListener("message", again);
    window.addEventListener("focus", again);
    return () => {
      tabs.removeEventListener("message", again);
      window.removeEventListener("focus", again);
    };
  }, []);
  return children;
}

/** The development Clerk has its own sign-in page. */
function SignIn() {
  useEffect(() => window.location.replace("/clerk/sign-in?redirect_url=/"), []);
  return <Spinner label="Opening the sign-in page" />;
}

function Account() {
  const user = useSession()?.user;
  const name = [user?.first_name, user?.last_name].filter(Boolean).join(" ");
  return (
    <div className="account">
      <span className="name">{name || user?.email_addresses[0]?.email_address}</span>
      <button type="button" onClick={() => void signOut()}>
        Sign out
      </button>
    </div>
  );
}

/** The development Clerk of `make run`, with the names and types of Clerk's components. */
export const development: Identity = { Provider, useAuth, SignIn, Account };
