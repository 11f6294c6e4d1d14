interface ImportMetaEnv {
  /** The API's URL: the stack's output `ApiUrl`. */
  readonly VITE_API_URL?: string;
  /** Clerk's publishable key. Without it the application uses the development Clerk of `make run`. */
  readonly VITE_CLERK_PUBLISHABLE_KEY?: string;
}
