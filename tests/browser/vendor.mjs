// The world outside of the product: an authorization server (oidc-provider) with its own pages, an API that checks its
// tokens, a site that embeds the product, and a hostile host. All are one TLS server at one address, told apart by name.
//
//     vendor.mjs DIRECTORY
//
// DIRECTORY has `leaf.pem` and `leaf.key`; every request is written to `requests.jsonl` in it, every TLS handshake's
// name to `handshakes`. Runs in a network namespace of its own until it is ended. The story tells it what to do at the
// port CONTROL.

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { randomBytes } from "node:crypto";
import { generateKeyPair, exportJWK } from "jose";
import { Provider } from "oidc-provider";
import {
  API, CLIENT_ID, CONTROL, COOKIES, GOOD, KEY, LOGIN, ORG_CLIENT, ORG_SECRET, OUTSIDE, OWN_CLIENT, OWN_SECRET, PUBLIC,
  SECRETS, SITE, STRANGE,
} from "./names.mjs";
import { allow, cookies, embed, page, returned, signIn } from "./pages.mjs";

const [directory] = process.argv.slice(2);
const SCOPES = ["things.read", "things.write"];

// The authorization server ------------------------------------------------------------------------------------

const client = (id, secret) => [id, {
  client_id: id, client_secret: secret, redirect_uris: [`https://${PUBLIC}/oauth/callback`],
  grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
  token_endpoint_auth_method: "client_secret_post", id_token_signed_response_alg: "ES256",
}];
const clients = new Map([
  client(CLIENT_ID, SECRETS[0]), client(OWN_CLIENT, OWN_SECRET), client(ORG_CLIENT, ORG_SECRET),
]);
const kept = new Map(); // by model and id

class Memory {
  constructor(model) {
    this.model = model;
  }

  async find(id) {
    return this.model === "Client" ? clients.get(id) : kept.get(`${this.model} ${id}`);
  }

  async findByUid(uid) {
    return [...kept].find(([key, value]) => key.startsWith(`${this.model} `) && value.uid === uid)?.[1];
  }

  async upsert(id, payload) {
    kept.set(`${this.model} ${id}`, payload);
  }

  async consume(id) {
    kept.get(`${this.model} ${id}`).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    kept.delete(`${this.model} ${id}`);
  }

  async revokeByGrantId(grant) {
    for (const [key, value] of kept) {
      if (value.grantId === grant) kept.delete(key);
    }
  }
}

const { privateKey } = await generateKeyPair("ES256", { extractable: true });
const provider = new Provider(`https://${LOGIN}`, {
  adapter: Memory,
  jwks: { keys: [{ ...await exportJWK(privateKey), alg: "ES256", use: "sig" }] },
  cookies: { keys: [randomBytes(32).toString("base64url")] },
  features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: () => true,
  // Who signs out or consents once more ends no other connection.
  expiresWithSession: () => false,
  // Consent is asked for each time.
  loadExistingGrant: (ctx) => ctx.oidc.result?.consent && ctx.oidc.provider.Grant.find(ctx.oidc.result.consent.grantId),
  pkce: { required: () => true },
  renderError: (ctx, { error, error_description: description }) => {
    ctx.type = "html";
    ctx.body = page("Refused", `<h1>Refused</h1><p>${error}: ${description}</p>`);
  },
  rotateRefreshToken: () => true,
  scopes: SCOPES,
  ttl: {
    AccessToken: 3600, AuthorizationCode: 60, Grant: 86400, IdToken: 60, Interaction: 600, RefreshToken: 86400,
    Session: 86400,
  },
});
const problems = [];
for (const name of ["authorization.error", "grant.error", "server_error"]) {
  provider.on(name, (_, error) => {
    problems.push({ name, error: error.error ?? String(error), description: error.error_description ?? error.stack });
  });
}

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

let refusal = "access_denied"; // what the browser comes back with after Cancel

async function interact(request, response) {
  const details = await provider.interactionDetails(request, response);
  const { prompt, params, session } = details;
  if (request.method === "GET") {
    return html(response, prompt.name === "login" ? signIn() : allow(params.client_id, params.scope, session.accountId));
  }
  const form = new URLSearchParams(await body(request));
  const finish = (result) => provider.interactionFinished(request, response, result);
  if (form.get("answer") === "cancel") {
    return finish({ error: refusal, error_description: "Not this time." });
  }
  if (prompt.name === "login") {
    return finish({ login: { accountId: form.get("email") } });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return finish({ consent: { grantId: await grant.save() } });
}

const server = provider.callback();

let holding = false;

/** Shows where a browser would be sent back to, instead of sending it there. */
function hold(response) {
  const { end } = response;
  response.end = function (...rest) {
    const location = response.getHeader("location");
    if (!holding || !String(location).startsWith(`https://${PUBLIC}/`)) return end.apply(this, rest);
    for (const name of ["location", "content-length"]) response.removeHeader(name);
    response.setHeader("content-type", "text/plain");
    response.statusCode = 200;
    return end.call(this, location);
  };
}

async function login(request, response, url) {
  hold(response);
  if (url.pathname.startsWith("/interaction/")) return interact(request, response);
  return server(request, response);
}

// The API -------------------------------------------------------------------------------------------------------

const calls = []; // whose token the API was called with

async function api(request, response, url) {
  if (url.pathname.startsWith("/v1/key/")) {
    if (request.headers["x-key"] !== KEY) return json(response, 401, { error: "invalid_key" });
    return json(response, 200, { email: `${url.pathname.split("/").pop()}@example.com` });
  }
  const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? "")?.[1];
  const token = bearer && await provider.AccessToken.find(bearer);
  if (!token) return json(response, 401, { error: "invalid_token" });
  const scope = request.method === "GET" ? SCOPES[0] : SCOPES[1];
  if (!token.scopes.has(scope)) return json(response, 403, { error: "insufficient_scope" });
  const account = token.accountId;
  calls.push({ account, client: token.clientId });
  if (url.pathname === "/v1/me") return json(response, 200, { email: account });
  if (url.pathname === "/v1/things") return json(response, 201, { name: JSON.parse(await body(request)).name, account });
  return json(response, 404, { error: "not_found" });
}

// All of them -----------------------------------------------------------------------------------------------------

const requests = [];
const handshakes = [];
for (const name of ["requests.jsonl", "handshakes"]) writeFileSync(`${directory}/${name}`, "");

function html(response, text) {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(text);
}

function json(response, status, document) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(document));
}

/** Writes the request down with its body, which is read by somebody else. */
function record(request, response) {
  const parts = [];
  const push = request.push;
  request.push = function (part, ...rest) {
    if (part) parts.push(Buffer.from(part));
    return push.call(this, part, ...rest);
  };
  response.on("close", () => {
    const { method, url, headers, rawHeaders } = request;
    const line = {
      host: headers.host, method, url, headers: rawHeaders, body: Buffer.concat(parts).toString("latin1"),
      status: response.statusCode,
    };
    requests.push(line);
    appendFileSync(`${directory}/requests.jsonl`, `${JSON.stringify(line)}\n`);
  });
}

const SITES = {
  [LOGIN]: login,
  [GOOD]: login,
  [API]: api,
  [SITE]: (_, response, url) => html(response, url.pathname === "/embed" ? embed(url) : returned(url)),
  [STRANGE]: (_, response, url) => html(response, embed(url)),
  [COOKIES]: cookies,
};

const tls = {
  cert: readFileSync(`${directory}/leaf.pem`), key: readFileSync(`${directory}/leaf.key`),
  SNICallback: (name, done) => {
    handshakes.push(name);
    appendFileSync(`${directory}/handshakes`, `${name}\n`);
    done(null);
  },
};
const outside = https.createServer(tls, (request, response) => {
  record(request, response);
  const site = SITES[request.headers.host];
  const url = new URL(request.url, `https://${request.headers.host}`);
  Promise.resolve(site ? site(request, response, url) : json(response, 404, { error: "no such host" })).catch((error) => {
    problems.push({ name: "vendor", error: String(error), description: error.stack });
    if (!response.headersSent) json(response, 500, { error: "server_error" });
    else response.end();
  });
});

const TELL = {
  requests: () => requests,
  handshakes: () => handshakes,
  problems: () => problems,
  calls: () => calls,
  /** The client's secret is another one from now on. */
  secret: ({ client_id: id, secret }) => void clients.set(...client(id, secret)),
  /** What a person's no is to the one who asked. */
  refusal: ({ error }) => void (refusal = error),
  /** Whether browsers stay at the vendor, which shows where they would go. */
  hold: ({ on }) => void (holding = on),
  /** The vendor ends all access tokens; refresh tokens are as good as before. */
  end_tokens: () => {
    for (const key of kept.keys()) {
      if (key.startsWith("AccessToken ")) kept.delete(key);
    }
  },
};

const control = http.createServer((request, response) => {
  body(request).then((text) => {
    const told = TELL[request.url.slice(1)];
    if (!told) return json(response, 404, null);
    return json(response, 200, told(JSON.parse(text || "{}")) ?? null);
  });
});

outside.listen(443, OUTSIDE, () => control.listen(CONTROL, OUTSIDE, () => console.log("ready")));
