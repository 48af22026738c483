// Compiles the JSON Schema of definitions with ajv in its strict mode, and validates every definition of the catalog.
// Union types are allowed: a scope is a text or an object. Prints a line; exits 1 at what is not as expected.
//
//     node schema.mjs SCHEMA FOLDER_OF_DEFINITIONS

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { Ajv2020 } from "ajv/dist/2020.js";

const [schemaFile, folder] = process.argv.slice(2);
const read = (file) => JSON.parse(readFileSync(file, "utf8"));
const fail = (text) => {
  console.log(text);
  process.exit(1);
};

const validate = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true }).compile(read(schemaFile));

const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
for (const name of files) {
  if (!validate(read(join(folder, name)))) fail(`${name}: ${JSON.stringify(validate.errors)}`);
}
// Beside what is accepted, what an editor must underline.
const wrong = read(join(folder, files[0]));
wrong.auth_type = "basic";
wrong.auth = { token_url: "https://api.example.com/token" };
if (validate(wrong)) fail("basic took a token_url");
console.log(`ajv: the schema of definitions compiles in strict mode, ${files.length} definitions are valid`);
