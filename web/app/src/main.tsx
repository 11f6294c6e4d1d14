import "./styles.css";

import { ClerkProvider, useAuth } from "@clerk/react";
import { ApiProvider } from "cubby-client";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { navigate } from "wouter/use-browser-location";

import { clerkOf, LOCAL_API, liveUrlOf } from "../headers.ts";
import { App } from "./App.tsx";

const { VITE_API_URL: apiUrl = LOCAL_API, VITE_LIVE_URL: liveUrl = liveUrlOf(apiUrl) } = import.meta.env;
const root = document.getElementById("root");
if (!root) throw new Error("The page has no #root.");
createRoot(root).render(
  <StrictMode>
    {/* The policy of headers.ts does not let it reach Clerk's telemetry. */}
    <ClerkProvider
      {...clerkOf(import.meta.env)}
      signInUrl="/sign-in"
      signUpUrl="/sign-up"
      afterSignOutUrl="/sign-in"
      routerPush={(to) => navigate(to)}
      routerReplace={(to) => navigate(to, { replace: true })}
      telemetry={false}
    >
      <ApiProvider baseUrl={apiUrl} liveUrl={liveUrl} useAuth={useAuth}>
        <App />
      </ApiProvider>
    </ClerkProvider>
  </StrictMode>,
);
