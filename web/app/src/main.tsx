import "./styles.css";

import { ApiProvider } from "cubby-client";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { LOCAL_API, liveUrlOf } from "../headers.ts";
import { App } from "./App.tsx";
import { loadIdentity } from "./identity/index.ts";

const { Provider, useAuth, SignIn, Account } = await loadIdentity();
const { VITE_API_URL: apiUrl = LOCAL_API, VITE_LIVE_URL: liveUrl = liveUrlOf(apiUrl) } = import.meta.env;
const root = document.getElementById("root");
if (!root) throw new Error("The page has no #root.");
createRoot(root).render(
  <StrictMode>
    <Provider>
      <ApiProvider baseUrl={apiUrl} liveUrl={liveUrl} useAuth={useAuth}>
        <App useAuth={useAuth} SignIn={SignIn} Account={Account} />
      </ApiProvider>
    </Provider>
  </StrictMode>,
);
