// The module as ordinary code, against recorded exchanges: `npm test`.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { FakeGate, runExamples } from '../portcullis/testing.js';
import { actions } from '../src/actions.js';

test('the examples of the definition come out', async () => {
  const definition = JSON.parse(await readFile(new URL('../connector.json', import.meta.url)));
  assert.equal(await runExamples(definition, actions), 3);
});

test('requests name the credential and carry the input as it is', async () => {
  const input = { email: 'a&b@example.org' };
  const gate = new FakeGate([
    {
      expect_request: {
        method: 'GET',
        url: 'https://api.example.com/v1/contacts?email=a%26b%40example.org',
        credential: 'default',
      },
      response: { status: 200, body: { items: [] } },
    },
    {
      expect_request: { method: 'POST', credential: 'default', body: input },
      response: { status: 201, body: { id: 'c_1' } },
    },
  ]);
  const { output } = await gate.call(actions, 'find-or-create-contact', input);
  assert.deepEqual(output, { id: 'c_1', created: true });
  assert.deepEqual(gate.lines, [['info', 'the contact is new']]);
});

test('a refusal of the gate is the failure of the call', async () => {
  const gate = new FakeGate([{ error: { tag: 'denied', val: 'host-not-in-org' } }]);
  const { failure } = await gate.call(actions, 'find-or-create-contact', { email: 'ada@example.org' });
  assert.equal(failure.code, 'outbound');
  assert.equal(failure.message, 'no answer: denied: host-not-in-org');
  assert.equal(failure.retryable, false);
});
