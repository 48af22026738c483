// A third party behind TLS: an authorization server that is not ours (oidc-provider), an API that asks for its tokens,
// and a door for tests/oauth/run. Every request and every name that was asked for is noted.
//
//     node server.mjs DIRECTORY ADDRESS PORT      DIRECTORY has leaf.pem and leaf.key

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';

import Provider from 'oidc-provider';

const [directory, address, port] = process.argv.slice(2);
const ISSUER = 'https://login.example-saas.com';
const API = 'api.example-saas.com';
const DOOR = 'door.example-saas.com';

const kept = new Map();
const clients = new Map();
const noted = [];
const names = [];

/** Everything in memory; clients are those that the door was given, as they are now. */
class Adapter {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    kept.set(this.key(id), payload);
  }

  async find(id) {
    return this.model === 'Client' ? clients.get(id) : kept.get(this.key(id));
  }

  async findByUid(uid) {
    const isIt = ([key, value]) => key.startsWith(`${this.model}:`) && value.uid === uid;
    return [...kept].find(isIt)?.[1];
  }

  async findByUserCode() {
    return undefined;
  }

  async destroy(id) {
    kept.delete(this.key(id));
  }

  async consume(id) {
    kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async revokeByGrantId(grantId) {
    [...kept].filter(([, value]) => value.grantId === grantId).forEach(([key]) => kept.delete(key));
  }
}

const provider = new Provider(ISSUER, {
  adapter: Adapter,
  findAccount: async (ctx, sub) => ({ accountId: sub, claims: async () => ({ sub }) }),
  pkce: { required: () => true, methods: ['S256'] },
  // Every renewal spends its refresh token; one that is spent ends the grant.
  issueRefreshToken: async () => true,
  rotateRefreshToken: () => true,
  features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
  cookies: { keys: ['a key of the test'] },
});
const authorize = provider.callback();

function answer(response, status, document) {
  const text = JSON.stringify(document);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

async function body(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

/** The API: whose token it is, and a word that the caller's connection must not show. */
async function api(request, response) {
  const bearer = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  const token = bearer && (await provider.AccessToken.find(bearer));
  if (!token) return answer(response, 401, { error: 'the token is not good' });
  const secret = clients.get(token.clientId)?.client_secret;
  return answer(response, 200, { account: token.accountId, client: token.clientId, echo: secret });
}

/** What the test asks for: clients, an end of all access tokens, and what was noted. */
async function door(request, response) {
  if (request.method === 'GET') return answer(response, 200, { noted, names });
  const wish = JSON.parse(await body(request));
  if (wish.client) clients.set(wish.client.client_id, wish.client);
  if (wish.expire) [...kept.keys()].filter((key) => key.startsWith('AccessToken:')).forEach((key) => kept.delete(key));
  return answer(response, 200, {});
}

const server = createServer(
  { cert: readFileSync(join(directory, 'leaf.pem')), key: readFileSync(join(directory, 'leaf.key')) },
  (request, response) => {
    const host = (request.headers.host ?? '').split(':')[0];
    if (host === DOOR) return door(request, response);
    const path = request.url.split('?')[0];
    const one = { host, method: request.method, path };
    noted.push(one);
    response.on('finish', () => { one.status = response.statusCode; });
    return host === API ? api(request, response) : authorize(request, response);
  },
);
server.on('secureConnection', (socket) => {
  if (socket.servername !== DOOR) names.push(socket.servername);
});
// What a request of the authorization server was refused with is for the log of the test.
provider.on('grant.error', (ctx, error) => console.error(`refused: ${error.message}: ${error.error_description}`));
server.listen(Number(port), address, () => console.log('ready'));
