import { ClerkProvider, SignIn, UserButton, useAuth } from "@clerk/react";
import type { ReactNode } from "react";

import type { Identity } from "./index.ts";

const publishableKey = import.meta.env.VITE_CLERK_PUBLISHABLE_KEY ?? "";

function Provider({ children }: { children: ReactNode }) {
  return (
    // The policy of headers.ts does not let it reach Clerk's telemetry.
    <ClerkProvider publishableKey={publishableKey} signInUrl="/sign-in" afterSignOutUrl="/sign-in" telemetry={false}>
      {children}
    </ClerkProvider>
  );
}

const SignInHere = () => <SignIn routing="hash" />;
const Account = () => <UserButton showName />;

/** Clerk's own components. */
export const clerk: Identity = { Provider, useAuth, SignIn: SignInHere, Account };
