import type { components, operations } from "./openapi.ts";

type Answers = operations[keyof operations]["responses"];
type ProblemCode<R> = R extends { content: { "application/problem+json": { code: infer C } } } ? C : never;
type CodesOf<A> = A extends unknown ? ProblemCode<A[keyof A]> : never;

/** The API's own codes; the OpenAPI document says what each means. */
export type ApiCode = CodesOf<Answers>;

/**
 * Why something failed: the API's `code`, or one of these, which never reached the API or got no answer of its own.
 *
 * - `unreachable`: no answer came, or none in time. The change may still have happened.
 * - `too_many_requests`: API Gateway turned it away; nothing happened.
 * - `signed_out`: the session that the call belongs to is over, or there was none. A change that had been sent may still
 *   have happened.
 * - `unexpected`: an answer that is not the API's.
 */
export type ErrorCode = ApiCode | "signed_out" | "too_many_requests" | "unexpected" | "unreachable";

/** A chat, as the API has it. Times are milliseconds since the epoch. */
export type Chat = components["schemas"]["Chat"];
/** The signed-in person's profile, as the API has it. */
export type Profile = components["schemas"]["Profile"];
/** What the caller can say of a profile; Clerk's word goes before it. */
export type ProfileChange = components["schemas"]["ProfileChange"];

/** Whatever goes wrong between a hook and the API is one of these. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** The HTTP status; 0 without an answer. */
  readonly status: number;
  /** Seconds to wait before the next attempt, if the API said so. */
  readonly retryAfter: number | undefined;
  /** With `version_mismatch`, the chat as somebody else left it. */
  readonly current: Chat | undefined;

  constructor(
    /** For programs. New codes can come: have a default. */
    readonly code: ErrorCode,
    /** A sentence for people; it may change at any time. */
    message: string,
    {
      status = 0,
      retryAfter,
      current,
      cause,
    }: ErrorOptions & Partial<Pick<ApiError, "current" | "retryAfter" | "status">> = {},
  ) {
    super(message, { cause });
    this.status = status;
    this.retryAfter = retryAfter;
    this.current = current;
  }
}

/** What an answer that is not a success says. */
export async function problemOf(response: Response): Promise<ApiError> {
  const body: Partial<components["schemas"]["Problem"]> | null = await response.json().catch(() => null);
  const code = response.status === 429 ? "too_many_requests" : ((body?.code as ApiCode | undefined) ?? "unexpected");
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new ApiError(
    code,
    body?.detail ?? (code === "unexpected" ? "The answer was not the API's." : "Too many requests; try again soon."),
    { status: response.status, retryAfter: Number.isNaN(seconds) ? undefined : seconds },
  );
}

/** Whether the session is over: no other token of it will be accepted. */
export function isFinal({ code }: ApiError): boolean {
  return code === "session_ended" || code === "account_inactive";
}

/** Whether the server says that the user is not signed in. Other 401s are about one token, or about the configuration. */
export function isRefusal(error: ApiError): boolean {
  return isFinal(error) || error.code === "session_pending";
}

/** Whether the same request can succeed later. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  const { code, status } = error;
  return code === "unreachable" || status === 429 || status >= 500 || (status === 401 && !isFinal(error));
}
