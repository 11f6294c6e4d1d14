import type { Auth } from "./session.ts";

/** A user and their session. */
export type Identity = Pick<Auth, "sessionId" | "userId">;

/** The user and session of a token, which only the API verifies. Undefined if the token cannot be read. */
export function identityOf(token: string): Identity | undefined {
  try {
    const { sub, sid } = JSON.parse(atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/")));
    return { userId: sub, sessionId: sid };
  } catch {
    return undefined;
  }
}

/** Whether something is of another user or session than `identity`, as far as that is known. */
export const isForeign = (of: Identity | undefined, { userId, sessionId }: Identity): boolean =>
  Boolean(of && ((userId && of.userId !== userId) || (sessionId && of.sessionId && of.sessionId !== sessionId)));
