import { readFile } from "node:fs/promises";
import path from "node:path";

import type { Stack } from "../../testing/stack.ts";

/** Calls the database of a stack as the AWS CLI does, and returns the status. DynamoDB checks only the access key. */
export async function database(operation: string, body: object, { data, database }: Stack): Promise<number> {
  const credentials = await readFile(path.join(data, "aws-credentials"), "utf8");
  const key = /aws_access_key_id = (\S+)/.exec(credentials)?.[1];
  const response = await fetch(database, {
    method: "POST",
    headers: {
      authorization: `AWS4-HMAC-SHA256 Credential=${key}/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0`,
      "content-type": "application/x-amz-json-1.0",
      "x-amz-date": "20260101T000000Z",
      "x-amz-target": `DynamoDB_20120810.${operation}`,
    },
    body: JSON.stringify(body),
  });
  await response.text();
  return response.status;
}
