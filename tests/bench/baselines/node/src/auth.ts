import { verifyToken } from "@clerk/backend";
import { TokenVerificationError } from "@clerk/backend/errors";
import { BatchGetCommand, type BatchGetCommandInput } from "@aws-sdk/lib-dynamodb";

import { Problem, unavailable, type Request } from "./api.js";
import { dynamo, required } from "./dynamo.js";

const issuer = required("CLERK_ISSUER").replace(/\/$/, "");
const authorizedParties = required("CLERK_AUTHORIZED_PARTIES").split(",").map((party) => party.trim()).filter(Boolean);
const jwtKey = required("CLERK_JWT_KEY").replaceAll("\\n", "\n");
export const USERS = required("USERS_TABLE");
const SESSIONS = required("SESSIONS_TABLE");

export interface Identity {
  userId: string;
  sessionId: string;
}

/** Clerk's reasons as this API's codes. */
const CODES: Record<string, string> = {
  "token-expired": "token_expired",
  "token-not-active-yet": "token_not_active_yet",
  "token-iat-in-the-future": "token_not_active_yet",
  "token-invalid-algorithm": "token_unsupported",
  "token-invalid-authorized-parties": "token_unauthorized_party",
  "token-invalid-issuer": "token_wrong_issuer",
  "token-invalid-signature": "token_bad_signature",
};

const unauthorized = (code: string, detail: string) =>
  new Problem(401, code, detail, {}, { "www-authenticate": 'Bearer error="invalid_token"' });

/** The user and the session that the token names. */
async function identify(request: Request): Promise<Identity> {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  if (scheme?.toLowerCase() !== "bearer" || !token) {
    const headers = { "www-authenticate": "Bearer" };
    throw new Problem(401, "token_missing", "Send a session token: Authorization: Bearer …", {}, headers);
  }
  const options = { jwtKey, authorizedParties, issuer: [issuer, `${issuer}/`] };
  const claims = await verifyToken(token, options).catch((error: unknown) => {
    if (!(error instanceof TokenVerificationError)) throw error;
    throw unauthorized(CODES[error.reason] ?? "token_malformed", "The token is not a session token for this API.");
  });
  if (!claims.sid) throw unauthorized("token_unsupported_type", "The token is not a session token.");
  if (claims.sts === "pending") throw unauthorized("session_pending", "Finish signing in.");
  return { userId: claims.sub, sessionId: claims.sid };
}

type Keys = NonNullable<BatchGetCommandInput["RequestItems"]>;

/** The session check: fails unless account and session are active. Reads `more` in the same request. */
async function check({ userId, sessionId }: Identity, more: Keys = {}) {
  const { Responses: found = {}, UnprocessedKeys: left = {} } = await dynamo.send(new BatchGetCommand({
    RequestItems: {
      [USERS]: { Keys: [{ userId }], ProjectionExpression: "isActive, banned", ConsistentRead: true },
      [SESSIONS]: { Keys: [{ userId, sessionId }], ProjectionExpression: "sessionId", ConsistentRead: true },
      ...more,
    },
  }));
  if (Object.keys(left).length) throw unavailable("DynamoDB left keys of a batch unread");
  const account = found[USERS]?.[0];
  if (account && (account.isActive === false || account.banned === true)) {
    throw unauthorized("account_inactive", "The account is deleted or banned.");
  }
  if (found[SESSIONS]?.length) throw unauthorized("session_ended", "The session has ended. Sign in again.");
  return found;
}

/** Reads items by key in the session check's own request. */
export async function readingItems(request: Request, keys: (identity: Identity) => Keys) {
  const identity = await identify(request);
  return { identity, found: await check(identity, keys(identity)) };
}

/** Runs a read beside the session check, whose error precedes the read's. */
export async function reading<T>(request: Request, read: (identity: Identity) => Promise<T>): Promise<T> {
  const identity = await identify(request);
  const [answer, checked] = await Promise.allSettled([read(identity), check(identity)]);
  if (checked.status === "rejected") throw checked.reason;
  if (answer.status === "rejected") throw answer.reason;
  return answer.value;
}

/** Runs a write after the session check. */
export async function writing<T>(request: Request, write: (identity: Identity) => Promise<T>): Promise<T> {
  const identity = await identify(request);
  await check(identity);
  return write(identity);
}
