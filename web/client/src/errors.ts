import type { ApiCode } from "./document.ts";

/** The codes on which the library acts. */
type KnownCode = "account_inactive" | "not_found" | "session_ended" | "session_pending" | "version_mismatch";

/**
 * Why a call failed: the API's `code`, or one of these, which the API does not return.
 *
 * - `unreachable`: there was no response, or none in time. The change may still have been made.
 * - `too_many_requests`: API Gateway rejected the request. No change was made.
 * - `signed_out`: the session of the call has ended, or no user was signed in. A change that had been sent may still have
 *   been made.
 * - `unexpected`: the response is not the API's.
 */
export type ErrorCode = ApiCode | KnownCode | "signed_out" | "too_many_requests" | "unexpected" | "unreachable";

/** Every failure between a hook and the API is an `ApiError`. `Item` is the type of `current`. */
export class ApiError<Item = unknown> extends Error {
  override readonly name = "ApiError";
  /** The HTTP status. 0 without a response. */
  readonly status: number;
  /** Seconds to wait before the next attempt, if the API returned that. */
  readonly retryAfter: number | undefined;
  /** With `version_mismatch`, the item's current state. */
  readonly current: Item | undefined;

  constructor(
    /** For programs. New codes can be added, so have a default. */
    readonly code: ErrorCode,
    /** A sentence for users. It may change at any time. */
    message: string,
    {
      status = 0,
      retryAfter,
      current,
      cause,
    }: ErrorOptions & Partial<Pick<ApiError<Item>, "current" | "retryAfter" | "status">> = {},
  ) {
    super(message, { cause });
    this.status = status;
    this.retryAfter = retryAfter;
    this.current = current;
  }
}

/** The error of a response that is not a success. */
export async function problemOf(response: Response): Promise<ApiError> {
  const body: { code?: ErrorCode; detail?: string } | null = await response.json().catch(() => null);
  const code = response.status === 429 ? "too_many_requests" : (body?.code ?? "unexpected");
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new ApiError(
    code,
    body?.detail ??
      (code === "unexpected" ? "The response did not come from the API." : "Too many requests. Try again soon."),
    { status: response.status, retryAfter: Number.isNaN(seconds) ? undefined : seconds },
  );
}

/** The error of a request that failed: with the API's response, with another response, or without one. */
export function failureOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof SyntaxError)
    return new ApiError("unexpected", "The response did not come from the API. Try again.", { cause: error });
  const message = "The server cannot be reached. Check your connection and try again.";
  return new ApiError("unreachable", message, { cause: error });
}

/** Whether the session has ended: no other token of it is accepted. */
export function isFinal({ code }: ApiError): boolean {
  return code === "session_ended" || code === "account_inactive";
}

/** Whether the server reports that the user is not signed in. Other 401s concern one token or the configuration. */
export function isSignedOut(error: ApiError): boolean {
  return isFinal(error) || error.code === "session_pending";
}

/** Whether the same request can succeed later. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  const { code, status } = error;
  return code === "unreachable" || status === 429 || status >= 500 || (status === 401 && !isFinal(error));
}
