// Relays signaling packets with the socket.io server of npm.
//
//   node relay.mjs NODE_MODULES
//
// The namespace "/" takes everybody and has no prefix; "/rooms" wants the token
// "let me in" and has the prefix "peerix:". Prints the port. On stdin, "down"
// ends all connections and refuses others, "up" takes them again; the process
// ends with its stdin.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { resolve } from "node:path";

const { Server } = createRequire(resolve(process.argv[2]) + "/")("socket.io");

let down = false;
const http = createServer();
const io = new Server(http, {
  maxHttpBufferSize: 8e6, // a packet of 1 MiB becomes up to 4 MiB of numbers
  connectionStateRecovery: {}, // adds an argument to what is sent
  allowRequest: (request, answer) => answer(null, !down),
});

function relay(namespace, prefix) {
  namespace.on("connection", (socket) => {
    socket.on(`${prefix}subscribe`, (room, done) => {
      socket.join(room);
      done();
    });
    socket.on(`${prefix}unsubscribe`, (room, done) => {
      socket.leave(room);
      done();
    });
    socket.on(`${prefix}publish`, (room, data, done) => {
      // What a careless relay does, and the driver refuses.
      const out = room === "as-binary" ? Buffer.from(data) : data;
      socket.to(room).emit(`${prefix}message`, room, out);
      done();
    });
  });
}

relay(io.of("/"), "");
relay(io.of("/rooms"), "peerix:");
io.of("/rooms").use((socket, next) => {
  next(socket.handshake.auth.token === "let me in" ? undefined : new Error("bad token"));
});

createInterface({ input: process.stdin })
  .on("line", (line) => {
    down = line === "down";
    if (down) for (const client of Object.values(io.engine.clients)) client.close(true);
  })
  .on("close", () => process.exit());

http.listen(0, "127.0.0.1", () => console.log(http.address().port));
