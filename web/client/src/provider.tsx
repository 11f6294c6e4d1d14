import { hashKey, useQuery } from "@tanstack/react-query";
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

import type { BaseItem, Profile, ProfileChange } from "./document.ts";
import { type ApiError, isTransient } from "./errors.ts";
import { goLive } from "./live.ts";
import { initially, type PreloadedProfile } from "./preloaded.ts";
import {
  type Auth,
  type Connection,
  confirm,
  openQueries,
  openSession,
  REFETCH_INTERVAL,
  type Session,
} from "./session.ts";

/**
 * Whether the user is signed in, according to the **server**.
 *
 * `error` is the reason why that is not known yet (`loading`), or why the server rejected the user (`unauthenticated`).
 */
export interface AuthState {
  readonly status: "authenticated" | "loading" | "unauthenticated";
  readonly error: ApiError | null;
  /** Sends the request again. Transient failures are retried automatically. */
  readonly retry: () => void;
}

interface Value {
  readonly session: Session;
  readonly auth: AuthState;
}

const Context = createContext<Value | undefined>(undefined);

/** Options of {@link ApiProvider}. */
export interface ApiProviderProps {
  /** The API's URL, without a slash at the end: the stack's output `ApiUrl`. */
  readonly baseUrl: string;
  /** The WebSocket API's URL: the stack's output `LiveUrl`. Without it, changes made elsewhere do not show by themselves. */
  readonly liveUrl?: string | undefined;
  /** `useAuth` of the Clerk package that the application uses. */
  readonly useAuth: () => Auth;
  /** The profile that a server has read with `preloadProfile`. With it, the user is signed in from the first render on. */
  readonly preloaded?: PreloadedProfile | null;
  readonly children?: ReactNode;
}

const profileKey = ({ key }: Session) => [...key, "profile"];

/** Updates the profile with the token's claims and `details`. */
export function refreshProfile(session: Session, details?: ProfileChange): Promise<Profile> {
  const refresh = async () => {
    const sentAt = Date.now();
    const profile = await session.send<Profile>("PATCH", "/profile", { body: details ?? {} });
    const queryKey = profileKey(session);
    const before = session.queries.getQueryData<Profile>(queryKey);
    await confirm<Profile>(session, queryKey, () => profile);
    // A synchronization that changes only the time is not reported.
    const shown = (read: object | undefined) => hashKey([{ ...read, updatedAt: 0 }]);
    if (shown(profile) !== shown(before))
      session.announce?.({ of: "profile", version: (profile as BaseItem).updatedAt }, sentAt);
    return profile;
  };
  // One after the other, so that the last response is that of the last update.
  const refreshed = Promise.resolve(session.refresh).then(refresh, refresh);
  session.refresh = refreshed;
  return refreshed;
}

/** The profile. The first read of a session, which is on sign-in, synchronizes it. */
export function useProfile(
  session: Session,
  options: { enabled: boolean; refetchInterval?: number },
  preloaded?: PreloadedProfile | null,
) {
  const { queries } = session;
  const queryKey = profileKey(session);
  return useQuery(
    {
      queryKey,
      queryFn: ({ signal }) =>
        queries.getQueryData(queryKey)
          ? session.send<Profile>("GET", "/profile", { signal })
          : session.send<Profile>("PATCH", "/profile", { body: {}, signal }),
      meta: { session, path: "profile", of: "profile", parents: [] },
      ...options,
      ...initially(session, preloaded, (profile) => profile),
    },
    queries,
  );
}

/** Opens a session with the API for each of Clerk's sessions, and ends it with Clerk's. Goes inside Clerk's provider. */
export function ApiProvider({ baseUrl, liveUrl, useAuth, preloaded, children }: ApiProviderProps) {
  const auth = useAuth();
  const getToken = useRef(auth.getToken);
  useEffect(() => {
    getToken.current = auth.getToken;
  });
  // While Clerk loads again it has no user for a moment. The previous state is kept meanwhile. Another render with the
  // same `auth` has the same effect.
  const known = useRef<Auth>(auth);
  if (auth.isLoaded) known.current = auth;
  const { isLoaded, isSignedIn = false, userId, sessionId } = known.current;

  // One cache as long as the provider is mounted: `useQuery` keeps the first one that it is given.
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
  const rejection = useSyncExternalStore(session.subscribe, session.rejection, session.rejection);
  const { data, error, refetch } = useProfile(
    session,
    {
      enabled: isSignedIn,
      // Perhaps no other query notices that the server responds again, or that a pending session is active.
      ...((connection === "unreachable" || isTransient(rejection)) && { refetchInterval: REFETCH_INTERVAL }),
    },
    preloaded,
  );
  const value = useMemo(() => {
    let status: AuthState["status"] = "loading";
    if (isLoaded && (!isSignedIn || rejection)) status = "unauthenticated";
    else if (isSignedIn && data) status = "authenticated";
    const why = status === "authenticated" ? null : (rejection ?? (error as ApiError | null));
    return { session, auth: { status, error: why, retry: () => void refetch() } };
  }, [session, isLoaded, isSignedIn, rejection, data, error, refetch]);
  const isLive = liveUrl && value.auth.status === "authenticated";
  useEffect(() => (isLive ? goLive(session, liveUrl) : undefined), [isLive, session, liveUrl]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

/** The session and the authentication state of the provider. */
export function useApi(): Value {
  const value = useContext(Context);
  if (!value) throw new Error("Use the hooks of cubby-client inside <ApiProvider>.");
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
/** Shows its children until one of the two is known. */
export const AuthLoading = showIf("loading");

/** The present state of the connection to the API, and whether updates are live. */
export function useConnection(): Connection {
  const { session } = useApi();
  return useSyncExternalStore(session.subscribe, session.connection, session.connection);
}
