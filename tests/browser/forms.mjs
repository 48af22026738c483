// Connect pages with a form, and pages for all people.

import { claim, connectedAs, consentLink, link, open } from "./connect.mjs";
import { keyed } from "./definition.mjs";
import { KEY } from "./names.mjs";
import { accessible, assert, person, platform, requestCount, scenario, vendor } from "./stage.mjs";
import { connection, org } from "./tenants.mjs";

await platform.must("POST", "/admin/connector", keyed);

await scenario("a person chooses a connector, mends what is wrong in its form, and is connected", async () => {
  const page = await (await person({ script: false })).newPage();
  await open(page, (await link(org, "north", { connector_id: undefined })).connect_url);
  await page.getByRole("link", { name: "Keyed" }).click();
  const key = page.getByLabel("API key");
  const connect = page.getByRole("button", { name: "Connect" });
  await page.getByLabel("Team").fill("blue");
  await key.fill("nonsense");
  const from = await requestCount();
  await connect.click();
  await page.getByText("A key begins with key-.").waitFor();
  assert.equal(await requestCount(), from, "what is badly written is not tried");
  assert.equal(await page.getByLabel("Team").inputValue(), "blue", "what is no secret stays");
  assert.equal(await key.inputValue(), "", "a secret is not shown again");
  await key.fill("key-of-somebody-else");
  await connect.click();
  await page.getByText("does not accept it").waitFor();
  await key.fill(KEY);
  await connect.click();
  await connectedAs(page, "blue@example.com");
  const setting = await connection("north", "keyed");
  assert.equal(setting.state, "connected");
  assert.ok((await vendor("requests")).some(({ url, status }) => url === "/v1/key/blue" && status === 200));
});

await scenario("every page can be used with a keyboard, a screen reader and a narrow window", async () => {
  const page = await (await person()).newPage();
  await page.goto((await link(org, "south", { connector_id: undefined })).connect_url);
  await accessible(page);
  await claim(page);
  await page.getByRole("link", { name: "Keyed" }).waitFor();
  await accessible(page);
  await page.getByRole("link", { name: "Keyed" }).press("Enter");
  await page.getByLabel("Team").fill("red");
  await accessible(page);
  await page.getByLabel("API key").fill("nonsense");
  await page.keyboard.press("Enter");
  await page.getByText("A key begins with key-.").waitFor();
  await accessible(page);
  await page.getByLabel("API key").fill(KEY);
  await page.keyboard.press("Enter");
  await connectedAs(page, "red@example.com");
  await accessible(page);
  await open(page, (await link(org, "south")).connect_url);
  await consentLink(page).waitFor();
  await accessible(page);
  await page.getByRole("button", { name: "Cancel" }).press("Enter");
  await page.getByRole("heading", { name: "Nothing was connected" }).waitFor();
  await accessible(page);
});
