// A link that is opened too late, at the end of the story, when its time is over anyway.

import { refusedPage } from "./connect.mjs";
import { late } from "./links.mjs";
import { person, scenario } from "./stage.mjs";

await scenario("a link whose time is over is gone", async () => {
  const left = Date.parse(late.expires_at) - Date.now();
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, left) + 100));
  await refusedPage(await (await person()).newPage(), late.connect_url, 410);
});
