// Builds module.wasm: `npm run build`. Every feature of the engine that would need WASI is switched off, so the
// component imports what the interface has and nothing else.
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const { component } = await componentize({
  sourcePath: 'src/main.js',
  witPath: '../../../wit',
  worldName: 'module',
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await writeFile('module.wasm', component);
console.log(`module.wasm: ${component.length} bytes`);
