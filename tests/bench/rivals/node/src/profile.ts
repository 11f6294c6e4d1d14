import { GetCommand } from "@aws-sdk/lib-dynamodb";

import { handler as answering, Problem } from "./api.js";
import { reading } from "./auth.js";
import { dynamo, required } from "./dynamo.js";

const TABLE = required("USERS_TABLE");

export const handler = answering(async (request) => {
  if (request.path !== "/profile") throw new Problem(404, "no_such_path", "There is nothing at this path.");
  if (request.method !== "GET") throw new Problem(405, "method_not_allowed", "This path does not take this method.");
  return reading(request, async ({ userId }) => {
    const { Item: item } = await dynamo.send(new GetCommand({
      TableName: TABLE, Key: { userId }, ConsistentRead: true,
    }));
    if (!item) throw new Problem(404, "not_found", "There is no profile yet.");
    const known = item.clerkVersion !== undefined;
    const createdAt = item.createdAt ?? item.callerCreatedAt;
    return {
      status: 200,
      body: {
        id: userId,
        email: (known ? item.email : item.callerEmail) ?? null,
        firstName: (known ? item.firstName : item.callerFirstName) ?? null,
        lastName: (known ? item.lastName : item.callerLastName) ?? null,
        imageUrl: (known ? item.imageUrl : item.callerImageUrl) ?? null,
        createdAt,
        updatedAt: known ? Number(String(item.clerkVersion).split("-")[0]) : (item.callerUpdatedAt ?? createdAt),
        isActive: (item.isActive ?? true) && !item.banned,
      },
    };
  });
});
