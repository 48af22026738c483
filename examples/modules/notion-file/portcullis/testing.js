// A gate for tests: recorded exchanges, in order, in the place of the host.
import assert from 'node:assert/strict';
import { connect, handlerOf } from './module.js';

/** A gate that answers these exchanges: `{ expect_request, response }` or `{ expect_request, error }`. */
export class FakeGate {
  constructor(exchanges = []) {
    this.left = [...exchanges];
    this.lines = [];
    this.requests = [];
  }

  send(request) {
    this.requests.push(request);
    const exchange = this.left.shift();
    assert.ok(exchange, `nothing more is recorded: ${request.method} ${request.url}`);
    const expected = exchange.expect_request ?? {};
    if (expected.method) assert.equal(request.method.toUpperCase(), expected.method, `method of ${request.url}`);
    if (expected.url) assert.equal(request.url, expected.url);
    const headers = new Map(request.headers.map(([name, value]) => [name.toLowerCase(), textOf(value)]));
    for (const [name, value] of Object.entries(expected.headers ?? {})) {
      assert.equal(headers.get(name.toLowerCase()), value, `header ${name}`);
    }
    const body = request.body && textOf(request.body);
    const isText = expected.body === undefined || typeof expected.body === 'string';
    assert.deepEqual(isText ? body : JSON.parse(body), expected.body, `body of ${request.url}`);
    if ('credential' in expected) assert.equal(request.credential, expected.credential ?? undefined, 'credential');
    if (exchange.error) throw Object.assign(new Error('gate'), { payload: exchange.error });
    return answerOf(exchange.response);
  }

  log(level, message) {
    this.lines.push([level, message]);
  }

  /** Calls an action and gives `{ output }` or `{ failure }`. Every exchange must be used. */
  async call(actions, action, input, config = {}) {
    const before = connect({ send: (request) => this.send(request), log: (...line) => this.log(...line) });
    try {
      const document = await handlerOf(actions).invoke({
        operation: action,
        plan: '{}',
        input: JSON.stringify(input),
        config: JSON.stringify(config),
        runId: 'run_example',
        nowMs: 1767225600000n,
        idempotencyKey: 'example-key',
      });
      return { output: JSON.parse(document).output };
    } catch (failure) {
      if (typeof failure?.code !== 'string' || failure instanceof Error) throw failure;
      return { failure };
    } finally {
      connect(before);
      const unexpected = this.lines.find(([level, line]) => level === 'error' && line.includes('AssertionError'));
      assert.ok(!unexpected, unexpected?.[1]);
      assert.deepEqual(this.left, [], 'exchanges that were not asked for');
    }
  }
}

/** Runs every example of the definition's module actions, as an upload does, and gives their number. */
export async function runExamples(definition, actions) {
  let count = 0;
  for (const action of definition.actions.filter(({ handler }) => handler === 'module')) {
    for (const example of action.examples ?? []) {
      const name = `${action.action_id}, "${example.name}"`;
      const gate = new FakeGate(example.exchanges);
      const { output, failure } = await gate.call(actions, action.action_id, example.input, example.config);
      if (example.expect_error) {
        assert.ok(failure, `${name}: an error was expected`);
        for (const [member, value] of Object.entries(example.expect_error)) {
          assert.equal(failure[member], value, `${name}: ${member}`);
        }
      } else {
        assert.ok(!failure, `${name}: ${failure?.code}: ${failure?.message}`);
        if ('expect_output' in example) assert.deepEqual(output, example.expect_output, name);
      }
      count += 1;
    }
  }
  assert.ok(count > 0, 'the definition has no example of a module action');
  return count;
}

function answerOf({ status, headers = {}, body }) {
  const fields = Object.entries(headers);
  if (body !== undefined && typeof body !== 'string') fields.push(['content-type', 'application/json']);
  const text = typeof body === 'string' ? body : body === undefined ? '' : JSON.stringify(body);
  const encoder = new TextEncoder();
  return {
    status,
    headers: fields.map(([name, value]) => [name, encoder.encode(value)]),
    body: encoder.encode(text),
    redacted: false,
  };
}

function textOf(bytes) {
  return new TextDecoder().decode(bytes);
}
