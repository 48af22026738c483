// The connectors of the story.

import { API, HOSTILE, LOGIN } from "./names.mjs";

const actions = [
  { action_id: "me", name: "Who am I", http_method: "GET", url_template: `https://${API}/v1/me`, effect: "read" },
  {
    action_id: "make", name: "Make a thing", http_method: "POST", url_template: `https://${API}/v1/things`,
    effect: "write", body_schema: [{ name: "name", label: "Name" }],
  },
];

const CLIENT_FIELDS = [
  { name: "client_id", label: "Client ID", type: "text", required: true },
  { name: "client_secret", label: "Client secret", type: "password", required: true },
];

/** A connector whose token a person consents to. */
export const saas = {
  connector_id: "saas", display_name: "Vendor", version: "1.0.0", auth_type: "oauth2_authorization_code",
  auth: {
    authorize_url: `https://${LOGIN}/auth`, token_url: `https://${LOGIN}/token`, issuer: `https://${LOGIN}`,
    scopes: ["things.read", "things.write"], refresh: { rotates: true },
  },
  auth_schema: { fields: CLIENT_FIELDS },
  allowed_domains: [LOGIN, API], enabled: true, actions,
  test: {
    request: { action_id: "me", http_method: "GET", url_template: `https://${API}/v1/me` }, label: "/email",
  },
};

/** Where each tenant of the vendor has a host, and a workspace says which is its own. */
export const hosted = {
  ...saas, connector_id: "hosted", display_name: "Hosted",
  auth: { ...saas.auth, token_url: "https://{{config.shop}}.hosting-example.com/token" },
  config_fields: [{ name: "shop", label: "Shop", type: "text", format: "hostname_label", required: true }],
  allowed_domains: [LOGIN, API, "*.hosting-example.com"],
};

export const shopOf = (host) => host.split(".")[0];

/** Whose token endpoint moves to another host, later. */
export const moving = { ...saas, connector_id: "moving", display_name: "Moving", allowed_domains: [LOGIN, API, HOSTILE] };
export const moved = { ...moving, auth: { ...saas.auth, token_url: `https://${HOSTILE}/token` } };

/** A connector whose form asks for a key. */
export const keyed = {
  connector_id: "keyed", display_name: "Keyed", version: "1.0.0", description: "Things behind a key.",
  auth_type: "api_key", auth: { name: "X-Key" },
  auth_schema: {
    fields: [{
      name: "api_key", label: "API key", type: "password", required: true, pattern: "key-.+",
      pattern_message: "A key begins with key-.", help: "On the vendor's page, below Settings.",
    }],
  },
  config_fields: [{ name: "team", label: "Team", type: "text", required: true, help: "As in the vendor's address." }],
  allowed_domains: [API], enabled: true,
  actions: [{
    action_id: "whose", name: "Whose key", http_method: "GET", url_template: `https://${API}/v1/key/{{config.team}}`,
    effect: "read",
  }],
  test: {
    request: { action_id: "whose", http_method: "GET", url_template: `https://${API}/v1/key/{{config.team}}` },
    label: "/email",
  },
};
