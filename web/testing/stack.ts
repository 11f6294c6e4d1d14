import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";

const WORKSPACE = path.resolve(import.meta.dirname, "../..");

/** Where a stack listens, and keeps its data. */
export interface Place {
  readonly ports: Readonly<Record<"API_PORT" | "CLERK_PORT" | "DYNAMODB_PORT" | "WEB_PORT", number>>;
  readonly data: string;
}

/** A running local stack, as `make run` starts it. */
export interface Stack extends Place {
  readonly api: string;
  readonly clerk: string;
  readonly web: string;
  /** Opens Clerk's Backend API. */
  readonly secretKey: string;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("a listening server has a port");
  return address.port;
}

/** A place that nobody else uses. */
export async function somewhere(): Promise<Place> {
  const [API_PORT, CLERK_PORT, DYNAMODB_PORT, WEB_PORT] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const folder = path.join(WORKSPACE, "target/tmp");
  await mkdir(folder, { recursive: true });
  const data = await mkdtemp(path.join(folder, "web-"));
  return { ports: { API_PORT, CLERK_PORT, DYNAMODB_PORT, WEB_PORT }, data };
}

/** Starts the stack, which `cargo build --workspace --bins` has built, and waits until it is ready. */
export async function start(place: Place, ...options: string[]): Promise<Stack> {
  const { ports, data } = place;
  const environment: NodeJS.ProcessEnv = { ...process.env, LOCAL_DATA: data };
  for (const [name, port] of Object.entries(ports)) environment[name] = String(port);
  const program = path.join(WORKSPACE, "target/debug/local");
  // It ends with its standard input, however this process ends.
  const stack = spawn(program, ["run", "--no-reload", "--until-stdin-closes", ...options], {
    cwd: WORKSPACE,
    env: environment,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const said: string[] = [];
  await new Promise<void>((resolve, reject) => {
    for (const stream of [stack.stdout, stack.stderr]) {
      createInterface(stream).on("line", (line) => {
        said.push(line);
        if (line.trim() === "ready") resolve();
      });
    }
    stack.once("error", reject);
    stack.once("exit", (code) => reject(new Error(`the stack ended (${code}):\n${said.join("\n")}`)));
  });
  const secrets = JSON.parse(await readFile(path.join(data, "clerk-secrets.json"), "utf8")) as { secret_key: string };
  return {
    ...place,
    api: `http://127.0.0.1:${ports.API_PORT}`,
    clerk: `http://127.0.0.1:${ports.CLERK_PORT}`,
    web: `http://localhost:${ports.WEB_PORT}`,
    secretKey: secrets.secret_key,
    stop: () => stop(stack),
  };
}

async function stop(stack: ChildProcess): Promise<void> {
  const ended = new Promise<void>((resolve) => stack.once("exit", () => resolve()));
  stack.stdin?.end();
  await ended;
}

/** Clerk's Backend API. */
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
  // What changed is known to the functions once they have been told.
  for (const id of (response.headers.get("x-local-webhooks") ?? "").split(",").filter(Boolean)) {
    const told = await fetch(`${stack.clerk}/v1/webhooks/${id}`, {
      headers: { authorization: `Bearer ${stack.secretKey}` },
    });
    const { delivered } = (await told.json()) as { delivered: boolean };
    if (!delivered) throw new Error(`the webhook ${id} was not delivered`);
  }
  return (await response.json()) as Record<string, string>;
}
