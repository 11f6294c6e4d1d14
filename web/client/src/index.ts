"use client";

// An application can add to an interface of this module only if it is exported by a star. Values are exported by name,
// since server components cannot import from `export *` of a client module.
export type * from "./document.ts";
export { ApiError, type ErrorCode } from "./errors.ts";
export {
  createResourceHooks,
  type ListState,
  type PagesStatus,
  type ResourceHooks,
  type UserProfile,
  useUserProfile,
} from "./hooks.ts";
export type { Listed } from "./items.ts";
export type { Preloaded, PreloadedList, PreloadedProfile } from "./preloaded.ts";
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
