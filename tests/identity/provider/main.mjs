// A browser goes through proxyd to a page, by way of a real provider: in, about, and out again.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import puppeteer from "puppeteer-core";
import { start } from "./provider.mjs";

const [proxyd, work] = process.argv.slice(2).map((name) => path.resolve(name));
const PATIENCE = 30_000;
let passed = 0;
const failed = [];

async function check(what, test) {
    try {
        await test();
        passed += 1;
        console.log(`ok      ${what}`);
    } catch (error) {
        failed.push(what);
        console.log(`FAILED  ${what}\n        ${String(error.stack ?? error).replaceAll("\n", "\n        ")}`);
    }
}

function same(found, expected) {
    const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
    if (one !== other) throw new Error(`${one} is not ${other}`);
}

async function freePort() {
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address();
    server.close();
    await once(server, "close");
    return port;
}

async function until(what, condition) {
    for (const end = Date.now() + PATIENCE; Date.now() < end; ) {
        if (await condition()) return;
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${what}: not within ${PATIENCE} ms`);
}

/** Tells every request what it looks like, as a page. */
async function upstream() {
    const server = http.createServer((request, response) => {
        response.setHeader("content-type", request.url.startsWith("/api") ? "application/json" : "text/html");
        const told = JSON.stringify({ url: request.url, headers: request.headers });
        response.end(request.url.startsWith("/api") ? told : `<!DOCTYPE html><title>The page</title><pre id="told">${told}</pre>`);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
}

const folder = mkdtempSync(path.join(tmpdir(), "identity-"));
const [port, providerPort] = [await freePort(), await freePort()];
// Two sites for the browser, both of this machine.
const [origin, issuer] = [`http://127.0.0.1:${port}`, `http://localhost:${providerPort}`];
const provider = start(issuer, origin);
const backend = await upstream();

function config(store) {
    return `
server: {listen: ["127.0.0.1:${port}"], state_dir: "${folder}/${store}"}
admin: {listen: "127.0.0.1:0", socket: "${folder}/${store}.sock"}
identity:
  login:
    corp:
      kind: oidc
      issuer: "${issuer}"
      client_id: gateway
      client_secret: "a secret & more"
      scopes: [openid, profile, email, offline_access]
      user_claim: email
      roles_claim: groups
      allow: {domains: [example.com]}
  session: {store: ${store}, after_logout: /bye}
  send: {user: x-user, roles: x-roles}
routes:
  - {path: /bye, respond: {status: 200, body: bye}}
  - {path: /, target: "http://127.0.0.1:${backend.address().port}", auth: login.corp}
`;
}

async function told(page) {
    return JSON.parse(await page.$eval("#told", (element) => element.textContent));
}

async function logIn(page, name) {
    await page.waitForSelector("input[name=login]", { timeout: PATIENCE });
    await page.type("input[name=login]", name);
    await page.type("input[name=password]", "whatever");
    await Promise.all([page.waitForNavigation(), page.click("button[type=submit]")]);
    // The provider asks whether the client may know all that.
    await Promise.all([page.waitForNavigation(), page.click("button[type=submit]")]);
}

async function journey(store) {
    writeFileSync(`${folder}/${store}.yaml`, config(store));
    const log = openSync(`${work}/proxyd-${store}.log`, "w");
    const child = spawn(proxyd, ["--config", `${folder}/${store}.yaml`], { stdio: ["ignore", log, log] });
    const browser = await puppeteer.launch({
        executablePath: spawnSync("which", ["chromium"]).stdout.toString().trim(),
        args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
        userDataDir: `${folder}/profile-${store}`,
    });
    try {
        await until("proxyd serves", () => fetch(`${origin}/bye`).then((answer) => answer.ok, () => false));
        const page = await browser.newPage();
        page.setDefaultTimeout(PATIENCE);
        const deep = `${origin}/deep/link?a=b&c=%2F`;
        await check(`${store}: a browser logs in at the provider and comes back to the deep link`, async () => {
            await page.goto(deep);
            same(new URL(page.url()).origin, issuer);
            await logIn(page, "ann");
            same(page.url(), deep);
        });
        await check(`${store}: the upstream learns who it is, and of no session`, async () => {
            const { url, headers } = await told(page);
            same([url, headers["x-user"], headers["x-roles"]], ["/deep/link?a=b&c=%2F", "ann@example.com", "staff"]);
            same(/proxyd_session/.test(headers.cookie ?? ""), false);
        });
        await check(`${store}: no script sees the cookie, and a script's requests are let in by it`, async () => {
            same(await page.evaluate(() => document.cookie.includes("proxyd")), false);
            same(await page.evaluate(() => fetch("/api/x").then((answer) => answer.status)), 200);
            const cookies = await browser.cookies();
            const own = cookies.filter((cookie) => cookie.name.startsWith("proxyd_session"));
            same(own.map(({ httpOnly, sameSite }) => [httpOnly, sameSite]), [[true, "Lax"]]);
            const without = await fetch(`${origin}/api/x`, { redirect: "manual" });
            same([without.status, without.headers.get("location")], [401, null]);
        });
        await check(`${store}: the session is refreshed when the access token has ended`, async () => {
            const before = provider.grants.refresh_token ?? 0;
            await new Promise((resolve) => setTimeout(resolve, 3_500));
            for (let count = 0; count < 3; count += 1) {
                same((await page.goto(deep)).status(), 200);
                same((await told(page)).headers["x-user"], "ann@example.com");
            }
            same(provider.grants.refresh_token - before, 1);
        });
        await check(`${store}: another site cannot log somebody out`, async () => {
            const evil = http.createServer((_, response) => {
                response.setHeader("content-type", "text/html");
                response.end(`<form method="post" action="${origin}/.proxyd/logout"><button>Win</button></form><img src="${origin}/.proxyd/logout">`);
            });
            evil.listen(0, "127.0.0.1");
            await once(evil, "listening");
            const other = await browser.newPage();
            await other.goto(`http://localhost:${evil.address().port}/`);
            const [answer] = await Promise.all([other.waitForNavigation(), other.click("button")]);
            same(answer.status(), 403);
            await other.close();
            evil.closeAllConnections();
            evil.close();
            same((await page.goto(deep)).status(), 200);
            same(page.url(), deep);
        });
        await check(`${store}: a logout ends the session here and at the provider`, async () => {
            await page.goto(`${origin}/.proxyd/logout`);
            same(new URL(page.url()).origin, issuer);
            await Promise.all([page.waitForNavigation(), page.click("button[value=yes]")]);
            same(page.url(), `${origin}/bye`);
            await page.goto(deep);
            same(new URL(page.url()).origin, issuer);
            await page.waitForSelector("input[name=login]");
        });
        await check(`${store}: they log in again, as somebody else`, async () => {
            await logIn(page, "bob");
            same((await told(page)).headers["x-user"], "bob@example.com");
        });
    } finally {
        await browser.close();
        child.kill();
        await once(child, "exit");
    }
}

try {
    for (const store of ["cookie", "local"]) await journey(store);
} catch (error) {
    failed.push("the journey");
    console.log(`FAILED  ${error.stack ?? error}`);
} finally {
    for (const server of [backend, provider.server]) {
        server.closeAllConnections();
        server.close();
    }
    rmSync(folder, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed.length} failed`);
process.exit(failed.length > 0 ? 1 : 0);
