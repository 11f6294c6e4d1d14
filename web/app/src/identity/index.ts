import type { Auth } from "cubby-client";
import type { ComponentType, ReactNode } from "react";

/** What the application asks of Clerk, be it the real one or the development one. */
export interface Identity {
  Provider: ComponentType<{ children: ReactNode }>;
  useAuth: () => Auth & { signOut(): Promise<unknown> };
  /** Where people sign in. */
  SignIn: ComponentType;
  /** Who is signed in, with a way out. */
  Account: ComponentType;
}

/** Clerk, if there is a key for it. */
export async function loadIdentity(): Promise<Identity> {
  if (import.meta.env.VITE_CLERK_PUBLISHABLE_KEY) return (await import("./clerk.tsx")).clerk;
  return (await import("./development.tsx")).development;
}
