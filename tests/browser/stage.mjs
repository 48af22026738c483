// What scenarios need: the product's API, people with browsers, what the vendor saw, and lines of what passed.

import assert from "node:assert/strict";
import { appendFileSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { API, CLIENT_ID, CONTROL, COOKIES, GOOD, HOSTILE, INSIDE, LOGIN, OUTSIDE, PUBLIC, SITE, STRANGE } from "./names.mjs";

const PATIENCE_MS = 15_000;
const SCENARIO_MS = 120_000;
const home = process.env.PORTCULLIS_STORY_HOME;
const seen = (name, text) => appendFileSync(`${home}/seen/${name}`, `${text}\n`);

// The product's API ---------------------------------------------------------------------------------------------

export class Api {
  constructor(token) {
    this.token = token;
  }

  /** One request; status, document and headers of the answer. */
  async ask(method, path, body, headers = {}) {
    const answer = await fetch(process.env.PORTCULLIS_URL + path, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`, ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    const kept = [...answer.headers];
    seen("api", `${method} ${path} ${answer.status} ${JSON.stringify(kept)} ${text}`);
    return { status: answer.status, body: text && JSON.parse(text), headers: answer.headers, text };
  }

  /** One request that must be answered like this; the document of the answer. */
  async must(method, path, body, statuses = [200, 201, 204]) {
    const answer = await this.ask(method, path, body);
    assert.ok([statuses].flat().includes(answer.status), `${method} ${path} answers ${answer.status}: ${answer.text}`);
    return answer.body;
  }
}

export const platform = new Api(process.env.PORTCULLIS_PLATFORM_TOKEN);

export async function token(role, org, workspace) {
  const made = await platform.must("POST", "/admin/token", { role, org, ...(workspace ? { workspace } : {}) });
  return new Api(made.token);
}

// The vendor ------------------------------------------------------------------------------------------------------

export async function vendor(what, body = {}) {
  const answer = await fetch(`http://${OUTSIDE}:${CONTROL}/${what}`, { method: "POST", body: JSON.stringify(body) });
  assert.equal(answer.status, 200, `the vendor does not know ${what}`);
  return answer.json();
}

/** Requests of the product to the token endpoint, without the first `from` of all requests. */
export async function tokenRequests(from = 0, at = LOGIN) {
  const requests = (await vendor("requests")).slice(from);
  return requests.filter(({ host, method, url }) => host === at && method === "POST" && url === "/token")
    .map(({ body, status, headers }) => ({ ...Object.fromEntries(new URLSearchParams(body)), status, headers }));
}

/** How many handshakes with a host and requests to it there were. */
export async function reached(host) {
  const requests = (await vendor("requests")).filter((request) => request.host === host);
  return requests.length + (await vendor("handshakes")).filter((name) => name === host).length;
}

export const requestCount = async () => (await vendor("requests")).length;

// People with browsers --------------------------------------------------------------------------------------------

let browser;

export async function launch(executablePath) {
  const outside = [LOGIN, API, SITE, STRANGE, GOOD, HOSTILE, COOKIES].map((name) => `MAP ${name} ${OUTSIDE}`);
  browser = await chromium.launch({
    executablePath,
    args: [
      "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
      `--host-resolver-rules=MAP ${PUBLIC} ${INSIDE},${outside.join(",")},MAP * ~NOTFOUND`,
      `--ignore-certificate-errors-spki-list=${process.env.PORTCULLIS_STORY_SPKI}`,
    ],
  });
  return browser.version();
}

export const close = () => browser?.close();

const people = new Set();

/** Somebody with a browser profile of their own. */
export async function person({ script = true } = {}) {
  const context = await browser.newContext({ javaScriptEnabled: script });
  context.setDefaultTimeout(PATIENCE_MS);
  context.setDefaultNavigationTimeout(PATIENCE_MS);
  people.add(context);
  context.on("request", (request) => seen("requests", `${request.method()} ${request.url()}`));
  context.on("response", async (response) => {
    const headers = await response.allHeaders().catch(() => ({}));
    const text = await response.text().catch(() => "");
    seen("responses", `${response.status()} ${response.url()} ${JSON.stringify(headers)} ${text}`);
  });
  context.on("page", (page) => {
    page.on("console", (message) => seen("console", `${page.url()} ${message.text()}`));
    page.on("pageerror", (error) => seen("console", `${page.url()} error: ${error}`));
    page.on("domcontentloaded", () => keep(page));
  });
  return context;
}

async function keep(page) {
  for (const frame of page.frames()) {
    seen("pages", `${frame.url()}\n${await frame.content().catch(() => "")}`);
  }
}

/** What everybody sees; then their browsers are closed. */
async function leave() {
  const lines = [];
  for (const context of people) {
    for (const page of context.pages()) {
      await keep(page);
      const frames = page.frames().map(async (frame) => {
        const text = await frame.locator("body").innerText({ timeout: 1000 }).catch(() => "");
        return `${frame.url().slice(0, 100)}: ${text.replaceAll(/\s+/g, " ").slice(0, 600)}`;
      });
      lines.push(...await Promise.all(frames));
    }
    await context.close();
  }
  people.clear();
  return lines;
}

/** The text of the page. */
export const text = async (page) => (await page.locator("body").innerText()).replaceAll(/\s+/g, " ");

/** Signs in at the vendor, if it asks, and answers its question. */
export async function atVendor(page, email, answer = "Allow") {
  const signIn = page.getByRole("heading", { name: "Sign in" });
  const allow = page.getByRole("heading", { name: "Allow access" });
  await signIn.or(allow).waitFor();
  if (await signIn.isVisible()) {
    await page.getByLabel("Email").fill(email);
    await page.getByRole("button", { name: "Sign in" }).click();
    await allow.waitFor();
  }
  await page.getByRole("button", { name: answer }).click();
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Checks what axe finds on a page, and that it fits a narrow window. */
export async function accessible(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const found = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const told = found.map(({ id, help, nodes }) => `${id} (${help}): ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(told, [], "axe finds nothing serious");
  const before = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 640 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  await page.setViewportSize(before);
  assert.ok(width <= 360, `the page is ${width} px wide in a window of 360 px`);
}

// Scenarios -------------------------------------------------------------------------------------------------------

const only = JSON.parse(process.env.PORTCULLIS_STORY_ONLY ?? "[]");
const told = { passed: 0, failed: 0 };

/** One scenario: its line says whether it went as it should. */
export async function scenario(name, act) {
  if (only.length > 0 && !only.some((text) => name.includes(text))) return;
  const begin = Date.now();
  let failure;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not end within ${SCENARIO_MS} ms`)), SCENARIO_MS);
  });
  try {
    await Promise.race([act(), late]);
  } catch (error) {
    failure = error;
  }
  clearTimeout(timer);
  const pages = await leave();
  const seconds = ((Date.now() - begin) / 1000).toFixed(1);
  console.log(`${failure ? "FAIL" : "ok  "} ${name} (${seconds} s)`);
  told[failure ? "failed" : "passed"] += 1;
  if (failure) {
    console.log(`     ${String(failure.stack).split("\n").slice(0, 14).join("\n     ")}`);
    for (const line of pages) console.log(`     saw ${line}`);
  }
}

export function end() {
  console.log(`${told.passed} passed, ${told.failed} failed`);
  return told.failed === 0 && told.passed > 0 ? 0 : 1;
}

export { assert };
