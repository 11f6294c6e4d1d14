import { verifyToken } from "@clerk/backend";
import { verifyJwt } from "@clerk/backend/jwt";
import { BatchGetCommand } from "@aws-sdk/lib-dynamodb";

import { Problem, type Request } from "./api.js";
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

type Key = JsonWebKey & { kid: string };
let published: { keys: Map<string, Key>; at: number } | undefined;

/** The issuer's key by that name, for when none is given in the environment. */
async function publishedKey(kid: string): Promise<Key> {
  if (!published || Date.now() - published.at > KEYS_FRESH_FOR) {
    const answer = await fetch(`${ISSUER}/.well-known/jwks.json`);
    const { keys } = (await answer.json()) as { keys: Key[] };
    published = { keys: new Map(keys.map((key) => [key.kid, key])), at: Date.now() };
  }
  const key = published.keys.get(kid);
  if (!key) throw new Error("unknown key");
  return key;
}

async function claims(token: string) {
  const options = { authorizedParties: PARTIES };
  if (JWT_KEY) return verifyToken(token, { jwtKey: JWT_KEY, ...options });
  const header = JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()) as { kid: string };
  return verifyJwt(token, { key: await publishedKey(header.kid), ...options });
}

/** Who calls, by the token alone. */
export async function identify(request: Request): Promise<Identity> {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  if (scheme?.toLowerCase() !== "bearer" || !token) {
    const headers = { "www-authenticate": "Bearer" };
    throw new Problem(401, "token_missing", "Send a session token: Authorization: Bearer …", {}, headers);
  }
  const verified = await claims(token).catch(() => undefined);
  if (!verified || verified.iss !== ISSUER || !verified.sid) {
    const headers = { "www-authenticate": 'Bearer error="invalid_token"' };
    throw new Problem(401, "token_malformed", "The token is not a session token for this API.", {}, headers);
  }
  return { userId: verified.sub, sessionId: verified.sid };
}

/** Fails unless account and session are still good. */
async function check({ userId, sessionId }: Identity): Promise<void> {
  const { Responses: found = {} } = await dynamo.send(new BatchGetCommand({
    RequestItems: {
      [USERS]: { Keys: [{ userId }], ProjectionExpression: "isActive, banned", ConsistentRead: true },
      [SESSIONS]: { Keys: [{ userId, sessionId }], ProjectionExpression: "sessionId", ConsistentRead: true },
    },
  }));
  const account = found[USERS]?.[0];
  if (account && (account.isActive === false || account.banned === true)) {
    throw new Problem(401, "account_inactive", "The account is deleted or banned.");
  }
  if (found[SESSIONS]?.length) throw new Problem(401, "session_ended", "The session has ended; sign in again.");
}

/** Reads on behalf of whoever calls, while account and session are checked. */
export async function reading<T>(request: Request, read: (identity: Identity) => Promise<T>): Promise<T> {
  const identity = await identify(request);
  const [answer] = await Promise.all([read(identity), check(identity)]);
  return answer;
}

/** Writes on behalf of whoever calls, once account and session are found good. */
export async function writing<T>(request: Request, write: (identity: Identity) => Promise<T>): Promise<T> {
  const identity = await identify(request);
  await check(identity);
  return write(identity);
}
