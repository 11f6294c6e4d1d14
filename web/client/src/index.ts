"use client";

// An application can add to an interface of this module only if it is exported by a star.
export type * from "./document.ts";
export { ApiError, type ErrorCode } from "./errors.ts";
export * from "./hooks.ts";
export type { Listed } from "./items.ts";
export {
  ApiProvider,
  type ApiProviderProps,
  Authenticated,
  AuthLoading,
  type AuthState,
  Unauthenticated,
  useAuthState,
  useConnection,
} from "./provider.tsx";
export type { Auth, Connection } from "./session.ts";
