interface ImportMetaEnv {
  /** The API's URL: the stack's output `ApiUrl`. */
  readonly VITE_API_URL?: string;
  /** The WebSocket API's URL: the stack's output `LiveUrl`. Without it, only the API of `make run` has live updates. */
  readonly VITE_LIVE_URL?: string;
  /** Clerk's publishable key. Without it the application uses the development Clerk of `make run`. */
  readonly VITE_CLERK_PUBLISHABLE_KEY?: string;
  /** The URL of Clerk's Frontend API, if it is behind a proxy. */
  readonly VITE_CLERK_PROXY_URL?: string;
}
