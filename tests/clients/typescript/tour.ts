// A walk through the API with types generated from the OpenAPI document: install a connector from the
// catalog, save a credential, fire an automation as a dry run, read the run of a refused call, and patch a
// connector with If-Match. Prints a line for each step; exits 1 at the first one that is not as expected.
// It makes a connector and an automation in the org `acme`; tests/clients/run starts a server for it.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Problem = components["schemas"]["Problem"];

const ORG = "acme";
const WORKSPACE = "main";
const CONNECTOR = "hubspot";

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set`);
  return value;
}

function client(tokenVariable: string) {
  const token = variable(tokenVariable);
  return createClient<paths>({
    baseUrl: variable("PORTCULLIS_URL"),
    headers: { Authorization: `Bearer ${token}` },
  });
}

function check(holds: boolean, what: string, found: unknown): asserts holds {
  if (!holds) throw new Error(`${what}; found ${JSON.stringify(found)}`);
}

function said(problem: Problem | undefined): string {
  return problem === undefined ? "no problem document" : `${problem.code}: ${problem.detail}`;
}

const platform = client("PORTCULLIS_PLATFORM_TOKEN");
const org = client("PORTCULLIS_ORG_TOKEN");
const workspace = client("PORTCULLIS_WORKSPACE_TOKEN");
const caller = client("PORTCULLIS_RUN_TOKEN");

async function install(): Promise<void> {
  const { data, error, response } = await platform.POST("/admin/catalog/{id}", {
    params: { path: { id: CONNECTOR } },
  });
  check(data !== undefined, "installing the catalog entry answers 201", said(error));
  check(data.connector_id === CONNECTOR, "the new connector has the entry's id", data.connector_id);
  console.log(`installed ${data.connector_id}, revision ${data.revision}, etag ${response.headers.get("etag")}`);
}

async function saveCredential(): Promise<void> {
  const { data, error } = await workspace.PUT("/workspace/{org}/{ws}/settings/connector/{id}", {
    params: { path: { org: ORG, ws: WORKSPACE, id: CONNECTOR } },
    body: { config: { access_token: "pat-na1-00000000-0000-0000-0000-000000000000" } },
  });
  check(data !== undefined, "saving a credential answers 200", said(error));
  check(data.state === "connected", "the connection is connected", data);
  console.log(`saved a credential, state ${data.state}`);
}

async function createAutomation(): Promise<string> {
  const { data, error } = await org.POST("/org/{org}/automation", {
    params: { path: { org: ORG } },
    body: {
      entity_name: "contact",
      event_name: "contact.created",
      destination_config: {
        connector_id: CONNECTOR,
        action_id: "contact_create",
        field_mapping: { email: "{{source.email}}" },
      },
    },
  });
  check(data !== undefined, "creating an automation answers 201", said(error));
  console.log(`created ${data.automation_id}`);
  return data.automation_id;
}

async function dryRun(automation: string): Promise<void> {
  const { data, error } = await caller.POST("/run/{org}/{ws}/automation/{id}", {
    params: { path: { org: ORG, ws: WORKSPACE, id: automation }, query: { dry_run: true } },
    body: { source: { email: "ada@example.org" } },
  });
  check(data !== undefined, "a dry run answers 200", said(error));
  check("dry_run" in data, "the answer is a dry run and no run", data);
  check(data.curl.startsWith("curl "), "the dry run shows a curl command", data.curl);
  console.log(`dry run of ${data.action_id}, request ${data.request_hash.slice(0, 12)}`);
}

async function allowOnly(domains: string[] | null): Promise<void> {
  const { error } = await org.PUT("/org/{org}/settings/integrations", {
    params: { path: { org: ORG } },
    body: { domain_allowlist: domains },
  });
  check(error === undefined, "setting the org's allowlist answers 200", said(error));
}

async function refusedCall(automation: string): Promise<void> {
  await allowOnly([]);
  const { data, error, response } = await caller.POST("/run/{org}/{ws}/automation/{id}", {
    params: { path: { org: ORG, ws: WORKSPACE, id: automation } },
    body: { source: { email: "ada@example.org" } },
  });
  check(error !== undefined, "a call outside the allowlist is a problem", data);
  check(response.status === 403, "it answers 403", response.status);
  check(error.code === "host_not_in_org", "its code names the check", error.code);
  check(error.run?.status === "refused", "the problem carries the refused run", error.run);
  console.log(`refused by ${error.code}, run ${error.run.run_id} is ${error.run.status}`);
  await allowOnly(null);
}

async function patchWithRevision(): Promise<void> {
  const path = { id: CONNECTOR };
  const read = await platform.GET("/admin/connector/{id}", { params: { path } });
  check(read.data !== undefined, "reading the connector answers 200", said(read.error));
  const etag = read.response.headers.get("etag");
  check(etag === `"${read.data.revision}"`, "the ETag is the revision", etag);

  const patched = await platform.PATCH("/admin/connector/{id}", {
    params: { path, header: { "If-Match": etag } },
    body: { description: "Patched by the tour." },
  });
  check(patched.data !== undefined, "a patch of the current revision answers 200", said(patched.error));
  check(patched.data.revision === read.data.revision + 1, "it makes the next revision", patched.data.revision);

  const stale = await platform.PATCH("/admin/connector/{id}", {
    params: { path, header: { "If-Match": etag } },
    body: { description: "Too late." },
  });
  check(stale.error !== undefined, "a patch of an older revision is a problem", stale.data);
  check(stale.error.code === "revision_mismatch", "its code says why", stale.error.code);
  console.log(`patched to revision ${patched.data.revision}; the old one answers ${stale.error.code}`);
}

async function tidy(automation: string): Promise<void> {
  const gone = await org.DELETE("/org/{org}/automation/{id}", {
    params: { path: { org: ORG, id: automation } },
  });
  check(gone.response.status === 204, "deleting the automation answers 204", said(gone.error));
  const deleted = await platform.DELETE("/admin/connector/{id}", {
    params: { path: { id: CONNECTOR }, query: { force: true } },
  });
  check(deleted.response.status === 204, "deleting the connector answers 204", said(deleted.error));
  console.log("deleted the automation and the connector");
}

try {
  await install();
  await saveCredential();
  const automation = await createAutomation();
  await dryRun(automation);
  await refusedCall(automation);
  await patchWithRevision();
  await tidy(automation);
  console.log("typescript tour: done");
} catch (error) {
  console.error(`typescript tour: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
