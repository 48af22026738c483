// Links with which people connect a workspace: with the client that the platform shares.

import { BACK, cameBack, claim, connectedAs, consent, consentLink, link, open, refusedPage } from "./connect.mjs";
import { CLIENT_ID, LOGIN, OWN_CLIENT, PUBLIC, SECRETS, SITE, STRANGE } from "./names.mjs";
import { assert, atVendor, person, platform, requestCount, scenario, text, tokenRequests, vendor } from "./stage.mjs";
import { CLIENT, clientOf, connection, me, org, own, setting } from "./tenants.mjs";

const look = { return_urls: [BACK], frame_ancestors: [`https://${SITE}`], title: "Integrations of the site" };
await org.must("PUT", "/org/acme/settings/connect", look);
// Made early, so that its time is over when that is needed.
export const late = await link(org, "undecided", { expires_in: 60 });

await scenario("the platform saves its client once, and no form asks for it any more", async () => {
  const wish = { client_id: CLIENT_ID, client_secret: SECRETS[0] };
  const before = await connection("north");
  const saved = await platform.must("PUT", CLIENT, wish);
  const shown = await platform.must("GET", CLIENT);
  for (const client of [saved, shown]) {
    assert.equal(client.connector_id, "saas");
    assert.equal(client.client_id, CLIENT_ID);
    assert.equal(client.secret_set, true);
    assert.equal(client.redirect_uri, `https://${PUBLIC}/oauth/callback`);
  }
  const after = await connection("north");
  assert.match(JSON.stringify(before), /client_secret/, "without a saved client the form asks for one");
  assert.doesNotMatch(JSON.stringify(after), /client_secret/);
});

await scenario("a workspace with a client of its own goes on with that one", async () => {
  assert.equal(await clientOf("own"), OWN_CLIENT);
});

await scenario("a workspace connects through a link and comes back with a status", async () => {
  const from = await requestCount();
  const made = await link(org, "north", { return_url: BACK });
  const page = await (await person()).newPage();
  await open(page, made.connect_url);
  const shown = await text(page);
  for (const said of ["acme", "north", PUBLIC, look.title]) assert.ok(shown.includes(said), `${said}: ${shown}`);
  await consent(page, "north@example.com");
  assert.deepEqual(await cameBack(page), { status: "connected", connector_id: "saas", connection: "default" });
  assert.equal((await connection("north")).state, "connected");
  const [exchange] = await tokenRequests(from);
  assert.equal(exchange.client_id, CLIENT_ID);
  assert.ok(exchange.code_verifier);
  assert.equal((await me("north")).body.output.email, "north@example.com");
});

await scenario("another workspace connects through a link of its own, without script and without a return URL", async () => {
  const made = await link(own("south"), "south");
  const page = await (await person({ script: false })).newPage();
  await open(page, made.connect_url);
  await consent(page, "south@example.com");
  await connectedAs(page, "south@example.com");
  assert.equal(new URL(page.url()).host, PUBLIC);
  assert.equal((await connection("south")).state, "connected");
  assert.equal((await me("south")).body.output.email, "south@example.com");
  assert.equal((await me("north")).body.output.email, "north@example.com");
});

await scenario("a program that opens the link takes it from nobody", async () => {
  const made = await link(org, "undecided");
  for (let time = 0; time < 3; time += 1) await (await (await person()).newPage()).goto(made.connect_url);
  await open(await (await person()).newPage(), made.connect_url);
});

await scenario("cancelled at the vendor, the person is told, and the site gets the status", async () => {
  const made = await link(org, "undecided", { return_url: BACK });
  const page = await (await person()).newPage();
  await open(page, made.connect_url);
  await consent(page, "undecided@example.com", "Cancel");
  assert.equal((await cameBack(page)).status, "cancelled");
  const second = await link(org, "undecided");
  const other = await (await person()).newPage();
  await open(other, second.connect_url);
  await consent(other, "undecided@example.com", "Cancel");
  await other.waitForURL((url) => url.host === PUBLIC);
  await other.getByRole("heading", { name: "Nothing was connected" }).waitFor();
  assert.notEqual((await connection("undecided")).state, "connected");
});

await scenario("an error of the vendor is told, and the site gets the status", async () => {
  await vendor("refusal", { error: "temporarily_unavailable" });
  try {
    const page = await (await person()).newPage();
    await open(page, (await link(org, "undecided", { return_url: BACK })).connect_url);
    await consent(page, "undecided@example.com", "Cancel");
    assert.equal((await cameBack(page)).status, "failed");
    await open(page, (await link(org, "undecided")).connect_url);
    await consent(page, "undecided@example.com", "Cancel");
    await page.getByRole("heading", { name: "Vendor could not be connected" }).waitFor();
    await page.getByText("temporarily_unavailable").waitFor();
  } finally {
    await vendor("refusal", { error: "access_denied" });
  }
});

/** A consent that the person gave, up to where the vendor would send the browser back to; what that is. */
async function heldBack(page) {
  await open(page, (await link(org, "undecided")).connect_url);
  await vendor("hold", { on: true });
  try {
    await consent(page, "undecided@example.com");
    await page.getByText("/oauth/callback?code=").waitFor();
    return new URL(await text(page));
  } finally {
    await vendor("hold", { on: false });
  }
}

await scenario("a wrong state connects nothing and spends no code; the right one then does", async () => {
  const page = await (await person()).newPage();
  const back = await heldBack(page);
  const from = await requestCount();
  const state = back.searchParams.get("state");
  const wrong = new URL(back);
  for (const other of ["", "A".repeat(43), state.slice(0, -4) + (state.endsWith("AAAA") ? "BBBB" : "AAAA")]) {
    wrong.searchParams.set("state", other);
    await refusedPage(page, wrong.href, 400);
  }
  wrong.searchParams.delete("state");
  await refusedPage(page, wrong.href, 400);
  assert.equal((await tokenRequests(from)).length, 0);
  assert.notEqual((await connection("undecided")).state, "connected");
  await page.goto(back.href);
  await connectedAs(page, "undecided@example.com");
  await refusedPage(page, back.href, 400);
  await own("undecided").must("DELETE", setting("undecided"));
});

await scenario("a consent that comes back in another browser connects nothing", async () => {
  const back = await heldBack(await (await person()).newPage());
  const from = await requestCount();
  await refusedPage(await (await person()).newPage(), back.href, 400);
  assert.equal((await tokenRequests(from)).length, 0);
  assert.notEqual((await connection("undecided")).state, "connected");
});

await scenario("a link that somebody has taken is refused to another browser", async () => {
  const made = await link(org, "undecided");
  const page = await (await person()).newPage();
  await open(page, made.connect_url);
  await refusedPage(await (await person()).newPage(), made.connect_url, 403);
  assert.equal((await page.reload()).status(), 200, "who has it goes on");
});

await scenario("a used link, and an unknown one, are gone", async () => {
  const made = await link(org, "tabs");
  const page = await (await person()).newPage();
  await open(page, made.connect_url);
  await consent(page, "tabs@example.com");
  await connectedAs(page, "tabs@example.com");
  await refusedPage(page, made.connect_url, 410);
  await refusedPage(await (await person()).newPage(), made.connect_url, 410);
  await refusedPage(await (await person()).newPage(), `https://${PUBLIC}/connect/${"A".repeat(43)}`, 410);
});

await scenario("two consents at once in two tabs of one browser both end well", async () => {
  const context = await person();
  const pages = [];
  for (const workspace of ["tabs", "framed"]) {
    const made = await link(org, workspace);
    const page = await context.newPage();
    await open(page, made.connect_url);
    await consentLink(page).click();
    await page.waitForURL((url) => url.host === LOGIN);
    pages.push(page);
  }
  // The one that was begun first ends last.
  for (const page of pages.reverse()) {
    await page.bringToFront();
    await page.reload();
    await atVendor(page, "both@example.com");
    await connectedAs(page, "both@example.com");
    assert.equal(new URL(page.url()).host, PUBLIC);
  }
  for (const workspace of ["tabs", "framed"]) {
    assert.equal((await me(workspace)).body.output.email, "both@example.com");
  }
});

/** A person consents from the page of a link in a frame of the site: the frame, and the window of the consent. */
async function consentFramed(made) {
  const context = await person();
  const page = await context.newPage();
  await page.goto(`https://${SITE}/embed?link=${encodeURIComponent(made.connect_url)}`);
  const frame = page.frameLocator("iframe");
  await claim(frame);
  const opened = context.waitForEvent("page");
  await consentLink(frame).click();
  const popup = await opened;
  await atVendor(popup, "framed@example.com");
  return { frame, popup };
}

await scenario("in a frame without third parties' cookies, consent has a window, and the frame learns of its end", async () => {
  const made = await link(org, "framed");
  const { frame, popup } = await consentFramed(made);
  await connectedAs(frame, "framed@example.com");
  assert.equal((await me("framed")).body.output.email, "framed@example.com");
});

await scenario("the window of a frame's consent opens for nobody who was sent its address", async () => {
  const page = await (await person()).newPage();
  const made = await link(org, "framed");
  await page.goto(`https://${SITE}/embed?link=${encodeURIComponent(made.connect_url)}`);
  const frame = page.frameLocator("iframe");
  await claim(frame);
  const address = new URL(await consentLink(frame).getAttribute("href"), made.connect_url).href;
  await refusedPage(await (await person()).newPage(), address, 403);
  const led = await (await person()).newPage();
  await led.goto(`https://${SITE}/back`);
  const answered = led.waitForResponse(address);
  await led.evaluate((url) => void location.assign(url), address);
  assert.equal((await answered).status(), 403);
});

await scenario("a frame leads to the site's return URL", async () => {
  const made = await link(org, "framed", { return_url: BACK });
  const { frame, popup } = await consentFramed(made);
  await frame.getByText("status=connected&connector_id=saas&connection=default").waitFor();
  assert.equal(new URL(popup.url()).host, PUBLIC, "the window does not go there");
});

await scenario("a site that the org does not name gets no frame", async () => {
  const made = await link(org, "undecided");
  const page = await (await person()).newPage();
  await page.goto(`https://${STRANGE}/embed?link=${encodeURIComponent(made.connect_url)}`);
  await page.waitForFunction(() => document.readyState === "complete");
  const inside = page.frames()[1];
  assert.equal(await inside.getByRole("button").count(), 0);
  assert.doesNotMatch(await inside.locator("body").innerText(), /acme/);
});

await scenario("return URLs that the org does not name are refused", async () => {
  const bad = [
    `https://${STRANGE}/back`, `https://${SITE}/backwards`, `http://${SITE}/back`, `https://${SITE}@${STRANGE}/back`,
    `https://${SITE}/other/../backwards`, "javascript:alert(1)",
  ];
  for (const url of bad) {
    const answer = await org.ask("POST", "/workspace/acme/north/connect-session", { connector_id: "saas", return_url: url });
    assert.equal(answer.status, 422, `${url}: ${answer.text}`);
    assert.equal(answer.body.code, "return_url_not_allowed", url);
  }
  await link(org, "north", { return_url: `${BACK}/deeper?tab=1` });
});
