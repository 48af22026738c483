//! The table of routes. A route that is not here does not exist.

use std::pin::Pin;

use axum::body::Body;
use http::{Method, Response};
use portcullis_store::Role;
use serde_json::Value;

use super::context::Ctx;
use super::openapi::shapes;
use super::{
    automations, catalog, connectors, ledger, oauth, org_settings, runs, status, tenants, tokens,
    workspace_settings,
};
use crate::problem::Problem;

/// A handler's answer.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Problem>> + Send>>;

/// One route.
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// Roles that may use it; none means open to all.
    pub roles: &'static [Role],
    /// One line for people.
    pub summary: &'static str,
    /// Schema of the request body.
    pub body: Option<fn() -> Value>,
    /// Schema and status of the answer.
    pub answer: (u16, fn() -> Value),
    /// What it does.
    pub handler: fn(Ctx) -> Answer,
}

impl Route {
    /// The method as a type.
    #[must_use]
    pub fn http_method(&self) -> Method {
        Method::from_bytes(self.method.as_bytes()).unwrap_or(Method::GET)
    }

    /// Whether it makes calls of third parties: it is then admitted or refused first, and takes turns. All
    /// other routes are served under any load, the kill switch among them.
    #[must_use]
    pub fn makes_calls(&self) -> bool {
        self.method == "POST" && (self.path.starts_with("/run/") || self.path.ends_with("/test"))
    }
}

const OPEN: &[Role] = &[];
const PLATFORM: &[Role] = &[Role::Platform];
const PLATFORM_ORG: &[Role] = &[Role::Platform, Role::Org];
const ORG: &[Role] = &[Role::Org];
const WORKSPACE: &[Role] = &[Role::Workspace];
/// Who may make calls; for the door, which refuses them before a route is known.
pub(super) const RUN: &[Role] = &[Role::Run];
const RUN_READERS: &[Role] = &[Role::Run, Role::Workspace, Role::Org];

macro_rules! routes {
    ($($method:ident $path:literal $roles:ident $body:expr, $status:literal $answer:path, $handler:path, $summary:literal;)*) => {
        /// Every route of the API.
        pub static ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            roles: $roles,
            summary: $summary,
            body: $body,
            answer: ($status, $answer),
            handler: |ctx| Box::pin($handler(ctx)),
        }),*];
    };
}

routes! {
    GET "/healthz" OPEN None, 200 shapes::any, status::healthz, "Whether the process is alive";
    GET "/readyz" OPEN None, 200 shapes::any, status::readyz, "Whether it can serve: the store answers, and the process is not stopping";
    GET "/openapi.json" OPEN None, 200 shapes::any, status::openapi, "This document";

    POST "/admin/connector" PLATFORM Some(shapes::definition), 201 shapes::connector, connectors::create, "Create a connector";
    GET "/admin/connector" PLATFORM None, 200 shapes::list, connectors::index, "List connectors";
    POST "/admin/connector/validate" PLATFORM Some(shapes::any), 200 shapes::report, connectors::validate, "Check a definition without saving it";
    GET "/admin/connector/{id}" PLATFORM None, 200 shapes::connector, connectors::show, "Read a connector";
    PUT "/admin/connector/{id}" PLATFORM Some(shapes::definition), 200 shapes::connector, connectors::replace, "Replace a connector: a new revision and its impact";
    PATCH "/admin/connector/{id}" PLATFORM Some(shapes::any), 200 shapes::connector, connectors::patch, "Merge-patch a connector; {\"enabled\": false} is the kill switch";
    DELETE "/admin/connector/{id}" PLATFORM None, 204 shapes::nothing, connectors::remove, "Delete a connector that nothing uses, or with ?force=true";
    GET "/admin/connector/{id}/revisions" PLATFORM None, 200 shapes::list, connectors::revisions, "List a connector's revisions";
    GET "/admin/connector/{id}/revisions/{n}" PLATFORM None, 200 shapes::connector, connectors::revision, "Read one revision";

    POST "/admin/connector/import" PLATFORM Some(shapes::import), 200 shapes::any, catalog::import, "Make a draft definition from an OpenAPI description, with a report of what was not carried";
    GET "/admin/catalog" PLATFORM None, 200 shapes::list, catalog::index, "List the definitions that ship with the product";
    GET "/admin/catalog/{id}" PLATFORM None, 200 shapes::definition, catalog::show, "Read a definition of the catalog";
    POST "/admin/catalog/{id}" PLATFORM None, 201 shapes::connector, catalog::install, "Create the connector of a catalog entry";

    POST "/admin/org" PLATFORM Some(shapes::org), 201 shapes::org, tenants::create_org, "Create an org";
    GET "/admin/org" PLATFORM None, 200 shapes::list, tenants::orgs, "List orgs";
    GET "/admin/org/{org}" PLATFORM None, 200 shapes::org, tenants::org, "Read an org";
    DELETE "/admin/org/{org}" PLATFORM None, 204 shapes::nothing, tenants::remove_org, "Delete an org that has no workspace";
    POST "/admin/org/{org}/workspace" PLATFORM Some(shapes::workspace), 201 shapes::workspace, tenants::create_workspace, "Create a workspace";
    GET "/admin/org/{org}/workspace" PLATFORM None, 200 shapes::list, tenants::workspaces, "List workspaces";
    GET "/admin/org/{org}/workspace/{ws}" PLATFORM None, 200 shapes::workspace, tenants::workspace, "Read a workspace";
    DELETE "/admin/org/{org}/workspace/{ws}" PLATFORM None, 204 shapes::nothing, tenants::remove_workspace, "Delete a workspace: its key is destroyed first, so its credentials can never be opened again";

    POST "/admin/token" PLATFORM_ORG Some(shapes::token), 201 shapes::token_answer, tokens::create, "Create a token; it is shown once";
    GET "/admin/token" PLATFORM_ORG None, 200 shapes::list, tokens::index, "List tokens, without their secrets";
    DELETE "/admin/token/{id}" PLATFORM_ORG None, 204 shapes::nothing, tokens::remove, "Revoke a token";

    GET "/org/{org}/connector" ORG None, 200 shapes::list, org_settings::pickable, "Connectors that can be picked, their actions and inputs";
    GET "/org/{org}/settings/integrations" ORG None, 200 shapes::integrations, org_settings::show, "Read the org's domain allowlist";
    PUT "/org/{org}/settings/integrations" ORG Some(shapes::integrations), 200 shapes::integrations, org_settings::replace, "Set the org's domain allowlist";
    GET "/org/{org}/outbound" ORG None, 200 shapes::list, ledger::index, "Every outbound attempt of the org; Accept application/x-ndjson or text/csv exports every record";
    GET "/org/{org}/settings/integrations/usage" ORG None, 200 shapes::any, ledger::usage, "Which entries of the allowlist were hit, and which hosts were asked for outside it";
    GET "/org/{org}/outbound/stream" ORG None, 200 shapes::nothing, ledger::stream, "Follow the ledger as server-sent events";
    GET "/org/{org}/outbound/verify" ORG None, 200 shapes::any, ledger::verify, "Check the ledger's hash chain";

    POST "/org/{org}/automation" ORG Some(shapes::automation), 201 shapes::automation, automations::create, "Create an automation";
    GET "/org/{org}/automation" ORG None, 200 shapes::list, automations::index, "List automations";
    GET "/org/{org}/automation/{id}" ORG None, 200 shapes::automation, automations::show, "Read an automation";
    PUT "/org/{org}/automation/{id}" ORG Some(shapes::automation), 200 shapes::automation, automations::replace, "Replace an automation";
    DELETE "/org/{org}/automation/{id}" ORG None, 204 shapes::nothing, automations::remove, "Delete an automation";

    GET "/workspace/{org}/{ws}/settings/connector" WORKSPACE None, 200 shapes::list, workspace_settings::index, "All connectors with the workspace's state and form";
    GET "/workspace/{org}/{ws}/settings/connector/{id}" WORKSPACE None, 200 shapes::setting, workspace_settings::show, "Which fields are set and when; never a value";
    PUT "/workspace/{org}/{ws}/settings/connector/{id}" WORKSPACE Some(shapes::setting_write), 200 shapes::setting, workspace_settings::replace, "Save credentials, or opt out with {\"enabled\": false}";
    DELETE "/workspace/{org}/{ws}/settings/connector/{id}" WORKSPACE None, 204 shapes::nothing, workspace_settings::remove, "Forget the credentials";

    POST "/workspace/{org}/{ws}/settings/connector/{id}/test" WORKSPACE None, 200 shapes::any, workspace_settings::trial, "Try the saved credential with the definition's own test request";
    POST "/workspace/{org}/{ws}/settings/connector/{id}/oauth/start" WORKSPACE None, 200 shapes::any, oauth::start, "Start a consent: where the person is to be sent, and a cookie for that browser";
    GET "/oauth/callback" OPEN None, 200 shapes::nothing, oauth::callback, "Where a third party sends the person back to";

    POST "/run/{org}/{ws}/connector/{id}/{action}" RUN Some(shapes::run_input), 200 shapes::run, runs::call, "Call an action";
    POST "/run/{org}/{ws}/automation/{id}" RUN Some(shapes::run_source), 200 shapes::run, runs::automation, "Fire an automation";
    GET "/run/{org}/{ws}" RUN_READERS None, 200 shapes::list, runs::index, "List runs in the order of their ends, oldest first";
    GET "/run/{org}/{ws}/{run_id}" RUN_READERS None, 200 shapes::run, runs::show, "Read a run";
}
