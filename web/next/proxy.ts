import { clerkMiddleware } from "@clerk/nextjs/server";
import { NextResponse } from "next/server";

import { policyOf } from "./headers";

/** Clerk finds the user of each request. Pages decide whether they need one. */
export default clerkMiddleware(
  (_, request) => {
    const policy = policyOf(btoa(crypto.randomUUID()));
    const headers = new Headers(request.headers);
    // Next.js and Clerk put the nonce of this header into the scripts of the page.
    headers.set("Content-Security-Policy", policy);
    const response = NextResponse.next({ request: { headers } });
    response.headers.set("Content-Security-Policy", policy);
    return response;
  },
  { signInUrl: "/sign-in" },
);

/** All pages, but neither files nor Clerk's Frontend API. */
export const config = { matcher: ["/((?!_next/|clerk/).*)"] };
