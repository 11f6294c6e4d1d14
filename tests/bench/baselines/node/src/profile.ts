import { handler as answering, Problem } from "./api.js";
import { readingItems, USERS } from "./auth.js";

export const handler = answering(async (request) => {
  if (request.path !== "/profile") throw new Problem(404, "route_not_found", "No such path.");
  if (request.method !== "GET") throw new Problem(405, "method_not_allowed", "This path does not support this method.");
  // The account is the profile: the session check reads it with all its attributes.
  const { identity: { userId: id }, found } = await readingItems(request, ({ userId }) => ({
    [USERS]: { Keys: [{ userId }], ConsistentRead: true },
  }));
  const item = found[USERS]?.[0];
  if (!item) throw new Problem(404, "not_found", "No such item.");
  // A version begins with its time.
  const at = (version?: string) => (version === undefined ? -1 : Number(version.split("-")[0]));
  const webhook = at(item.clerkVersion);
  const claimed = at(item.claimedVersion);
  /** The newest Clerk-verified value, from a webhook or a token; the user-supplied one before the first webhook. */
  const newest = (name: string) => {
    const suffix = name[0]?.toUpperCase() + name.slice(1);
    const claim = claimed > webhook ? item[`claimed${suffix}`] : undefined;
    return claim ?? item[webhook >= 0 ? name : `caller${suffix}`] ?? null;
  };
  const updatedAt = Math.max(webhook, claimed, item.deletedAt ?? 0, webhook < 0 ? (item.callerUpdatedAt ?? 0) : 0);
  return {
    status: 200,
    body: {
      id,
      email: newest("email"),
      firstName: newest("firstName"),
      lastName: newest("lastName"),
      imageUrl: newest("imageUrl"),
      createdAt: item.createdAt ?? item.callerCreatedAt ?? item.deletedAt ?? 0,
      updatedAt,
      isActive: (item.isActive ?? true) && !item.banned,
    },
  };
});
