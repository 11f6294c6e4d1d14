import "./styles.css";

import { ApiProvider } from "clerk-backend-client";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./App.tsx";
import { loadIdentity } from "./identity/index.ts";

const { Provider, useAuth, SignIn, Account } = await loadIdentity();
const root = document.getElementById("root");
if (!root) throw new Error("The page has no #root.");
createRoot(root).render(
  <StrictMode>
    <Provider>
      <ApiProvider baseUrl={import.meta.env.VITE_API_URL ?? "http://127.0.0.1:9000"} useAuth={useAuth}>
        <App useAuth={useAuth} SignIn={SignIn} Account={Account} />
      </ApiProvider>
    </Provider>
  </StrictMode>,
);
