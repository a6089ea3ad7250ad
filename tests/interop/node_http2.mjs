// Node's http2 as a server: trailers, early hints, events, echoes; it refuses to be pushed at. Usage: node node_http2.mjs PORT [CERT KEY]
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http2 from "node:http2";

const [, , port, cert, key] = process.argv;
const settings = { enablePush: false, maxConcurrentStreams: 100 };
const server = cert
  ? http2.createSecureServer({ cert: readFileSync(cert), key: readFileSync(key), settings })
  : http2.createServer({ settings });

server.on("stream", async (stream, headers) => {
  stream.on("error", () => {});
  const [, word, rest] = headers[":path"].split("?")[0].split("/");
  if (word === "trailers") {
    stream.respond({ ":status": 200, trailer: "x-sum, x-last" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "42", "x-last": "yes" }));
    stream.end("hello");
  } else if (word === "hints") {
    stream.additionalHeaders({ ":status": 103, link: "</a.css>; rel=preload" });
    stream.respond({ ":status": 200 });
    stream.end("after hints\n");
  } else if (word === "bytes") {
    stream.respond({ ":status": 200, "content-length": rest });
    let left = Number(rest);
    while (left > 0 && !stream.destroyed) {
      const now = Math.min(left, 65_536);
      left -= now;
      if (!stream.write(Buffer.alloc(now, "x"))) await new Promise((resolve) => stream.once("drain", resolve).once("close", resolve));
    }
    stream.end();
  } else if (word === "push") {
    stream.respond({ ":status": 200 });
    stream.end(String(stream.pushAllowed));
  } else if (word === "reset") {
    stream.respond({ ":status": 200 });
    stream.write("a beginning");
    setTimeout(() => stream.destroy(new Error("as asked")), 50);
  } else if (word === "events") {
    stream.respond({ ":status": 200, "content-type": "text/event-stream" });
    for (let number = 0; number < Number(rest) && !stream.destroyed; number++) {
      stream.write(`data: ${Date.now() / 1000}\n\n`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    stream.end();
  } else if (word === "hold") {
    // What is sent is not read for so long.
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(rest)));
    stream.resume();
    stream.on("end", () => {
      stream.respond({ ":status": 200 });
      stream.end("held\n");
    });
  } else if (word === "refused") {
    stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
  } else {
    const hash = createHash("sha256");
    let length = 0;
    for await (const part of stream) {
      hash.update(part);
      length += part.length;
    }
    const plain = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(":")));
    stream.respond({ ":status": 200, "content-type": "application/json", "x-seen-method": headers[":method"] });
    stream.end(JSON.stringify({ method: headers[":method"], authority: headers[":authority"], scheme: headers[":scheme"], length, sha256: hash.digest("hex"), headers: plain }));
  }
});
// One stream that is not read must not use up what all may send.
server.on("session", (session) => session.setLocalWindowSize(2 ** 24));
server.listen(Number(port), "127.0.0.1");
