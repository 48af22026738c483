// The scenarios, one after the other. tests/browser/run starts this beside the product, in a namespace of its own.
//
//     story.mjs PATH_OF_CHROMIUM

import { close, end, launch } from "./stage.mjs";

console.log(`Chromium ${await launch(process.argv[2])}`);
for (const scenarios of ["own", "links", "forms", "clients", "late"]) await import(`./${scenarios}.mjs`);
await close();
process.exit(end());
