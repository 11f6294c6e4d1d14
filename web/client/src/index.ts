"use client";

export type { ShownChat } from "./changes.ts";
export { type ApiCode, ApiError, type Chat, type ErrorCode, type Profile, type ProfileChange } from "./errors.ts";
export * from "./hooks.ts";
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
