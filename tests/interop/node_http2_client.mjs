// Node's http2 as a client. Usage: node node_http2_client.mjs URL CA
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import http2 from "node:http2";

const [, , base, authority] = process.argv;
const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");

async function check(name, run) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${error?.stack?.split("\n").slice(0, 2).join(" ")}`);
  }
}

const session = http2.connect(base, { ca: readFileSync(authority), servername: "localhost" });
session.on("error", (error) => console.log(`FAIL session: ${error}`));

function ask(path, more = {}, body) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":path": path, ...more }, { endStream: body === undefined });
    const seen = { hints: [], trailers: {}, parts: [] };
    stream.on("headers", (headers) => seen.hints.push(headers));
    stream.on("response", (headers) => (seen.headers = headers));
    stream.on("trailers", (headers) => (seen.trailers = headers));
    stream.on("data", (part) => seen.parts.push(part));
    // A reset may be told as an end first; what the stream was closed with comes last.
    stream.on("close", () => (stream.rstCode ? reject(new Error(`reset ${stream.rstCode}`)) : resolve({ ...seen, body: Buffer.concat(seen.parts) })));
    stream.on("error", reject);
    if (body !== undefined) stream.end(body);
  });
}

for (const prefix of ["", "/node"]) {
  await check(`${prefix} 500 requests, 90 at once`, async () => {
    for (let round = 0; round < 500; round += 90) {
      const answers = await Promise.all(Array.from({ length: 90 }, (_, n) => ask(`${prefix}/bytes/${n * 999}`)));
      answers.forEach(({ headers, body }, n) => assert.deepEqual([headers[":status"], body.length], [200, n * 999]));
    }
  });
  await check(`${prefix} methods and bodies`, async () => {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const sent = ["POST", "PUT", "PATCH"].includes(method) ? randomBytes(1_000_000) : Buffer.alloc(0);
      const { body } = await ask(`${prefix}/echo/`, { ":method": method }, sent.length ? sent : undefined);
      const saw = JSON.parse(body);
      assert.deepEqual([saw.method, saw.length, saw.sha256], [method, sent.length, sha(sent)]);
    }
    const { headers, body } = await ask(`${prefix}/bytes/1234`, { ":method": "HEAD" });
    assert.deepEqual([headers["content-length"], body.length], ["1234", 0]);
  });
  await check(`${prefix} trailers, early hints`, async () => {
    const { body, trailers } = await ask(`${prefix}/trailers/`, { te: "trailers" });
    assert.deepEqual([body.toString(), trailers["x-sum"], trailers["x-last"]], ["hello", "42", "yes"]);
    const { headers, hints } = await ask(`${prefix}/hints/`);
    assert.deepEqual([headers[":status"], hints.map((hint) => [hint[":status"], hint.link])], [200, [[103, "</a.css>; rel=preload"]]]);
  });
  await check(`${prefix} cookies are one header for the server`, async () => {
    const { body } = await ask(`${prefix}/echo/`, { cookie: ["a=1", "b=2", "c=3"] });
    const { headers } = JSON.parse(body);
    const found = Array.isArray(headers) ? headers.filter(([name]) => name.toLowerCase() === "cookie").map(([, value]) => value) : [headers.cookie];
    assert.deepEqual(found, ["a=1; b=2; c=3"]);
  });
}
await check("a stream that the server breaks is reset, others go on", async () => {
  const [broken, whole] = await Promise.allSettled([ask("/node/reset"), ask("/node/bytes/100000")]);
  assert.equal(broken.status, "rejected");
  assert.equal(whole.value.body.length, 100000);
});
await check("a server that refuses streams", async () => {
  const { headers } = await ask("/node/refused");
  assert.ok([502, 503].includes(headers[":status"]), `${headers[":status"]}`);
});
await check("push is not offered to servers, nor to clients", async () => {
  const { body } = await ask("/node/push");
  assert.equal(body.toString(), "false");
});
await check("a ping is answered", () => new Promise((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve()))));
session.close();
console.log("done");
