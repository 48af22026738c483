// The module as ordinary code, against the examples of its definition: `npm test`.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { FakeGate, runExamples } from '../portcullis/testing.js';
import { actions } from '../src/actions.js';

const definition = JSON.parse(await readFile(new URL('../connector.json', import.meta.url)));

test('the examples of the definition come out', async () => {
  assert.equal(await runExamples(definition, actions), 3);
});

test('the credential goes to Notion and never to the link', async () => {
  const example = definition.actions[0].examples[0];
  const gate = new FakeGate(example.exchanges);
  await gate.call(actions, 'download', example.input);
  assert.deepEqual(gate.requests.map(({ credential }) => credential), ['default', undefined]);
});
