// What a module is made of: actions, a `fetch` that goes through the host's gate, errors, log lines.
//
// An action is `async (input, call) => output`. `call` has `action`, `config`, `runId`, `nowMs` and `idempotencyKey`.
// There is no clock and no randomness: `Date.now()` is the time of the build, `Math.random()` the same in every call.

let host = null;

/** Sets the host's functions: those of the interface, or a fake gate's. Returns those before. */
export function connect(functions) {
  const before = host;
  host = functions;
  return before;
}

/** Why an action has no output. Options: `retryable`, `class`, `status`, `cause` (the gate's), `response`. */
export class ModuleError extends Error {
  constructor(code, message, options = {}) {
    super(message);
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.class = options.class;
    this.status = options.status;
    this.gate = options.cause;
    this.response = options.response;
  }
}

/**
 * Sends one request through the gate. Like the standard's `fetch`, with some options more and some less: `method`,
 * `headers` (an object, or pairs), `body` (text or bytes), `json` (a value, sent as JSON), `form` (an object), and
 * `credential`, the NAME of the slot that the host injects: without it, a request goes out without a credential.
 * `timeoutMs` and `maxResponseBytes` can lower the host's limits. A redirect is followed by the host or not at all.
 */
export async function fetch(url, init = {}) {
  const { headers, body } = content(init);
  const request = {
    method: (init.method ?? 'GET').toLowerCase(),
    url: String(url),
    headers: headers.map(([name, value]) => [name, bytesOf(value)]),
    body: body === undefined ? undefined : bytesOf(body),
    credential: init.credential,
    options: limitsOf(init),
  };
  let response;
  try {
    response = host.send(request);
  } catch (error) {
    throw gateError(error);
  }
  return new Answer(response);
}

/** The answer to a request. Like the standard's `Response`, but its body is there already. */
export class Answer {
  constructor({ status, headers, body }) {
    this.status = status;
    this.ok = status >= 200 && status < 300;
    const pairs = headers.map(([name, value]) => [name.toLowerCase(), new TextDecoder().decode(value)]);
    this.headers = new Map();
    for (const [name, value] of pairs) {
      this.headers.set(name, this.headers.has(name) ? `${this.headers.get(name)}, ${value}` : value);
    }
    this.bytes = body;
  }

  /** The body as text. */
  text() {
    return new TextDecoder().decode(this.bytes);
  }

  /** The body read as JSON. */
  json() {
    try {
      return JSON.parse(this.text());
    } catch (error) {
      throw new ModuleError('response_unreadable', `the answer is no JSON: ${error.message}`);
    }
  }

  /** The answer, if its status is 2xx; else an error with the class of the status. */
  check() {
    if (this.ok) return this;
    const name = classOf(this.status);
    const retryable = name === 'rate_limit' || name === 'transient';
    const error = { class: name, action: retryable ? 'retry' : 'fail', ruled: false, code: null, message: null };
    throw new ModuleError('upstream_status', `the answer has the status ${this.status}`, {
      class: name,
      retryable,
      status: this.status,
      response: JSON.stringify({
        status: this.status,
        headers: Object.fromEntries(this.headers),
        body: this.bytes.length > 65536 ? null : readable(this.text()),
        error,
      }),
    });
  }
}

/** Lines for the people who run the module: `log.info('…')`. */
export const log = Object.fromEntries(
  ['debug', 'info', 'warn', 'error'].map((level) => [level, (message) => host.log(level, String(message))]),
);

/** Finds a thing or creates it, and finds it once more if creating conflicts (409). `find` gives undefined for none. */
export async function findOrCreate(find, create) {
  const before = await find();
  if (before !== undefined) return { thing: before, created: false };
  try {
    return { thing: await create(), created: true };
  } catch (error) {
    const other = error.status === 409 ? await find() : undefined;
    if (other === undefined) throw error;
    return { thing: other, created: false };
  }
}

/** The answers of a list: `request` is `[url, init]`, `next` gets an answer and gives the next request, if any. */
export async function* pages(request, next, pagesMax = 100) {
  for (let page = 0; request; page += 1) {
    if (page === pagesMax) throw new ModuleError('too_many_pages', `the list has more than ${pagesMax} pages`);
    const answer = (await fetch(...request)).check();
    yield answer;
    request = next(answer);
  }
}

/** What `main.js` exports. An exception that nobody caught becomes the failure of the call, with a line in the log. */
export function handlerOf(actions) {
  return {
    async invoke(call) {
      try {
        const action = Object.hasOwn(actions, call.operation) ? actions[call.operation] : undefined;
        if (!action) throw new ModuleError('unknown_action', `this module has no action "${call.operation}"`);
        const output = await action(JSON.parse(call.input), {
          action: call.operation,
          config: JSON.parse(call.config),
          runId: call.runId,
          nowMs: Number(call.nowMs),
          idempotencyKey: call.idempotencyKey,
        });
        return JSON.stringify({ output: output ?? null });
      } catch (error) {
        throw failureOf(error);
      }
    },
  };
}

function failureOf(error) {
  if (error instanceof ModuleError) {
    return {
      code: error.code,
      message: error.message,
      class: error.class,
      retryable: error.retryable,
      cause: error.gate,
      response: error.response,
    };
  }
  host.log('error', `${error}\n${error?.stack ?? ''}`);
  return { code: 'module_failed', message: String(error), retryable: false };
}

function gateError(error) {
  const reason = error?.payload ?? error;
  if (reason instanceof Error || typeof reason?.tag !== 'string') return error;
  const retryable = ['dns-failed', 'connect-failed', 'timeout', 'protocol'].includes(reason.tag);
  const detail = typeof reason.val === 'object' ? reason.val.kind : reason.val;
  const words = detail === undefined ? reason.tag : `${reason.tag}: ${detail}`;
  return new ModuleError('outbound', `no answer: ${words}`, { retryable, cause: reason });
}

function content({ headers = {}, body, json, form }) {
  const pairs = Array.isArray(headers) ? [...headers] : Object.entries(headers);
  if (json !== undefined) {
    pairs.push(['content-type', 'application/json']);
    return { headers: pairs, body: JSON.stringify(json) };
  }
  if (form !== undefined) {
    pairs.push(['content-type', 'application/x-www-form-urlencoded']);
    return { headers: pairs, body: new URLSearchParams(form).toString() };
  }
  return { headers: pairs, body };
}

function limitsOf({ timeoutMs, maxResponseBytes }) {
  if (timeoutMs === undefined && maxResponseBytes === undefined) return undefined;
  const bytes = maxResponseBytes === undefined ? undefined : BigInt(maxResponseBytes);
  return { totalTimeoutMs: timeoutMs, maxResponseBytes: bytes };
}

function bytesOf(value) {
  return value instanceof Uint8Array ? value : new TextEncoder().encode(String(value));
}

function readable(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function classOf(status) {
  if (status === 401) return 'auth';
  if (status === 403) return 'permission';
  if (status === 400 || status === 422) return 'validation';
  if (status === 404 || status === 410) return 'not_found';
  if (status === 409 || status === 412) return 'conflict';
  if (status === 429) return 'rate_limit';
  if (status === 408 || status === 425 || (status >= 500 && status < 600)) return 'transient';
  return 'permanent';
}
