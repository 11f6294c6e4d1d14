interface ImportMetaEnv {
  /** The API's address: the stack's output `ApiUrl`. */
  readonly VITE_API_URL?: string;
  /** Clerk's publishable key; without it the development Clerk of `make run` is asked. */
  readonly VITE_CLERK_PUBLISHABLE_KEY?: string;
}
