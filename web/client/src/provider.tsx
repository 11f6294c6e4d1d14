import { onlineManager, useQuery } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useRef, useSyncExternalStore } from "react";

import type { ApiError, Profile, ProfileChange } from "./errors.ts";
import { AGAIN, type Auth, type Connection, openSession, type Session } from "./session.ts";

/**
 * Whether somebody is signed in, in the **server's** eyes.
 *
 * `error` is why it is not known yet (`loading`), or why the server refused (`unauthenticated`).
 */
export interface AuthState {
  readonly status: "authenticated" | "loading" | "unauthenticated";
  readonly error: ApiError | null;
}

interface Value {
  readonly session: Session;
  readonly auth: AuthState;
}

const Context = createContext<Value | undefined>(undefined);

/** Options of {@link ApiProvider}. */
export interface ApiProviderProps {
  /** The API's address, without a slash at the end: the stack's output `ApiUrl`. */
  readonly baseUrl: string;
  /** Clerk's `useAuth`, of whichever of Clerk's packages the application uses. */
  readonly useAuth: () => Auth;
  readonly children?: ReactNode;
}

const PROFILE = ["profile"] as const;

/** Brings the profile up to date with the token's claims and `body`, which makes one if there is none. */
export async function synchronize({ api, queries }: Session, body: ProfileChange = {}): Promise<Profile> {
  const profile = await api.putProfile(body);
  queries.setQueryData(PROFILE, profile);
  return profile;
}

/** The profile: synchronised when it is read for the first time in a session, which is on sign-in. */
export function useProfile(session: Session, options: { enabled: boolean; refetchInterval?: number }) {
  return useQuery(
    {
      queryKey: PROFILE,
      queryFn: ({ signal }) =>
        session.queries.getQueryData(PROFILE) ? session.api.getProfile(signal) : synchronize(session),
      ...options,
    },
    session.queries,
  );
}

/** Opens a session with the API whenever Clerk has one, and closes it with Clerk's. Goes inside Clerk's provider. */
export function ApiProvider({ baseUrl, useAuth, children }: ApiProviderProps) {
  const auth = useAuth();
  const getToken = useRef(auth.getToken);
  useEffect(() => {
    getToken.current = auth.getToken;
  });
  // While Clerk brings itself up to date it knows nobody for a moment; what it said before holds meanwhile. Another
  // render with the same `auth` would do the same.
  const known = useRef<Auth>(auth);
  if (auth.isLoaded) known.current = auth;
  const { isLoaded, isSignedIn, userId, sessionId } = known.current;

  const identity = isSignedIn ? `${userId} ${sessionId}` : "";
  // biome-ignore lint/correctness/useExhaustiveDependencies: another identity is another session
  const session = useMemo(
    () =>
      openSession(baseUrl, userId ?? undefined, (options) =>
        identity ? getToken.current(options) : Promise.resolve(null),
      ),
    [baseUrl, identity],
  );
  const last = useRef<Session>(undefined);
  useEffect(() => {
    if (last.current !== session) last.current?.end();
    last.current = session;
    session.queries.mount();
    return () => session.queries.unmount();
  }, [session]);

  const state = useSyncExternalStore(session.subscribe, session.state, session.state);
  const profile = useProfile(session, {
    enabled: identity !== "",
    // Nothing else may be asking, and the connection would stay lost.
    ...(state === "unreachable" && { refetchInterval: AGAIN }),
  });
  const error = profile.error as ApiError | null;
  let status: AuthState["status"] = "loading";
  if (isLoaded && (!isSignedIn || state === "refused" || error?.status === 401)) status = "unauthenticated";
  else if (isSignedIn && profile.data) status = "authenticated";

  const value = useMemo(() => ({ session, auth: { status, error } }), [session, status, error]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

/** What is behind all hooks. */
export function useApi(): Value {
  const value = useContext(Context);
  if (!value) throw new Error("Hooks of clerk-backend-client work inside <ApiProvider> only.");
  return value;
}

/** Whether somebody is signed in, in the server's eyes. */
export function useAuthState(): AuthState {
  return useApi().auth;
}

function showIf(wanted: AuthState["status"]) {
  return ({ children }: { readonly children?: ReactNode }) => (useAuthState().status === wanted ? children : null);
}

/** Shows its children while somebody is signed in and the server has accepted their token. */
export const Authenticated = showIf("authenticated");
/** Shows its children while nobody is signed in, or the server refuses who is. */
export const Unauthenticated = showIf("unauthenticated");
/** Shows its children until either is known. */
export const AuthLoading = showIf("loading");

const subscribeToNetwork = (listener: () => void) => onlineManager.subscribe(listener);
const hasNetwork = () => onlineManager.isOnline();

/** How the API is reached at the moment. */
export function useConnection(): Connection {
  const { session } = useApi();
  const state = useSyncExternalStore(session.subscribe, session.state, session.state);
  const isOnline = useSyncExternalStore(subscribeToNetwork, hasNetwork, () => true);
  if (!isOnline) return "offline";
  return state === "refused" ? "online" : state;
}
