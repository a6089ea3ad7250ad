// Node's stock server with the application of apps.py. Usage: node node_server.mjs PORT
import { createHash } from "node:crypto";
import http from "node:http";

http
  .createServer(async (request, response) => {
    const [, word, rest] = request.url.split("?")[0].split("/");
    if (word === "bytes" || word === "chunks") {
      if (word === "bytes") response.setHeader("content-length", rest);
      let left = Number(rest);
      while (left > 0) {
        const now = Math.min(left, 50_000);
        left -= now;
        if (!response.write(Buffer.alloc(now, "x"))) await new Promise((resolve) => response.once("drain", resolve));
      }
      response.end();
    } else if (word === "none") {
      response.writeHead(204).end();
    } else {
      const hash = createHash("sha256");
      let length = 0;
      for await (const part of request) {
        hash.update(part);
        length += part.length;
      }
      const forwarded = request.headers["x-forwarded-for"];
      response.end(JSON.stringify({ method: request.method, length, sha256: hash.digest("hex"), forwarded }));
    }
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
