// Consents with a workspace's own client, and what the vendor and the browser do by themselves.

import { COOKIES, LOGIN, OWN_CLIENT, OWN_SECRET, PUBLIC, SITE } from "./names.mjs";
import { assert, atVendor, person, requestCount, scenario, text, tokenRequests, vendor } from "./stage.mjs";
import { handOn, me, own, setting } from "./tenants.mjs";

await scenario("Chromium blocks cookies of third parties in frames, and keeps those of a frame's own partition", async () => {
  const page = await (await person()).newPage();
  await page.goto(`https://${SITE}/embed?link=${encodeURIComponent(`https://${COOKIES}/set`)}`);
  const frame = page.frameLocator("iframe");
  await frame.getByText("cookies: parted=1.").waitFor();
  await page.goto(`https://${COOKIES}/set`);
  assert.match(await text(page), /common=1/, "unframed, the browser takes the cookie");
});

await scenario("a workspace with a client of its own connects by a consent that its server starts", async () => {
  const workspace = own("own");
  const config = { client_id: OWN_CLIENT, client_secret: OWN_SECRET };
  const saved = await workspace.must("PUT", setting("own"), { config });
  assert.equal(saved.state, "needs_attention");
  const started = await workspace.ask("POST", `${setting("own")}/oauth/start`);
  assert.equal(started.status, 200, started.text);
  const context = await person();
  await handOn(context, started);
  const page = await context.newPage();
  await page.goto(started.body.authorize_url);
  await atVendor(page, "own@example.com");
  await page.getByRole("heading", { name: "is connected" }).waitFor();
  assert.equal(new URL(page.url()).pathname, "/oauth/callback");
  const now = await workspace.must("GET", setting("own"));
  assert.equal(now.state, "connected");
  const [exchange] = await tokenRequests();
  assert.equal(exchange.grant_type, "authorization_code");
  assert.ok(exchange.code_verifier, "the code comes with its proof");
  const call = await me("own");
  assert.equal(call.body.output.email, "own@example.com", call.text);
});

await scenario("refresh tokens that are good once are followed from one to the next", async () => {
  const from = await requestCount();
  for (let turn = 1; turn <= 3; turn += 1) {
    await vendor("end_tokens");
    const call = await me("own");
    assert.equal(call.body.status, "succeeded", call.text);
    const requests = await tokenRequests(from);
    assert.deepEqual(requests.map(({ grant_type: type, status }) => [type, status]), Array(turn).fill(["refresh_token", 200]));
  }
  const used = (await tokenRequests(from)).map(({ refresh_token: refresh }) => refresh);
  assert.equal(new Set(used).size, 3, "each is used once");
});

await scenario("cancelled at the vendor, nothing is connected", async () => {
  const workspace = own("own");
  const started = await workspace.ask("POST", `${setting("own")}/oauth/start`);
  const context = await person();
  await handOn(context, started);
  const page = await context.newPage();
  const from = await requestCount();
  await page.goto(started.body.authorize_url);
  await atVendor(page, "own@example.com", "Cancel");
  await page.waitForURL(`https://${PUBLIC}/oauth/callback?**`);
  assert.equal(new URL(page.url()).searchParams.get("error"), "access_denied");
  assert.equal((await tokenRequests(from)).length, 0);
});

await scenario("the vendor refuses a client that brings no proof key", async () => {
  const page = await (await person()).newPage();
  const query = new URLSearchParams({
    response_type: "code", client_id: OWN_CLIENT, scope: "things.read", state: "x",
    redirect_uri: `https://${PUBLIC}/oauth/callback`,
  });
  await page.goto(`https://${LOGIN}/auth?${query}`);
  const back = new URL(page.url()).searchParams;
  assert.equal(back.get("error"), "invalid_request");
  assert.match(back.get("error_description"), /PKCE/);
});
