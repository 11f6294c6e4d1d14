// Serves the built application of the working directory at a host and port, until standard input closes. Its pages belong to
// http://localhost:WEB_PORT.
import { createServer } from "node:http";
import next from "next";

const { HOST, PORT, WEB_PORT } = process.env;
const application = next({ hostname: "localhost", port: Number(WEB_PORT) });
await application.prepare();
createServer(application.getRequestHandler()).listen(Number(PORT), HOST);
process.stdin.once("end", () => process.exit()).resume();
