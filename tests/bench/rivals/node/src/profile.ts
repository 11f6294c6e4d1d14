import { GetCommand } from "@aws-sdk/lib-dynamodb";

import { handler as answering, Problem } from "./api.js";
import { reading } from "./auth.js";
import { dynamo, required } from "./dynamo.js";

const TABLE = required("USERS_TABLE");

export const handler = answering(async (request) => {
  if (request.path !== "/profile") throw new Problem(404, "route_not_found", "No such path.");
  if (request.method !== "GET") throw new Problem(405, "method_not_allowed", "This path does not take this method.");
  return reading(request, async ({ userId }) => {
    const { Item: item } = await dynamo.send(new GetCommand({
      TableName: TABLE, Key: { userId }, ConsistentRead: true,
    }));
    if (!item) throw new Problem(404, "not_found", "There is no profile yet.");
    // A version begins with the time as of which it was true.
    const at = (version?: string) => (version === undefined ? -1 : Number(version.split("-")[0]));
    const told = at(item.clerkVersion);
    const claimed = at(item.claimedVersion);
    /** The newest that Clerk vouched for, by webhook or token; the caller's word where Clerk has not told yet. */
    const newest = (name: string) => {
      const register = name[0]?.toUpperCase() + name.slice(1);
      const claim = claimed > told ? item[`claimed${register}`] : undefined;
      return claim ?? item[told >= 0 ? name : `caller${register}`] ?? null;
    };
    return {
      status: 200,
      body: {
        id: userId,
        email: newest("email"),
        firstName: newest("firstName"),
        lastName: newest("lastName"),
        imageUrl: newest("imageUrl"),
        createdAt: item.createdAt ?? item.callerCreatedAt ?? item.deletedAt ?? 0,
        updatedAt: Math.max(told, claimed, item.deletedAt ?? 0, told < 0 ? (item.callerUpdatedAt ?? 0) : 0),
        isActive: (item.isActive ?? true) && !item.banned,
      },
    };
  });
});
