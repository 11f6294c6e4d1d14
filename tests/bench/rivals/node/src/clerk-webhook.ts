import { createHash } from "node:crypto";

import { UpdateCommand, type UpdateCommandInput } from "@aws-sdk/lib-dynamodb";
import { Webhook, WebhookVerificationError } from "svix";

import { handler as answering, Problem } from "./api.js";
import { ConditionalCheckFailedException, dynamo, required } from "./dynamo.js";

const USERS = required("USERS_TABLE");
const SESSIONS = required("SESSIONS_TABLE");
const WEBHOOK = new Webhook(required("CLERK_WEBHOOK_SIGNING_SECRET"));
/** Longer than any token of an ended session lives, in seconds. */
const REMEMBERED = 24 * 60 * 60;

interface User {
  id: string;
  first_name?: string | null;
  last_name?: string | null;
  image_url?: string | null;
  banned?: boolean;
  primary_email_address_id?: string | null;
  email_addresses?: { id: string; email_address: string }[];
  created_at: number;
  updated_at: number;
}

interface Session {
  id: string;
  user_id: string;
  updated_at?: number;
}

type Event = { timestamp: number } & (
  | { type: "user.created" | "user.updated"; data: User }
  | { type: "user.deleted"; data: { id: string } }
  | { type: "session.ended" | "session.removed" | "session.revoked"; data: Session }
);

/** Makes a change. That its condition fails means that it, or a newer one, had been made before. */
async function update(input: Omit<UpdateCommandInput, "TableName">, table: string): Promise<void> {
  try {
    await dynamo.send(new UpdateCommand({ TableName: table, ...input }));
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}

function userChanged(user: User): Promise<void> {
  const email = user.email_addresses?.find(({ id }) => id === user.primary_email_address_id)?.email_address;
  const details = { email, firstName: user.first_name, lastName: user.last_name, imageUrl: user.image_url };
  const banned = user.banned ?? false;
  const said = createHash("sha256").update(JSON.stringify([details, banned, user.created_at])).digest("base64url");
  const set = Object.entries(details).filter(([, value]) => value);
  const remove = Object.entries(details).filter(([, value]) => !value);
  return update({
    Key: { userId: user.id },
    UpdateExpression: "SET isActive = if_not_exists(isActive, :active), banned = :banned, createdAt = :created, "
      + "clerkVersion = :version" + set.map(([name]) => `, ${name} = :${name}`).join("")
      + (remove.length ? ` REMOVE ${remove.map(([name]) => name).join(", ")}` : ""),
    ConditionExpression: "attribute_not_exists(erasedAt) AND "
      + "(attribute_not_exists(clerkVersion) OR clerkVersion < :version)",
    ExpressionAttributeValues: {
      ":active": true,
      ":banned": banned,
      ":created": user.created_at,
      ":version": `${String(user.updated_at).padStart(20, "0")}-${said}`,
      ...Object.fromEntries(set.map(([name, value]) => [`:${name}`, value])),
    },
  }, USERS);
}

export const handler = answering(async ({ body, headers }) => {
  try {
    WEBHOOK.verify(body, headers as Record<string, string>);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    const code = error.message === "Missing required headers" ? "webhook_headers_missing"
      : error.message === "No matching signature found" ? "webhook_bad_signature" : "webhook_stale";
    throw new Problem(400, code, "This is no webhook that was signed just now with the endpoint's secret.");
  }
  const event = JSON.parse(body) as Event;
  switch (event.type) {
    case "user.created":
    case "user.updated":
      await userChanged(event.data);
      break;
    case "user.deleted":
      await update({
        Key: { userId: event.data.id },
        UpdateExpression: "SET isActive = :active, deletedAt = :at",
        ConditionExpression: "attribute_not_exists(deletedAt) OR deletedAt > :at",
        ExpressionAttributeValues: { ":active": false, ":at": event.timestamp },
      }, USERS);
      break;
    case "session.ended":
    case "session.removed":
    case "session.revoked":
      await update({
        Key: { userId: event.data.user_id, sessionId: event.data.id },
        UpdateExpression: "SET expiresAt = :at",
        ConditionExpression: "attribute_not_exists(expiresAt) OR expiresAt < :at",
        ExpressionAttributeValues: {
          ":at": Math.floor((event.data.updated_at ?? event.timestamp) / 1000) + REMEMBERED,
        },
      }, SESSIONS);
  }
  return { status: 200, body: { success: true } };
});
