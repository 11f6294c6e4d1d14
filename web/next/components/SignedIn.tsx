"use client";

import { RedirectToSignIn, useAuth } from "@clerk/nextjs";
import { useAuthState } from "cubby-client";
import { type ReactNode, useEffect } from "react";

/** Shows its children while the API accepts the user. Clerk can have a session for a moment that the API has ended. */
export function SignedIn({ children }: { children: ReactNode }) {
  const { isSignedIn, signOut } = useAuth();
  const { status, error } = useAuthState();
  useEffect(() => {
    if (status === "unauthenticated" && isSignedIn) void signOut();
  }, [status, isSignedIn, signOut]);
  if (status === "authenticated") return children;
  if (isSignedIn === false) return <RedirectToSignIn />;
  return <p role="status">{error?.message ?? "One moment…"}</p>;
}
