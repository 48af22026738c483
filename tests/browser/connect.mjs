// The product's connect page, as people use it.

import { PUBLIC, SITE } from "./names.mjs";
import { assert, atVendor } from "./stage.mjs";

export const BACK = `https://${SITE}/back`;

/** A link for a workspace, made with that token. */
export async function link(maker, workspace, wish = {}) {
  const made = await maker.must("POST", `/workspace/acme/${workspace}/connect-session`, { connector_id: "saas", ...wish });
  assert.match(made.connect_url, new RegExp(`^https://${PUBLIC}/connect/[A-Za-z0-9_-]{43}$`));
  return made;
}

/** Opens a link and takes it for this browser. */
export async function open(page, url) {
  const answer = await page.goto(url);
  assert.equal(answer.status(), 200);
  await claim(page);
}

/** Takes the link for this browser: on a page or in a frame. */
export async function claim(place) {
  await place.getByRole("button", { name: "Continue" }).click();
}

/** What leads to the vendor, whatever the page adds to its words. */
export const consentLink = (place) => place.getByRole("link", { name: /^Continue to Vendor/ });

/** Goes through a consent from the claimed page to its end. */
export async function consent(page, email, answer) {
  await consentLink(page).click();
  await atVendor(page, email, answer);
}

/** The end of a session on the product's own page. */
export async function connectedAs(place, email) {
  await place.getByText(`Connected as ${email}`).waitFor();
}

/** The end of a session on the return URL, as its parameters. */
export async function cameBack(page) {
  await page.waitForURL((url) => url.href.startsWith(BACK));
  return Object.fromEntries(new URL(page.url()).searchParams);
}

/** The page that a link answers with, where it must be refused. */
export async function refusedPage(page, url, status) {
  const answer = await page.goto(url);
  assert.equal(answer.status(), status);
  assert.match(answer.headers()["content-type"], /^text\/html/);
  assert.ok((await page.locator("body").innerText()).trim().length > 10, "the page says something");
}
