// Shared clients: rotated, replaced, deleted, and wanted by somebody else.

import { connectedAs, consent, link, open } from "./connect.mjs";
import { hosted, moved, moving, shopOf } from "./definition.mjs";
import { CLIENT_ID, GOOD, HOSTILE, ORG_CLIENT, ORG_SECRET, SECRETS } from "./names.mjs";
import { assert, person, platform, reached, requestCount, scenario, tokenRequests, vendor } from "./stage.mjs";
import { CLIENT, clientOf, connection, consentByServer, me, org, own, setting } from "./tenants.mjs";

await scenario("the client's secret is rotated: connections go on, are renewed with it, and new ones are made", async () => {
  const from = await requestCount();
  await platform.must("PUT", CLIENT, { client_id: CLIENT_ID, client_secret: SECRETS[1] });
  assert.equal((await me("north")).body.status, "succeeded", "a token goes on working");
  assert.equal((await tokenRequests(from)).length, 0);
  await vendor("secret", { client_id: CLIENT_ID, secret: SECRETS[1] });
  await vendor("end_tokens");
  for (const workspace of ["north", "south"]) {
    const call = await me(workspace);
    assert.equal(call.body.output?.email, `${workspace}@example.com`, call.text);
    assert.equal((await connection(workspace)).state, "connected");
  }
  const renewals = await tokenRequests(from);
  assert.deepEqual(renewals.map(({ grant_type: type, client_secret: secret, status }) => [type, secret, status]),
    Array(2).fill(["refresh_token", SECRETS[1], 200]));
  const page = await (await person()).newPage();
  await open(page, (await link(org, "north")).connect_url);
  await consent(page, "north-again@example.com");
  await connectedAs(page, "north-again@example.com");
  assert.equal((await me("north")).body.output.email, "north-again@example.com");
});

await scenario("an org's own client wins over the platform's", async () => {
  const path = "/org/acme/oauth-client/saas";
  await org.must("PUT", path, { client_id: ORG_CLIENT, client_secret: ORG_SECRET });
  const from = await requestCount();
  const page = await (await person()).newPage();
  await open(page, (await link(org, "tabs")).connect_url);
  await consent(page, "org@example.com");
  await connectedAs(page, "org@example.com");
  assert.deepEqual((await tokenRequests(from)).map(({ client_id: id }) => id), [ORG_CLIENT]);
  assert.equal(await clientOf("south"), CLIENT_ID, "what is connected goes on with the platform's");
  assert.equal(await clientOf("tabs"), ORG_CLIENT);
  await org.must("DELETE", path);
});

await scenario("a client that is deleted or has another id leaves its connections in need of attention", async () => {
  await platform.must("DELETE", CLIENT);
  const from = await requestCount();
  const gone = async () => {
    const shown = await connection("north");
    assert.equal(shown.state, "needs_attention", JSON.stringify(shown));
    assert.equal(shown.reason, "client_gone");
    const call = await me("north");
    assert.equal(call.status, 409, call.text);
    assert.equal(call.body.code, "credential_needs_attention");
  };
  await gone();
  await platform.must("PUT", CLIENT, { client_id: ORG_CLIENT, client_secret: ORG_SECRET });
  await gone();
  assert.equal(await requestCount(), from, "nothing was sent for any of it");
  await platform.must("PUT", CLIENT, { client_id: CLIENT_ID, client_secret: SECRETS[1] });
  assert.equal((await connection("north")).state, "connected");
  assert.equal((await me("north")).body.status, "succeeded");
});

await scenario("a workspace that chooses the token endpoint's host does not get the client's secret", async () => {
  await platform.must("POST", "/admin/connector", hosted);
  const path = "/admin/oauth-client/hosted";
  const wish = { client_id: CLIENT_ID, client_secret: SECRETS[1] };
  const refused = await platform.ask("PUT", path, wish);
  assert.equal(refused.status, 422, refused.text);
  assert.equal(refused.body.code, "token_host_chosen_by_tenant");
  await platform.must("PUT", path, { ...wish, token_hosts: [GOOD] });
  for (const [workspace, host] of [["good", GOOD], ["evil", HOSTILE]]) {
    await own(workspace).ask("PUT", setting(workspace, "hosted"), { config: { shop: shopOf(host) } });
  }
  const from = await requestCount();
  assert.equal(await consentByServer("evil", "hosted", "evil@example.com"), 403);
  assert.notEqual((await connection("evil", "hosted")).state, "connected");
  assert.equal((await me("evil", "hosted")).body.status === "succeeded", false);
  assert.equal(await reached(HOSTILE), 0, "nothing reached the hostile host");
  assert.equal(await consentByServer("good", "hosted", "good@example.com"), 200, "its neighbour connects");
  assert.equal((await tokenRequests(from, GOOD)).length, 1);
  assert.equal((await me("good", "hosted")).body.output.email, "good@example.com");
});

await scenario("a workspace that changes the host during a consent or after it does not get the client's secret either", async () => {
  const change = (host) => own("good").must("PATCH", setting("good", "hosted"), { config: { shop: shopOf(host) } });
  await change(HOSTILE);
  await vendor("end_tokens");
  assert.notEqual((await me("good", "hosted")).body.status, "succeeded");
  assert.equal(await consentByServer("good", "hosted", "good@example.com"), 403);
  await change(GOOD);
  const changing = () => change(HOSTILE);
  assert.ok(await consentByServer("good", "hosted", "good@example.com", changing) >= 400);
  assert.equal(await reached(HOSTILE), 0, "nothing reached the hostile host");
  await change(GOOD);
  assert.equal(await consentByServer("good", "hosted", "good@example.com"), 200, "its neighbour connects");
});

await scenario("a token endpoint that moves to another host does not get the client's secret", async () => {
  await platform.must("POST", "/admin/connector", moving);
  await platform.must("PUT", "/admin/oauth-client/moving", { client_id: CLIENT_ID, client_secret: SECRETS[1] });
  await own("moving").must("PUT", setting("moving", "moving"), { enabled: true });
  assert.equal(await consentByServer("moving", "moving", "moving@example.com"), 200);
  await platform.must("PUT", "/admin/connector/moving", moved);
  await vendor("end_tokens");
  assert.notEqual((await me("moving", "moving")).body.status, "succeeded");
  assert.ok(await consentByServer("moving", "moving", "moving@example.com") >= 400);
  assert.equal(await reached(HOSTILE), 0, "nothing reached the other host");
  await platform.must("PUT", "/admin/connector/moving", moving);
});
