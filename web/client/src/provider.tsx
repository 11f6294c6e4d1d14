import { onlineManager, useQuery } from "@tanstack/react-query";
import {
  createContext,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";

import { type ApiError, isPassing, type Profile, type ProfileChange } from "./errors.ts";
import { AGAIN, type Auth, type Connection, confirm, openQueries, openSession, type Session } from "./session.ts";

/**
 * Whether the user is signed in, according to the **server**.
 *
 * `error` says why that is not known yet (`loading`), or why the server refused (`unauthenticated`).
 */
export interface AuthState {
  readonly status: "authenticated" | "loading" | "unauthenticated";
  readonly error: ApiError | null;
  /** Asks the server again. What can succeed later is retried automatically. */
  readonly retry: () => void;
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

const profileKey = ({ key }: Session) => [...key, "profile"];

/** Brings the profile up to date with the token's claims and `details`. */
export async function refreshProfile(session: Session, details: ProfileChange = {}): Promise<Profile> {
  const profile = await session.api.putProfile(details);
  await confirm<Profile>(session, profileKey(session), () => profile);
  return profile;
}

/** The profile: synchronized when it is read for the first time in a session, which is on sign-in. */
export function useProfile(session: Session, options: { enabled: boolean; refetchInterval?: number }) {
  const { api, queries } = session;
  const queryKey = profileKey(session);
  return useQuery(
    {
      queryKey,
      queryFn: ({ signal }) => (queries.getQueryData(queryKey) ? api.getProfile(signal) : api.putProfile({}, signal)),
      ...options,
    },
    queries,
  );
}

/** Opens a session with the API whenever Clerk has one, and closes it with Clerk's. Goes inside Clerk's provider. */
export function ApiProvider({ baseUrl, useAuth, children }: ApiProviderProps) {
  const auth = useAuth();
  const getToken = useRef(auth.getToken);
  useEffect(() => {
    getToken.current = auth.getToken;
  });
  // While Clerk loads again it names no user for a moment. What it said before holds meanwhile. Another render with the
  // same `auth` would do the same.
  const known = useRef<Auth>(auth);
  if (auth.isLoaded) known.current = auth;
  const { isLoaded, isSignedIn = false, userId, sessionId } = known.current;

  // One for as long as the provider is mounted: `useQuery` keeps the first one that it is given.
  const [queries] = useState(openQueries);
  const session = useMemo(
    () =>
      openSession(queries, baseUrl, isSignedIn ? { userId, sessionId } : undefined, (options) =>
        getToken.current(options),
      ),
    [queries, baseUrl, isSignedIn, userId, sessionId],
  );
  const last = useRef<Session>(undefined);
  useEffect(() => {
    if (last.current !== session) last.current?.end();
    last.current = session;
  }, [session]);
  useEffect(() => {
    queries.mount();
    return () => queries.unmount();
  }, [queries]);

  const connection = useSyncExternalStore(session.subscribe, session.connection, session.connection);
  const refusal = useSyncExternalStore(session.subscribe, session.refusal, session.refusal);
  const { data, error, refetch } = useProfile(session, {
    enabled: isSignedIn,
    // Perhaps no other query is there to notice that the server answers again, or that a pending session is active.
    ...((connection === "unreachable" || isPassing(refusal)) && { refetchInterval: AGAIN }),
  });
  const value = useMemo(() => {
    let status: AuthState["status"] = "loading";
    if (isLoaded && (!isSignedIn || refusal)) status = "unauthenticated";
    else if (isSignedIn && data) status = "authenticated";
    const why = status === "authenticated" ? null : (refusal ?? (error as ApiError | null));
    return { session, auth: { status, error: why, retry: () => void refetch() } };
  }, [session, isLoaded, isSignedIn, refusal, data, error, refetch]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

/** What is behind all hooks. */
export function useApi(): Value {
  const value = useContext(Context);
  if (!value) throw new Error("Hooks of clerk-backend-client work inside <ApiProvider> only.");
  return value;
}

/** Whether the user is signed in, according to the server. */
export function useAuthState(): AuthState {
  return useApi().auth;
}

function showIf(wanted: AuthState["status"]) {
  return ({ children }: { readonly children?: ReactNode }) => (useAuthState().status === wanted ? children : null);
}

/** Shows its children while a user is signed in and the server has accepted their token. */
export const Authenticated = showIf("authenticated");
/** Shows its children while no user is signed in, or the server says that the session or the account is not active. */
export const Unauthenticated = showIf("unauthenticated");
/** Shows its children until either is known. */
export const AuthLoading = showIf("loading");

const subscribeToNetwork = (listener: () => void) => onlineManager.subscribe(listener);
const hasNetwork = () => onlineManager.isOnline();

/** How the API is reached at the moment. */
export function useConnection(): Connection {
  const { session } = useApi();
  const connection = useSyncExternalStore(session.subscribe, session.connection, session.connection);
  const isOnline = useSyncExternalStore(subscribeToNetwork, hasNetwork, () => true);
  return isOnline ? connection : "offline";
}
