// Loaded into the mock server. It cannot compile every schema; where it cannot, it checks nothing and says
// nothing. This says it, one line a schema, on standard error.
const path = require('node:path');
const { createRequire } = require('node:module');

const prism = createRequire(path.join(process.cwd(), 'node_modules', '@stoplight', 'prism-http', 'index.js'));
const compiler = prism('ajv/dist/core').default.prototype;
const compile = compiler.compile;
compiler.compile = function (schema, meta) {
  try {
    return compile.call(this, schema, meta);
  } catch (error) {
    const names = Object.keys(schema.properties || schema).slice(0, 6).join(', ');
    process.stderr.write(`UNCHECKED ${names}: ${String(error.message).replace(/\s+/g, ' ').slice(0, 200)}\n`);
    throw error;
  }
};
