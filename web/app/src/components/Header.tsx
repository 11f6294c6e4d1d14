import type { ReactNode } from "react";
import { Link } from "wouter";

export function Header({ children }: { children: ReactNode }) {
  return (
    <header>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <Link href="/" className="brand">
        <img src="/icon.svg" alt="" width={24} height={24} />
        Cubby
      </Link>
      {children}
    </header>
  );
}
