// The story's tenants, and how its scenarios see them.

import { saas } from "./definition.mjs";
import { PUBLIC } from "./names.mjs";
import { assert, atVendor, person, platform, token, vendor } from "./stage.mjs";

const WORKSPACES = ["north", "south", "own", "framed", "tabs", "undecided", "good", "evil", "moving"];
await platform.must("POST", "/admin/org", { org: "acme" });
for (const workspace of WORKSPACES) {
  await platform.must("POST", "/admin/org/acme/workspace", { workspace });
}
export const org = await token("org", "acme");
const tokens = new Map();
for (const workspace of WORKSPACES) tokens.set(workspace, await token("workspace", "acme", workspace));
/** A workspace's own access to the API. */
export const own = (workspace) => tokens.get(workspace);
const runs = await token("run", "acme");
await platform.must("POST", "/admin/connector", saas);

/** Where the platform's client of the first connector is. */
export const CLIENT = "/admin/oauth-client/saas";
export const setting = (workspace, connector = "saas") => `/workspace/acme/${workspace}/settings/connector/${connector}`;
export const me = (workspace, connector = "saas") =>
  runs.ask("POST", `/run/acme/${workspace}/connector/${connector}/me`, { input: {} });

/** Calls the API with a workspace's token; which client the vendor gave that token to. */
export async function clientOf(workspace) {
  const call = await me(workspace);
  assert.equal(call.body.status, "succeeded", call.text);
  return (await vendor("calls")).at(-1).client;
}

/** A connection as its workspace sees it. */
export const connection = (workspace, connector) => own(workspace).must("GET", setting(workspace, connector));

/** Hands the cookies of an answer to a browser, as an integrator's server does. */
export async function handOn(context, answer) {
  const cookies = answer.headers.getSetCookie().map((line) => {
    const [pair, ...rest] = line.split(";").map((part) => part.trim());
    const at = pair.indexOf("=");
    const attribute = (name) => rest.find((part) => part.toLowerCase().startsWith(name))?.split("=")[1];
    return {
      name: pair.slice(0, at), value: pair.slice(at + 1), domain: PUBLIC, path: attribute("path") ?? "/",
      httpOnly: true, secure: rest.some((part) => part.toLowerCase() === "secure"), sameSite: "Lax",
    };
  });
  await context.addCookies(cookies);
}

/** A consent for this connector, through to the callback: the status of the page there, or of the start. What is done
    `meanwhile` is done while the person is at the vendor. */
export async function consentByServer(workspace, connector, email, meanwhile = async () => {}) {
  const started = await own(workspace).ask("POST", `${setting(workspace, connector)}/oauth/start`);
  if (started.status !== 200) return started.status;
  const context = await person();
  await handOn(context, started);
  const page = await context.newPage();
  await page.goto(started.body.authorize_url);
  await meanwhile();
  const answered = page.waitForResponse((response) => response.url().startsWith(`https://${PUBLIC}/oauth/callback`));
  await atVendor(page, email);
  return (await answered).status();
}
