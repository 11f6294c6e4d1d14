// Runs in the server of Next.js, and writes the host of each connection that it opens.
import { appendFileSync } from "node:fs";
import { Socket } from "node:net";

const { connect } = Socket.prototype;
Socket.prototype.connect = function (...options) {
  appendFileSync(process.env.CONNECTIONS, `${options.flat()[0].host}\n`);
  return connect.apply(this, options);
};
