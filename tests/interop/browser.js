// What a page does in life; it reports each thing by name, as true or as what went wrong.
"use strict";
const results = {};
const other = `${location.protocol}//localhost:${location.port}`;

function expect(found, wanted) {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
  }
}

async function step(name, run) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("too late")), 15000));
  try {
    await Promise.race([run(), late]);
    results[name] = true;
  } catch (error) {
    results[name] = String(error);
  }
}

async function hash(bytes) {
  const sum = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function all() {
  await step("a GET", async () => {
    const saw = await (await fetch("/echo/?a=1")).json();
    expect([saw.method, saw.target], ["GET", "/echo/?a=1"]);
  });
  await step("a POST with JSON", async () => {
    const body = JSON.stringify({ text: "grüße" });
    const saw = await (await fetch("/echo/", { method: "POST", headers: { "content-type": "application/json" }, body })).json();
    expect([saw.method, saw.sha256], ["POST", await hash(new TextEncoder().encode(body))]);
  });
  await step("a form with a file", async () => {
    const form = new FormData();
    form.append("file", new Blob([new Uint8Array(2_000_000)]), "file.bin");
    const saw = await (await fetch("/echo/", { method: "POST", body: form })).json();
    if (saw.length < 2_000_000) throw new Error(`${saw.length} bytes`);
  });
  await step("another origin, with a preflight", async () => {
    const headers = { "content-type": "application/json", "x-own": "1" };
    const answer = await fetch(`${other}/cors/echo/`, { method: "PUT", headers, body: "{}" });
    expect([(await answer.json()).method, answer.headers.get("x-seen-method")], ["PUT", "PUT"]);
  });
  await step("another origin that does not let us in", async () => {
    try {
      await fetch(`${other}/echo/`);
    } catch {
      return;
    }
    throw new Error("it was let in");
  });
  await step("a stream, as it comes", async () => {
    const reader = (await fetch("/events/8")).body.pipeThrough(new TextDecoderStream()).getReader();
    const delays = [];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (const [, sent] of value.matchAll(/data: ([\d.]+)/g)) delays.push(Date.now() / 1000 - Number(sent));
    }
    delays.sort((a, b) => a - b);
    if (delays.length !== 8 || delays[4] > 0.09) throw new Error(`held: ${delays}`);
  });
  await step("an EventSource", () => new Promise((resolve, reject) => {
    const source = new EventSource("/events/6");
    let count = 0;
    source.onmessage = () => {
      count += 1;
      if (count === 6) {
        source.close();
        resolve();
      }
    };
    source.onerror = () => reject(new Error(`broke off after ${count}`));
  }));
  await step("a WebSocket", () => new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${location.host}/sockets/echo`);
    const large = "x".repeat(300_000);
    const heard = [];
    socket.onopen = () => ["one", "zwei ü", large].forEach((text) => socket.send(text));
    socket.onmessage = ({ data }) => {
      heard.push(data);
      if (heard.length === 3) socket.close(4000, "enough");
    };
    socket.onclose = ({ code, wasClean }) => {
      if (heard[2] === large && code === 4000 && wasClean) resolve();
      else reject(new Error(`closed with ${code}, clean: ${wasClean}, ${heard.length} heard`));
    };
  }));
  await step("20 MB and gzip", async () => {
    expect((await (await fetch("/bytes/20000000")).arrayBuffer()).byteLength, 20000000);
    expect((await (await fetch("/gzip/300000")).arrayBuffer()).byteLength, 300000);
  });
  await step("100 at once", async () => {
    const sizes = await Promise.all(Array.from({ length: 100 }, async (_, n) => (await (await fetch(`/chunks/${n * 99}`)).arrayBuffer()).byteLength));
    expect(sizes, sizes.map((_, n) => n * 99));
  });
  await step("given up midway, then another", async () => {
    const giveUp = new AbortController();
    await (await fetch("/bytes/50000000", { signal: giveUp.signal })).body.getReader().read();
    giveUp.abort();
    expect((await (await fetch("/bytes/5")).text()).length, 5);
  });
  await step("an XMLHttpRequest with progress", () => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", "/echo/");
    request.onload = () => (JSON.parse(request.responseText).length === 3_000_000 ? resolve() : reject(new Error("length")));
    request.onerror = () => reject(new Error("it failed"));
    request.send(new Uint8Array(3_000_000));
  }));
  await fetch("/report/", { method: "POST", body: JSON.stringify(results) });
}
all();
