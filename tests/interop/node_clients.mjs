// Node's stock clients: node:http with an Agent, and fetch. Usage: node node_clients.mjs URL agent|fetch
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

const [, , base, kind] = process.argv;
const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");
let failed = false;

async function check(name, run) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    failed = true;
    console.log(`FAIL ${name}: ${error?.stack?.split("\n").slice(0, 2).join(" ")} ${error?.cause ?? ""}`);
  }
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
const sockets = new Set();

function ask(path, options = {}, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(base + path, { agent, ...options }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve({ response, body: Buffer.concat(parts) }));
      response.on("error", reject);
    });
    request.on("socket", (socket) => sockets.add(socket));
    request.on("error", reject);
    if (body instanceof Readable) body.pipe(request);
    else request.end(body);
  });
}

if (kind === "agent") {
  await check("400 requests over 8 kept connections", async () => {
    const answers = await Promise.all(Array.from({ length: 400 }, (_, n) => ask(`/bytes/${n * 50}`)));
    answers.forEach(({ response, body }, n) => {
      assert.equal(response.statusCode, 200);
      assert.equal(body.length, n * 50);
    });
    assert.ok(sockets.size <= 8, `${sockets.size} connections`);
  });
  await check("all methods", async () => {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]) {
      const { response } = await ask("/echo/", { method }, ["POST", "PUT", "PATCH"].includes(method) ? "ab" : undefined);
      assert.equal(response.headers["x-seen-method"], method);
    }
  });
  await check("a stream by chunks", async () => {
    const sent = randomBytes(3_000_000);
    const { body } = await ask("/echo/", { method: "POST" }, Readable.from([sent.subarray(0, 10), sent.subarray(10)]));
    const saw = JSON.parse(body);
    assert.deepEqual([saw.sha256, saw.chunked], [sha(sent), true]);
  });
  await check("expect, trailers up, trailers down", async () => {
    const saw = await new Promise((resolve, reject) => {
      const headers = { expect: "100-continue", trailer: "x-sum", "transfer-encoding": "chunked" };
      const request = http.request(`${base}/echo/`, { agent, method: "POST", headers }, (response) => {
        let text = "";
        response.on("data", (part) => (text += part));
        response.on("end", () => resolve(JSON.parse(text)));
      });
      request.on("continue", () => {
        request.write("hello");
        request.addTrailers({ "x-sum": "7" });
        request.end();
      });
      request.on("error", reject);
      request.flushHeaders();
    });
    assert.equal(saw.length, 5);
    assert.deepEqual(saw.trailers.map(([name, value]) => [name.toLowerCase(), value]), [["x-sum", "7"]]);
    const { response } = await ask("/trailers/", { headers: { te: "trailers" } });
    assert.equal(response.trailers["x-sum"], "42");
  });
  await check("early hints", async () => {
    const hints = await new Promise((resolve, reject) => {
      let link;
      const request = http.get(`${base}/hints/`, { agent }, (response) => {
        response.resume();
        response.on("end", () => resolve(link));
      });
      request.on("information", (told) => (link = told.headers.link));
      request.on("error", reject);
    });
    assert.equal(hints, "</a.css>; rel=preload");
  });
  await check("a client that leaves midway disturbs nobody", async () => {
    await Promise.all(
      Array.from({ length: 50 }, () => new Promise((resolve) => {
        const request = http.get(`${base}/bytes/5000000`, (response) => {
          response.once("data", () => request.destroy());
          response.on("error", () => {});
        });
        request.on("error", () => {});
        request.on("close", resolve);
      })),
    );
    assert.equal((await ask("/bytes/10")).body.length, 10);
  });
}

if (kind === "fetch") {
  await check("JSON there and back", async () => {
    const body = JSON.stringify({ text: "grüße", list: [1, 2, 3] });
    const answer = await fetch(`${base}/echo/`, { method: "POST", body, headers: { "content-type": "application/json" } });
    assert.equal((await answer.json()).sha256, sha(body));
  });
  await check("200 at once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => (await (await fetch(`${base}/chunks/${n * 333}`)).arrayBuffer()).byteLength),
    );
    answers.forEach((length, n) => assert.equal(length, n * 333));
  });
  await check("a stream up", async () => {
    const sent = randomBytes(2_000_000);
    const body = new ReadableStream({
      async start(controller) {
        for (let at = 0; at < sent.length; at += 200_000) {
          controller.enqueue(sent.subarray(at, at + 200_000));
          await sleep(5);
        }
        controller.close();
      },
    });
    const answer = await fetch(`${base}/echo/`, { method: "POST", body, duplex: "half" });
    const saw = await answer.json();
    assert.deepEqual([saw.sha256, saw.chunked], [sha(sent), true]);
  });
  await check("a stream down, as it comes", async () => {
    const answer = await fetch(`${base}/events/8`);
    const delays = [];
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      for (const [, sent] of part.matchAll(/data: ([\d.]+)/g)) {
        delays.push(Date.now() / 1000 - Number(sent));
      }
    }
    delays.sort((a, b) => a - b);
    assert.ok(delays.length === 8 && delays[4] < 0.09, `events were held: ${delays}`);
  });
  await check("gzip, 204, 404, HEAD", async () => {
    assert.equal((await (await fetch(`${base}/gzip/200000`)).arrayBuffer()).byteLength, 200000);
    assert.equal((await fetch(`${base}/status/204`)).status, 204);
    assert.equal((await fetch(`${base}/status/404`)).status, 404);
    assert.equal((await fetch(`${base}/bytes/777`, { method: "HEAD" })).headers.get("content-length"), "777");
  });
  await check("given up midway, then another", async () => {
    for (let turn = 0; turn < 20; turn += 1) {
      const giveUp = new AbortController();
      const answer = await fetch(`${base}/bytes/20000000`, { signal: giveUp.signal });
      await answer.body.getReader().read();
      giveUp.abort();
    }
    assert.equal((await (await fetch(`${base}/bytes/9`)).arrayBuffer()).byteLength, 9);
  });
}

agent.destroy();
if (!failed) console.log("done");
process.exit(failed ? 1 : 0);
