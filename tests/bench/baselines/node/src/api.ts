import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from "aws-lambda";

/** An error response (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly members: Record<string, unknown> = {},
    readonly headers: Record<string, string> = {},
  ) {
    super(detail);
  }
}

/** A dependency does not respond. */
export const unavailable = (cause: unknown) =>
  Object.assign(new Problem(503, "unavailable", "Retry later.", {}, { "retry-after": "2" }), { cause });

/** DynamoDB's and the SDK's transient errors. */
const TRANSIENT = /Throttl|LimitExceeded|ThroughputExceeded|TransactionConflict|Timeout/;

function problem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { name, code, $metadata: answer } =
    error as { name: string; code?: string; $metadata?: { httpStatusCode?: number } };
  // Network errors have codes such as ECONNREFUSED.
  const unreachable = /^E[A-Z]+$/.test(code ?? "") || (answer?.httpStatusCode ?? 0) >= 500;
  if (unreachable || TRANSIENT.test(name)) return unavailable(error);
  return Object.assign(new Problem(500, "internal", "Internal error."), { cause: error });
}

export interface Request {
  method: string;
  path: string;
  query: Record<string, string | undefined>;
  headers: Record<string, string | undefined>;
  body: string;
}

export interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

const TITLES: Record<number, string> = {
  400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
  412: "Precondition Failed", 422: "Unprocessable Entity", 500: "Internal Server Error", 503: "Service Unavailable",
};

function request(event: APIGatewayProxyEventV2): Request {
  const body = event.body ?? "";
  return {
    method: event.requestContext.http.method,
    path: event.rawPath,
    query: event.queryStringParameters ?? {},
    headers: event.headers,
    body: event.isBase64Encoded ? Buffer.from(body, "base64").toString() : body,
  };
}

/** A Lambda handler: returns what `serve` returns or throws, and logs one line per request. */
export function handler(serve: (request: Request) => Promise<Answer>) {
  return async (event: APIGatewayProxyEventV2, context: Context): Promise<APIGatewayProxyStructuredResultV2> => {
    const started = performance.now();
    const received = request(event);
    let answer: Answer;
    let code: string | undefined;
    try {
      answer = await serve(received);
    } catch (error) {
      const { status, message: detail, members, headers, cause, ...rest } = problem(error);
      if (cause) console.error(JSON.stringify({ level: "ERROR", cause: String(cause) }));
      code = rest.code;
      const body = { type: "about:blank", title: TITLES[status] ?? "", status, detail, code, ...members };
      answer = { status, body, headers: { "content-type": "application/problem+json", ...headers } };
    }
    console.log(JSON.stringify({
      level: "INFO", message: "request", requestId: context.awsRequestId, method: received.method,
      route: received.path.replace(/(?<=^\/chats\/).+/, "{id}"),
      status: answer.status, code, durationMs: performance.now() - started,
    }));
    return {
      statusCode: answer.status,
      headers: { "content-type": "application/json", "cache-control": "no-store", ...answer.headers },
      body: answer.body === undefined ? "" : JSON.stringify(answer.body),
    };
  };
}

/** Parses a JSON object. */
export function object(body: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new Problem(400, "invalid_json", "The body is not valid JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem(422, "invalid_body", "The body must be a JSON object.");
  }
  return value as Record<string, unknown>;
}
