import { SignIn, SignUp, UserButton, useAuth, useUser } from "@clerk/react";
import { Authenticated, AuthLoading, type ErrorCode, Unauthenticated, useAuthState } from "cubby-client";
import { useCallback, useEffect, useState } from "react";
import { Redirect, Route, Switch, useLocation, useSearchParams } from "wouter";

import { ConnectionNotice } from "./components/ConnectionNotice.tsx";
import { Header } from "./components/Header.tsx";
import { Notice } from "./components/Notice.tsx";
import { Sidebar } from "./components/Sidebar.tsx";
import { Spinner } from "./components/Spinner.tsx";
import { ChatsPage } from "./pages/ChatsPage.tsx";
import { ProfilePage } from "./pages/ProfilePage.tsx";

/** The server has ended the session that Clerk still has in this browser. `SignIn` continues a pending one. */
const ENDED: readonly ErrorCode[] = ["session_ended", "account_inactive"];

/** The page on which a signed-in user signs in as another one, if Clerk allows several sessions in a browser. */
const ADD_ACCOUNT = "/add-account";

/** The screens, depending on whether the server has accepted the user. */
export function App() {
  return (
    <>
      <AuthLoading>
        <SigningIn />
      </AuthLoading>
      <Unauthenticated>
        <SignedOut />
      </Unauthenticated>
      <Authenticated>
        <Switch>
          <Route path={ADD_ACCOUNT} component={AddAccount} />
          <Route component={Dashboard} />
        </Switch>
      </Authenticated>
    </>
  );
}

function SigningIn() {
  const { error, retry } = useAuthState();
  return (
    <main className="sign-in">
      <h1 className="visually-hidden">Signing in</h1>
      <ConnectionNotice />
      {error ? <Notice onRetry={retry}>{error.message}</Notice> : <Spinner label="Signing you in" />}
    </main>
  );
}

function SignedOut() {
  // Clerk reports neither while it signs out, also after that has failed.
  const { isSignedIn } = useAuth();
  const { error } = useAuthState();
  const back = usePageBefore();
  return (
    <main className="sign-in">
      <Switch>
        <Route path="/sign-in">
          {isSignedIn !== false && error && ENDED.includes(error.code) ? (
            <SigningOut />
          ) : (
            <SignIn routing="hash" forceRedirectUrl={back} />
          )}
          {error && <p role="alert">{error.message}</p>}
        </Route>
        <Route path="/sign-up">
          <SignUp routing="hash" forceRedirectUrl={back} appearance={{ options: { showOptionalFields: true } }} />
        </Route>
        <Route>
          <ToSignIn />
        </Route>
      </Switch>
    </main>
  );
}

/** The page that the user opened before signing in, if it is one of this application. */
function usePageBefore() {
  const [parameters] = useSearchParams();
  const { origin } = window.location;
  const page = URL.parse(parameters.get("redirect_url") ?? "/", origin);
  return page?.origin === origin ? page.pathname : "/";
}

function ToSignIn() {
  const [path] = useLocation();
  const back = path === "/" || path === ADD_ACCOUNT ? "" : `?redirect_url=${encodeURIComponent(path)}`;
  return <Redirect to={`/sign-in${back}`} replace />;
}

function FromSignIn() {
  return <Redirect to={usePageBefore()} replace />;
}

function SigningOut() {
  const { signOut } = useAuth();
  const [hasFailed, setHasFailed] = useState(false);
  const attempt = useCallback(() => {
    setHasFailed(false);
    signOut().catch(() => setHasFailed(true));
  }, [signOut]);
  useEffect(attempt, [attempt]);
  return (
    <>
      <h1 className="visually-hidden">Signing out</h1>
      {hasFailed ? <Notice onRetry={attempt}>Couldn't sign you out.</Notice> : <Spinner label="Signing you out" />}
    </>
  );
}

/** The name is beside the button: inside, it would contradict the button's label. */
function Account() {
  const { user } = useUser();
  return (
    <div className="account">
      <span className="name">{user?.fullName || user?.primaryEmailAddress?.emailAddress}</span>
      <UserButton signInUrl={ADD_ACCOUNT} />
    </div>
  );
}

function AddAccount() {
  return (
    <main className="sign-in">
      <SignIn routing="hash" withSignUp />
    </main>
  );
}

function Dashboard() {
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
          <Route path={/^\/sign-(in|up)$/}>
            <FromSignIn />
          </Route>
          <Route>
            <h1>Page not found</h1>
          </Route>
        </Switch>
      </main>
    </div>
  );
}
