import { Authenticated, AuthLoading, Unauthenticated, useAuthState } from "clerk-backend-client";
import { useEffect } from "react";
import { Redirect, Route, Switch } from "wouter";

import { ConnectionNotice } from "./components/ConnectionNotice.tsx";
import { Header } from "./components/Header.tsx";
import { Notice } from "./components/Notice.tsx";
import { Sidebar } from "./components/Sidebar.tsx";
import { Spinner } from "./components/Spinner.tsx";
import type { Identity } from "./identity/index.ts";
import { ChatsPage } from "./pages/ChatsPage.tsx";
import { ProfilePage } from "./pages/ProfilePage.tsx";

type Props = Pick<Identity, "Account" | "SignIn" | "useAuth">;

/** The screens, by who the server says is looking. */
export function App({ Account, SignIn, useAuth }: Props) {
  return (
    <>
      <AuthLoading>
        <SigningIn />
      </AuthLoading>
      <Unauthenticated>
        <SignedOut SignIn={SignIn} useAuth={useAuth} />
      </Unauthenticated>
      <Authenticated>
        <Dashboard Account={Account} />
      </Authenticated>
    </>
  );
}

function SigningIn() {
  const { error } = useAuthState();
  return (
    <main className="sign-in">
      <ConnectionNotice />
      <Spinner label="Signing you in" />
      {error && <Notice>{error.message}</Notice>}
    </main>
  );
}

function SignedOut({ SignIn, useAuth }: Pick<Identity, "SignIn" | "useAuth">) {
  const { isSignedIn, signOut } = useAuth();
  const { error } = useAuthState();
  // The server refuses a session that Clerk still has open here: it was ended elsewhere.
  useEffect(() => {
    if (isSignedIn) void signOut();
  }, [isSignedIn, signOut]);
  return (
    <main className="sign-in">
      <Switch>
        <Route path="/sign-in">
          {isSignedIn ? <Spinner label="Signing you out" /> : <SignIn />}
          {error && <p role="alert">{error.message}</p>}
        </Route>
        <Route>
          <Redirect to="/sign-in" replace />
        </Route>
      </Switch>
    </main>
  );
}

function Dashboard({ Account }: Pick<Identity, "Account">) {
  return (
    <div className="dashboard">
      <Header>
        <Account />
      </Header>
      <Sidebar />
      <main id="main" tabIndex={-1}>
        <ConnectionNotice />
        <Switch>
          <Route path="/" component={ChatsPage} />
          <Route path="/profile" component={ProfilePage} />
          <Route path="/sign-in">
            <Redirect to="/" replace />
          </Route>
          <Route>
            <h1>There is nothing here</h1>
          </Route>
        </Switch>
      </main>
    </div>
  );
}
