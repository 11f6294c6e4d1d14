import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";

const WORKSPACE = path.resolve(import.meta.dirname, "../..");

/** The ports of a stack and its data folder. */
export interface Place {
  readonly ports: Readonly<Record<keyof typeof PARTS, string>>;
  readonly data: string;
  /** Variables of the environment in which it runs. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** The names of the parts in the output of a stack. */
const PARTS = {
  API_PORT: "API",
  CLERK_PORT: "Clerk",
  DYNAMODB_PORT: "DynamoDB",
  LIVE_PORT: "live",
  WEB_PORT: "open",
} as const;

/** A running local stack, as `make run` starts it. */
export interface Stack extends Place {
  readonly api: string;
  readonly clerk: string;
  /** The URL of the local dashboard. */
  readonly dashboard: string;
  readonly database: string;
  /** The URL of the WebSocket API. */
  readonly live: string;
  readonly web: string;
  /** The key of Clerk's Backend API. */
  readonly secretKey: string;
  stop(): Promise<void>;
}

/** A new folder, and ports that the system chooses when the stack starts. */
export async function newPlace(): Promise<Place> {
  const folder = path.join(WORKSPACE, "target/tmp");
  await mkdir(folder, { recursive: true });
  const data = await mkdtemp(path.join(folder, "web-"));
  return { ports: { API_PORT: "0", CLERK_PORT: "0", DYNAMODB_PORT: "0", LIVE_PORT: "0", WEB_PORT: "0" }, data };
}

/** Starts the stack, which `cargo build --workspace --bins` has built, and waits until it is ready. */
export async function start(place: Place, ...options: string[]): Promise<Stack> {
  const { data } = place;
  const environment = { ...process.env, ...place.environment, ...place.ports, LOCAL_DATA: data };
  const program = path.join(WORKSPACE, "target/debug/local");
  // It stops when its standard input closes, however this process ends.
  const stack = spawn(program, ["run", "--no-reload", "--until-stdin-closes", ...options], {
    cwd: WORKSPACE,
    env: environment,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const output: string[] = [];
  await new Promise<void>((resolve, reject) => {
    for (const stream of [stack.stdout, stack.stderr]) {
      createInterface(stream).on("line", (line) => {
        output.push(line);
        if (line.trim() === "ready") resolve();
      });
    }
    stack.once("error", reject);
    stack.once("exit", (code) => reject(new Error(`the stack ended (${code}):\n${output.join("\n")}`)));
  });
  const secrets = JSON.parse(await readFile(path.join(data, "clerk-secrets.json"), "utf8")) as { secret_key: string };
  const url = (part: string) =>
    output.map((line) => line.trim().split(/\s+/)).find(([name]) => name === part)?.[1] ?? "";
  const port = (name: keyof typeof PARTS) => URL.parse(url(PARTS[name]))?.port ?? "0";
  return {
    data,
    ports: {
      API_PORT: port("API_PORT"),
      CLERK_PORT: port("CLERK_PORT"),
      DYNAMODB_PORT: port("DYNAMODB_PORT"),
      LIVE_PORT: port("LIVE_PORT"),
      WEB_PORT: port("WEB_PORT"),
    },
    api: url(PARTS.API_PORT),
    clerk: url(PARTS.CLERK_PORT),
    dashboard: url("dashboard"),
    database: url(PARTS.DYNAMODB_PORT),
    live: url(PARTS.LIVE_PORT),
    web: url(PARTS.WEB_PORT),
    secretKey: secrets.secret_key,
    stop: () => stop(stack),
  };
}

async function stop(stack: ChildProcess): Promise<void> {
  const ended = new Promise<void>((resolve) => stack.once("exit", () => resolve()));
  stack.stdin?.end();
  await ended;
}

/** Calls Clerk's Backend API, and waits until its webhooks are delivered. */
export async function clerk(
  stack: Pick<Stack, "clerk" | "secretKey">,
  path: string,
  body: object = {},
  method = "POST",
): Promise<Record<string, string>> {
  const response = await fetch(`${stack.clerk}${path}`, {
    method,
    headers: { authorization: `Bearer ${stack.secretKey}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  for (const id of (response.headers.get("x-local-webhooks") ?? "").split(",").filter(Boolean)) {
    const webhook = await fetch(`${stack.clerk}/v1/webhooks/${id}`, {
      headers: { authorization: `Bearer ${stack.secretKey}` },
    });
    const { delivered } = (await webhook.json()) as { delivered: boolean };
    if (!delivered) throw new Error(`the webhook ${id} was not delivered`);
  }
  return response.status === 204 ? {} : ((await response.json()) as Record<string, string>);
}
