import "./styles.css";

import { ClerkProvider, UserButton } from "@clerk/nextjs";
import type { ReactNode } from "react";

export const metadata = { title: "Cubby" };

/** With `dynamic`, the server knows the user, and every response has its own nonce. */
export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <ClerkProvider dynamic signInUrl="/sign-in" signUpUrl="/sign-up" afterSignOutUrl="/sign-in" telemetry={false}>
          <header>
            <span className="brand">Cubby</span>
            <UserButton />
          </header>
          <main>{children}</main>
        </ClerkProvider>
      </body>
    </html>
  );
}
