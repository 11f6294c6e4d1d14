import { DeleteCommand, PutCommand, QueryCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { unmarshall } from "@aws-sdk/util-dynamodb";
import { v7 as uuidv7, validate, version as uuidVersion } from "uuid";

import { handler as answering, object, Problem, type Answer, type Request } from "./api.js";
import { reading, readingItems, writing } from "./auth.js";
import { ConditionalCheckFailedException, dynamo, required } from "./dynamo.js";

const TABLE = required("CHATS_TABLE");
const ATTRIBUTES = "chatId, title, createdAt, updatedAt, version";

interface Chat {
  chatId: string;
  title: string;
  createdTitle?: string;
  createdAt: number;
  updatedAt: number;
  writeId?: string;
  version: number;
}

type PublicChat = Omit<Chat, "createdTitle" | "writeId">;

const toJson = ({ chatId, title, createdAt, updatedAt, version }: PublicChat) =>
  ({ id: chatId, title, createdAt, updatedAt, version });
const position = ({ chatId, createdAt }: PublicChat) => `${String(createdAt).padStart(15, "0")}#${chatId}`;
const tagged = (status: number, chat: PublicChat, headers = {}): Answer =>
  ({ status, body: toJson(chat), headers: { etag: `"${chat.version}"`, ...headers } });
const notFound = () => new Problem(404, "not_found", "No such item.");

function idIn(text: unknown, status: number, code: string): string {
  if (typeof text !== "string" || !validate(text) || uuidVersion(text) !== 7) {
    throw new Problem(status, code, "Not a UUIDv7, or not a cursor of this API.");
  }
  return text.toLowerCase();
}

function titleIn(body: Record<string, unknown>): string {
  const title = typeof body.title === "string" ? body.title.trim() : "";
  if (title.length < 1 || [...title].length > 200 || /\p{Cc}/u.test(title)) {
    throw new Problem(422, "invalid_body", "title must have 1 to 200 characters and no control characters.");
  }
  return title;
}

/** The stored item if a write's condition failed; rethrows other errors. */
function stored(error: unknown): Chat | undefined {
  if (!(error instanceof ConditionalCheckFailedException)) throw error;
  return error.Item && (unmarshall(error.Item) as Chat);
}

function conditionFailure(chat: Chat | undefined): Problem {
  if (!chat) return notFound();
  const { version } = chat;
  const detail = "The item has changed since you read it. Fetch it again and retry with its current ETag.";
  return new Problem(412, "version_mismatch", detail, { version }, { etag: `"${version}"` });
}

const list = (request: Request) => reading(request, async ({ userId }) => {
  const limit = Number(request.query.limit ?? 50);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) {
    throw new Problem(400, "invalid_query", "limit must be a number from 1 to 100.");
  }
  const after = request.query.cursor && Buffer.from(request.query.cursor, "base64url").toString();
  if (after && !/^\d{15}#/.test(after)) throw new Problem(400, "invalid_query", "Invalid cursor.");
  const { Items: items = [] } = await dynamo.send(new QueryCommand({
    TableName: TABLE,
    IndexName: "newest",
    KeyConditionExpression: "userId = :user",
    ProjectionExpression: ATTRIBUTES,
    ExpressionAttributeValues: { ":user": userId },
    ExclusiveStartKey: after
      ? { userId, chatId: idIn(after.slice(16), 400, "invalid_query"), listPosition: after }
      : undefined,
    ScanIndexForward: false,
    ConsistentRead: true,
    Limit: limit + 1,
  }));
  const chats = items.slice(0, limit) as Chat[];
  const last = items.length > limit ? chats.at(-1) : undefined;
  const cursor = last ? Buffer.from(position(last)).toString("base64url") : null;
  return { status: 200, body: { chats: chats.map(toJson), cursor } };
});

const create = (request: Request) => writing(request, async ({ userId }) => {
  const body = object(request.body);
  const now = Date.now();
  const chatId = body.id === undefined ? uuidv7() : idIn(body.id, 422, "invalid_body");
  const writeId = uuidv7();
  const chat = { chatId, title: titleIn(body), createdAt: now, updatedAt: now, version: 1 };
  try {
    await dynamo.send(new PutCommand({
      TableName: TABLE,
      Item: { userId, ...chat, writeId, listPosition: position(chat) },
      ConditionExpression: "attribute_not_exists(chatId)",
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    }));
    return tagged(201, chat, { location: `/chats/${chatId}` });
  } catch (error) {
    const old = stored(error);
    // An earlier attempt may have succeeded and lost its response.
    if (old?.writeId === writeId) return tagged(201, old, { location: `/chats/${chatId}` });
    if (!old || (old.createdTitle ?? old.title) !== chat.title) {
      throw new Problem(409, "id_conflict", "Another item has this id.");
    }
    return tagged(200, old);
  }
});

const get = async (request: Request, chatId: string) => {
  const { found } = await readingItems(request, ({ userId }) => ({
    [TABLE]: { Keys: [{ userId, chatId }], ProjectionExpression: ATTRIBUTES, ConsistentRead: true },
  }));
  const chat = found[TABLE]?.[0];
  if (!chat) throw notFound();
  return tagged(200, chat as Chat);
};

function condition(request: Request) {
  const tag = request.headers["if-match"];
  if (!tag || tag === "*") return { text: "attribute_exists(chatId)", values: {} };
  const opaque = /^(?:W\/)?"([^"]*)"$/.exec(tag)?.[1];
  if (opaque === undefined) throw new Problem(400, "invalid_if_match", "If-Match must be an ETag or *.");
  // Versions begin at 1, so 0 matches nothing.
  const version = !tag.startsWith("W/") && /^\d+$/.test(opaque) ? Number(opaque) : 0;
  return { text: "version = :version", values: { ":version": version } };
}

const update = (request: Request, chatId: string) => writing(request, async ({ userId }) => {
  const { text, values } = condition(request);
  const title = titleIn(object(request.body));
  const writeId = uuidv7();
  try {
    const { Attributes: chat } = await dynamo.send(new UpdateCommand({
      TableName: TABLE,
      Key: { userId, chatId },
      UpdateExpression: "SET createdTitle = if_not_exists(createdTitle, title), title = :title, updatedAt = :now, "
        + "writeId = :writeId ADD version :one",
      ConditionExpression: `${text} AND writeId <> :writeId`,
      ExpressionAttributeValues: { ":title": title, ":now": Date.now(), ":writeId": writeId, ":one": 1, ...values },
      ReturnValues: "ALL_NEW",
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    }));
    return tagged(200, chat as Chat);
  } catch (error) {
    const old = stored(error);
    if (old?.writeId === writeId) return tagged(200, old);
    throw conditionFailure(old);
  }
});

const remove = (request: Request, chatId: string) => writing(request, async ({ userId }) => {
  const { text, values } = condition(request);
  try {
    await dynamo.send(new DeleteCommand({
      TableName: TABLE,
      Key: { userId, chatId },
      ConditionExpression: text,
      ExpressionAttributeValues: Object.keys(values).length ? values : undefined,
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    }));
    return { status: 204 };
  } catch (error) {
    throw conditionFailure(stored(error));
  }
});

const COLLECTION: Record<string, (request: Request) => Promise<Answer>> = { GET: list, POST: create };
const ITEM: Record<string, (request: Request, id: string) => Promise<Answer>> =
  { GET: get, PATCH: update, DELETE: remove };

export const handler = answering(async (request) => {
  const [, collection, id, ...more] = request.path.split("/");
  if (collection !== "chats" || more.length) throw new Problem(404, "route_not_found", "No such path.");
  const many = id === undefined ? COLLECTION[request.method] : undefined;
  const one = id === undefined ? undefined : ITEM[request.method];
  if (many) return many(request);
  if (one) return one(request, idIn(id, 400, "invalid_id"));
  throw new Problem(405, "method_not_allowed", "This path does not support this method.");
});
