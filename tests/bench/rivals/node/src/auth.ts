import { verifyToken } from "@clerk/backend";
import { TokenVerificationError } from "@clerk/backend/errors";
import { decodeJwt, verifyJwt } from "@clerk/backend/jwt";
import { BatchGetCommand } from "@aws-sdk/lib-dynamodb";

import { Problem, unavailable, type Request } from "./api.js";
import { dynamo, required } from "./dynamo.js";

const ISSUER = required("CLERK_ISSUER").replace(/\/$/, "");
const PARTIES = (process.env.CLERK_AUTHORIZED_PARTIES ?? "").split(",").map((party) => party.trim()).filter(Boolean);
const JWT_KEY = process.env.CLERK_JWT_KEY?.replaceAll("\\n", "\n");
const USERS = required("USERS_TABLE");
const SESSIONS = required("SESSIONS_TABLE");
const KEYS_FRESH_FOR = 60 * 60 * 1000;

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

const refused = (code: string, detail: string) =>
  new Problem(401, code, detail, {}, { "www-authenticate": 'Bearer error="invalid_token"' });

type Key = JsonWebKey & { kid: string };
let published: { keys: Map<string, Key>; at: number } | undefined;

/** The issuer's key by that name, for when none is given in the environment. */
async function publishedKey(kid: string): Promise<Key> {
  if (!published || Date.now() - published.at > KEYS_FRESH_FOR) {
    try {
      const answer = await fetch(`${ISSUER}/.well-known/jwks.json`, { signal: AbortSignal.timeout(3000) });
      const { keys } = (await answer.json()) as { keys: Key[] };
      published = { keys: new Map(keys.map((key) => [key.kid, key])), at: Date.now() };
    } catch (error) {
      throw unavailable(error);
    }
  }
  const key = published.keys.get(kid);
  if (!key) throw refused("token_unknown_key", "The token is signed with a key that the issuer does not publish.");
  return key;
}

async function claims(token: string) {
  const options = { authorizedParties: PARTIES, issuer: [ISSUER, `${ISSUER}/`] };
  if (JWT_KEY) return verifyToken(token, { jwtKey: JWT_KEY, ...options });
  return verifyJwt(token, { key: await publishedKey(decodeJwt(token).header.kid), ...options });
}

/** Who calls, by the token alone. */
export async function identify(request: Request): Promise<Identity> {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  if (scheme?.toLowerCase() !== "bearer" || !token) {
    const headers = { "www-authenticate": "Bearer" };
    throw new Problem(401, "token_missing", "Send a session token: Authorization: Bearer …", {}, headers);
  }
  const verified = await claims(token).catch((error: unknown) => {
    if (!(error instanceof TokenVerificationError)) throw error;
    throw refused(CODES[error.reason] ?? "token_malformed", "The token is not a session token for this API.");
  });
  if (!verified.sid) throw refused("token_unsupported_type", "The token is not a session token.");
  if (verified.sts === "pending") throw refused("session_pending", "The person has to finish signing in.");
  return { userId: verified.sub, sessionId: verified.sid };
}

/** Fails unless account and session are still good. */
async function check({ userId, sessionId }: Identity): Promise<void> {
  const { Responses: found = {}, UnprocessedKeys: left = {} } = await dynamo.send(new BatchGetCommand({
    RequestItems: {
      [USERS]: { Keys: [{ userId }], ProjectionExpression: "isActive, banned", ConsistentRead: true },
      [SESSIONS]: { Keys: [{ userId, sessionId }], ProjectionExpression: "sessionId", ConsistentRead: true },
    },
  }));
  // Whoever cannot be looked up is nobody.
  if (Object.keys(left).length) throw unavailable("DynamoDB left keys of a batch unread");
  const account = found[USERS]?.[0];
  if (account && (account.isActive === false || account.banned === true)) {
    throw refused("account_inactive", "The account is deleted or banned.");
  }
  if (found[SESSIONS]?.length) throw refused("session_ended", "The session has ended; sign in again.");
}

/** Reads on behalf of whoever calls, while account and session are checked. */
export async function reading<T>(request: Request, read: (identity: Identity) => Promise<T>): Promise<T> {
  const identity = await identify(request);
  // The check's refusal goes before whatever the read came to, a 404 for example.
  const [answer, checked] = await Promise.allSettled([read(identity), check(identity)]);
  if (checked.status === "rejected") throw checked.reason;
  if (answer.status === "rejected") throw answer.reason;
  return answer.value;
}

/** Writes on behalf of whoever calls, once account and session are found good. */
export async function writing<T>(request: Request, write: (identity: Identity) => Promise<T>): Promise<T> {
  const identity = await identify(request);
  await check(identity);
  return write(identity);
}
