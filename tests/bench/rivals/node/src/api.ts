import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from "aws-lambda";

/** An answer that is no success (RFC 9457). */
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

/** Something that is needed does not answer. */
export const unavailable = (cause: unknown) =>
  Object.assign(new Problem(503, "unavailable", "Send the request again later.", {}, { "retry-after": "2" }), { cause });

/** Errors of DynamoDB's and of the SDK's that may not come again. */
const TRANSIENT = /Throttl|LimitExceeded|ThroughputExceeded|TransactionConflict|Timeout/;

function problem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { name, code, $metadata: answer } = error as { name: string; code?: string; $metadata?: { httpStatusCode?: number } };
  // The network's errors have codes like ECONNREFUSED.
  const unanswered = /^E[A-Z]+$/.test(code ?? "") || (answer?.httpStatusCode ?? 0) >= 500;
  if (unanswered || TRANSIENT.test(name)) return unavailable(error);
  return Object.assign(new Problem(500, "internal", "Something went wrong here."), { cause: error });
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

/** A Lambda handler: answers what `serve` answers or throws, and logs a line a request. */
export function handler(serve: (request: Request) => Promise<Answer>) {
  return async (event: APIGatewayProxyEventV2, context: Context): Promise<APIGatewayProxyStructuredResultV2> => {
    const started = performance.now();
    const asked = request(event);
    let answer: Answer;
    let code: string | undefined;
    try {
      answer = await serve(asked);
    } catch (error) {
      const { status, message: detail, members, headers, cause, ...rest } = problem(error);
      if (cause) console.error(JSON.stringify({ level: "ERROR", cause: String(cause) }));
      code = rest.code;
      const body = { type: "about:blank", title: TITLES[status] ?? "", status, detail, code, ...members };
      answer = { status, body, headers: { "content-type": "application/problem+json", ...headers } };
    }
    console.log(JSON.stringify({
      level: "INFO", message: "request", requestId: context.awsRequestId, method: asked.method,
      route: asked.path.replace(/(?<=^\/chats\/).+/, "{id}"),
      status: answer.status, code, durationMs: performance.now() - started,
    }));
    return {
      statusCode: answer.status,
      headers: { "content-type": "application/json", "cache-control": "no-store", ...answer.headers },
      body: answer.body === undefined ? "" : JSON.stringify(answer.body),
    };
  };
}

/** A JSON object and nothing else. */
export function object(body: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new Problem(400, "invalid_json", "The body is not JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem(422, "invalid_body", "The body has to be a JSON object.");
  }
  return value as Record<string, unknown>;
}
