import type { Auth } from "cubby-client";
import type { ComponentType, ReactNode } from "react";

/** The parts of Clerk, or of the development Clerk, that the application uses. */
export interface Identity {
  Provider: ComponentType<{ children: ReactNode }>;
  useAuth: () => Auth & { signOut(): Promise<unknown> };
  /** The sign-in page. */
  SignIn: ComponentType;
  /** The signed-in user, with a button that signs them out. */
  Account: ComponentType;
}

/** Clerk if there is a publishable key, and otherwise the development Clerk. */
export async function loadIdentity(): Promise<Identity> {
  if (import.meta.env.VITE_CLERK_PUBLISHABLE_KEY) return (await import("./clerk.tsx")).clerk;
  return (await import("./development.tsx")).development;
}
