//! The table of routes. A route that is not in it does not exist.

use portcullis_core::fault::Code;
use portcullis_engine::api_token::Role;
use portcullis_engine::caller::{
    ORG, ORG_RUN, PLATFORM, PLATFORM_ORG, RUN, RUN_READERS, WORKSPACE, WORKSPACE_ORG, WORKSPACE_ORG_PLATFORM,
};

use crate::connect as pages;
use crate::route::Admission::{Always, Scheduled};
use crate::route::{Route, Types, handle};
use crate::v1::{
    all_connections, api_tokens, audit_log, automations, backups, breakers, catalog, connect, connections,
    connectors, events, jobs, master_keys, metrics, modules, named_connections, oauth, oauth_clients,
    org_limits, org_policy, outbound, previews, retention, run_feed, run_log, runs, status, storage, tenants,
    webhooks, workspace_values,
};

/// Roles of routes that are open to all.
const OPEN: &[Role] = &[];

/// Description of each group of operations.
pub(crate) const TAGS: &[(&str, &str)] = &[
    ("Connectors", "Definitions of third-party systems, their revisions, the catalog and imports"),
    ("Tenants", "Orgs and their workspaces"),
    ("Limits", "How much an org may run and store"),
    ("Tokens", "API tokens"),
    ("Automations", "Event bindings of an org, and what an org can pick for them"),
    ("Policy", "Where an org's calls may go"),
    ("Retention", "How long runs, ledgers and inputs are kept"),
    ("Ledger", "Every outbound attempt of an org"),
    ("Audit", "Who changed what, when and from where"),
    ("Connections", "A workspace's credentials"),
    ("Connect", "Links with which a person connects a workspace in a browser, and their pages"),
    ("Runs", "Calls of actions and automations, and their records"),
    ("Webhooks", "Where an org and the platform are told of what happens"),
    ("Storage", "Backups, and what is stored"),
    ("Breakers", "Third parties that fail and are not asked for a while"),
    ("Keys", "The ring of master keys"),
    ("Service", "The process and this document"),
];

macro_rules! routes {
    ($($tag:ident { $($method:ident $path:literal $operation:ident $roles:ident $admission:ident [$($code:ident)*] $handler:path, $summary:literal;)* })*) => {
        /// Every route of the API.
        pub static ROUTES: &[Route] = &[$($(Route {
            method: stringify!($method),
            path: $path,
            operation: stringify!($operation),
            tag: stringify!($tag),
            roles: $roles,
            admission: $admission,
            own_codes: &[$(Code::$code),*],
            summary: $summary,
            types: Types::of($handler),
            handler: |context, request| Box::pin(handle($handler, context, request)),
        }),*),*];
    };
}

routes! {
    Connectors {
        POST "/admin/connector" createConnector PLATFORM Always [AlreadyExists CapabilityWidened] connectors::create, "Create a connector";
        GET "/admin/connector" listConnectors PLATFORM Always [] connectors::list, "List connectors";
        POST "/admin/connector/validate" validateConnector PLATFORM Always [] connectors::validate, "Check a definition without saving it";
        GET "/admin/connector/{id}" getConnector PLATFORM Always [ConnectorNotFound] connectors::show, "Read a connector";
        PUT "/admin/connector/{id}" replaceConnector PLATFORM Always [ConnectorNotFound RevisionMismatch CapabilityWidened] connectors::replace, "Replace a connector: a new revision and its impact";
        PATCH "/admin/connector/{id}" patchConnector PLATFORM Always [ConnectorNotFound RevisionMismatch CapabilityWidened] connectors::patch, "Merge-patch a connector; {\"enabled\": false} is the kill switch";
        DELETE "/admin/connector/{id}" deleteConnector PLATFORM Always [ConnectorNotFound RevisionMismatch InUse] connectors::delete, "Delete a connector that nothing uses, or with ?force=true";
        GET "/admin/connector/{id}/revisions" listConnectorRevisions PLATFORM Always [ConnectorNotFound] connectors::list_revisions, "List a connector's revisions";
        GET "/admin/connector/{id}/revisions/{n}" getConnectorRevision PLATFORM Always [ConnectorNotFound NotFound] connectors::show_revision, "Read one revision";
        PUT "/admin/connector/{id}/module" replaceConnectorModule PLATFORM Always [ConnectorNotFound RevisionMismatch CapabilityWidened ModuleRefused ValidationFailed InUse] modules::replace, "Upload a module, and make a new revision of the connector that uses it";
        POST "/admin/module" uploadModule PLATFORM Always [ModuleRefused InUse] modules::upload, "Admit and store a custom module";
        GET "/admin/module" listModules PLATFORM Always [] modules::list, "List custom modules";
        GET "/admin/module/{digest}" getModule PLATFORM Always [NotFound] modules::show, "Read a module's report";
        DELETE "/admin/module/{digest}" deleteModule PLATFORM Always [NotFound InUse] modules::delete, "Delete a module that no connector uses";
        POST "/admin/connector/import" importConnector PLATFORM Always [] catalog::import, "Make a draft definition from an OpenAPI description, with a report of what was not carried";
        GET "/admin/catalog" listCatalog PLATFORM Always [] catalog::list, "List the definitions that ship with the product";
        GET "/admin/catalog/{id}" getCatalogEntry PLATFORM Always [NotFound] catalog::show, "Read a definition of the catalog";
        POST "/admin/catalog/{id}" installCatalogEntry PLATFORM Always [NotFound AlreadyExists ValidationFailed] connectors::install, "Create the connector of a catalog entry";
    }
    Tenants {
        POST "/admin/org" createOrg PLATFORM Always [AlreadyExists] tenants::create_org, "Create an org";
        GET "/admin/org" listOrgs PLATFORM Always [] tenants::list_orgs, "List orgs";
        GET "/admin/org/{org}" getOrg PLATFORM Always [] tenants::show_org, "Read an org";
        DELETE "/admin/org/{org}" deleteOrg PLATFORM Always [InUse] tenants::delete_org, "Delete an org that has no workspace";
        POST "/admin/org/{org}/workspace" createWorkspace PLATFORM Always [AlreadyExists KeyUnavailable] tenants::create_workspace, "Create a workspace";
        GET "/admin/org/{org}/workspace" listWorkspaces PLATFORM Always [] tenants::list_workspaces, "List workspaces";
        GET "/admin/org/{org}/workspace/{ws}" getWorkspace PLATFORM Always [] tenants::show_workspace, "Read a workspace";
        GET "/org/{org}/workspace" listOwnWorkspaces ORG Always [] tenants::list_workspaces, "List the org's workspaces";
        DELETE "/admin/org/{org}/workspace/{ws}" deleteWorkspace PLATFORM Always [] tenants::delete_workspace, "Delete a workspace: its key is destroyed first, so its credentials can never be opened again";
    }
    Limits {
        GET "/admin/org/{org}/limits" getOrgLimits PLATFORM Always [LedgerUnavailable] org_limits::show_for_platform, "Read an org's limits, and what it uses of them";
        PUT "/admin/org/{org}/limits" setOrgLimits PLATFORM Always [LedgerUnavailable] org_limits::replace, "Set an org's limits of calls and stored bytes; they count for the next call";
        DELETE "/admin/org/{org}/limits" removeOrgLimits PLATFORM Always [] org_limits::remove, "Take an org's own limits away: the platform's count";
        GET "/org/{org}/limits" getOwnLimits ORG Always [LedgerUnavailable] org_limits::show, "Read the org's limits, and what it uses of them";
    }
    Tokens {
        POST "/admin/token" createToken PLATFORM_ORG Always [OrgNotFound WorkspaceNotFound] api_tokens::create, "Create a token; it is shown once";
        GET "/admin/token" listTokens PLATFORM_ORG Always [] api_tokens::list, "List tokens, without their secrets";
        DELETE "/admin/token/{id}" revokeToken PLATFORM_ORG Always [NotFound InUse LastPlatformToken] api_tokens::revoke, "Revoke a token; calls that wait with it end";
    }
    Automations {
        GET "/org/{org}/connector" listPickableConnectors ORG_RUN Always [] connectors::list_pickable, "Connectors that can be picked, their actions and inputs; for a run token, those that it may call";
        POST "/org/{org}/automation" createAutomation ORG Always [] automations::create, "Create an automation";
        GET "/org/{org}/automation" listAutomations ORG_RUN Always [] automations::list, "List automations; for a run token, those that it may fire";
        GET "/org/{org}/automation/{id}" getAutomation ORG Always [AutomationNotFound] automations::show, "Read an automation";
        PUT "/org/{org}/automation/{id}" replaceAutomation ORG Always [AutomationNotFound RevisionMismatch] automations::replace, "Replace an automation";
        POST "/org/{org}/automation/preview" previewDraft ORG Always [WorkspaceNotFound WorkspaceBusy OrgBusy] previews::draft, "Show what an automation would do that is not saved; nothing is sent";
        POST "/org/{org}/automation/{id}/preview" previewAutomation ORG Always [AutomationNotFound WorkspaceNotFound WorkspaceBusy OrgBusy] previews::stored, "Show what an automation would do with a source; nothing is sent";
        DELETE "/org/{org}/automation/{id}" deleteAutomation ORG Always [AutomationNotFound RevisionMismatch] automations::delete, "Delete an automation";
    }
    Policy {
        GET "/org/{org}/settings/integrations" getIntegrations ORG Always [] org_policy::show, "Read where the org's calls may go, which connectors it uses, and what their actions may do";
        PUT "/org/{org}/settings/integrations" setIntegrations ORG Always [] org_policy::replace, "Set all of it: what is left out is not restricted";
        PATCH "/org/{org}/settings/integrations" patchIntegrations ORG Always [InUse] org_policy::patch, "Change what a merge patch names of it";
        GET "/org/{org}/settings/integrations/usage" getIntegrationsUsage ORG Always [LedgerUnavailable] org_policy::usage, "Which entries of the allowlist were hit, and which hosts were asked for outside it";
    }
    Retention {
        GET "/org/{org}/settings/retention" getRetention ORG Always [] retention::show, "Read how long the org's runs, ledger and inputs are kept";
        PUT "/org/{org}/settings/retention" setRetention ORG Always [] retention::replace, "Set how long they are kept; a shorter term counts 24 hours later";
        GET "/admin/settings/retention" getPlatformRetention PLATFORM Always [] retention::show_platform, "Read how long runs, ledgers and inputs of all orgs are kept";
        PUT "/admin/settings/retention" setPlatformRetention PLATFORM Always [] retention::replace_platform, "Set how long they are kept at most, and the ledger at least";
    }
    Ledger {
        GET "/org/{org}/outbound" listOutbound ORG Always [LedgerUnavailable] outbound::list, "Every outbound attempt of the org; Accept application/x-ndjson or text/csv exports every record";
        GET "/org/{org}/outbound/stream" streamOutbound ORG Always [LedgerUnavailable] outbound::stream, "Follow the ledger as server-sent events";
        GET "/org/{org}/outbound/verify" verifyOutbound ORG Always [LedgerUnavailable] outbound::verify, "Check the ledger's hash chain";
    }
    Audit {
        GET "/org/{org}/audit" listOrgAudit ORG Always [] audit_log::of_org, "List what was changed of the org and by whom, newest first";
        GET "/org/{org}/audit/verify" verifyOrgAudit ORG Always [] audit_log::verify_of_org, "Check the hash chain of the org's audit log";
        GET "/admin/audit" listAudit PLATFORM Always [] audit_log::of_platform, "List what was changed and by whom, over all orgs and the platform, and failed logins; newest first";
        GET "/admin/audit/verify" verifyAudit PLATFORM Always [] audit_log::verify_of_platform, "Check the hash chains of the platform's audit log, or that of an org";
    }
    Connections {
        GET "/workspace/{org}/{ws}/settings/connector" listConnections WORKSPACE Always [] connections::list, "All connectors with the workspace's state and form";
        GET "/workspace/{org}/{ws}/settings/connector/{id}" getConnection WORKSPACE Always [ConnectorNotFound] connections::show, "The forms, values that are not secret, and which secrets are set and when";
        PUT "/workspace/{org}/{ws}/settings/connector/{id}" saveConnection WORKSPACE Always [ConnectorNotFound RevisionMismatch] connections::save, "Save credentials, or opt out with {\"enabled\": false}";
        PATCH "/workspace/{org}/{ws}/settings/connector/{id}" patchConnection WORKSPACE Always [ConnectorNotFound RevisionMismatch] connections::patch, "Change what is named: what is left out stays as it was saved, secrets too";
        GET "/workspace/{org}/{ws}/settings/connector/{id}/form" getConnectionForm WORKSPACE Always [ConnectorNotFound] connections::form::show, "Read the form of a method as JSON Schema, with hints for its display";
        DELETE "/workspace/{org}/{ws}/settings/connector/{id}" forgetConnection WORKSPACE Always [ConnectorNotFound] connections::forget, "Forget the credentials";
        POST "/workspace/{org}/{ws}/settings/connector/{id}/test" testConnection WORKSPACE Scheduled [ConnectorNotFound ConnectorDisabled ConnectorNotAllowed ActionNotAllowed CredentialNeedsAttention NotFound OrgRateLimited LedgerUnavailable] connections::test, "Try the saved credential with the definition's own test request";
        POST "/workspace/{org}/{ws}/settings/connector/{id}/oauth/start" startConsent WORKSPACE Always [ConnectorNotFound ConnectorDisabled ConnectorNotAllowed ActionNotAllowed CredentialNeedsAttention CredentialNotBound] oauth::start, "Start a consent: where the person is to be sent, and a cookie for that browser";
        GET "/workspace/{org}/{ws}/settings/connector/{id}/connection" listNamedConnections WORKSPACE Always [ConnectorNotFound] named_connections::list, "List the workspace's named connections of a connector, beside its default one";
        GET "/workspace/{org}/{ws}/settings/connector/{id}/connection/{name}" getNamedConnection WORKSPACE Always [ConnectorNotFound NotFound] named_connections::show, "Which fields of a named connection are set and when; never a value";
        PUT "/workspace/{org}/{ws}/settings/connector/{id}/connection/{name}" saveNamedConnection WORKSPACE Always [ConnectorNotFound RevisionMismatch] named_connections::save, "Save the credentials of a named connection, or opt out of it with {\"enabled\": false}";
        PATCH "/workspace/{org}/{ws}/settings/connector/{id}/connection/{name}" patchNamedConnection WORKSPACE Always [ConnectorNotFound NotFound RevisionMismatch] named_connections::patch, "Change what is named of a named connection: what is left out stays as it was saved, secrets too";
        GET "/workspace/{org}/{ws}/settings/connector/{id}/connection/{name}/form" getNamedConnectionForm WORKSPACE Always [ConnectorNotFound NotFound] named_connections::form, "Read the form of a method for a named connection, which need not exist yet, as JSON Schema";
        DELETE "/workspace/{org}/{ws}/settings/connector/{id}/connection/{name}" forgetNamedConnection WORKSPACE Always [ConnectorNotFound NotFound] named_connections::forget, "Forget a named connection";
        POST "/workspace/{org}/{ws}/settings/connector/{id}/connection/{name}/test" testNamedConnection WORKSPACE Scheduled [ConnectorNotFound ConnectorDisabled ConnectorNotAllowed ActionNotAllowed CredentialNeedsAttention NotFound OrgRateLimited LedgerUnavailable] named_connections::test, "Try the credential of a named connection with the definition's own test request";
        POST "/workspace/{org}/{ws}/settings/connector/{id}/connection/{name}/oauth/start" startNamedConsent WORKSPACE Always [ConnectorNotFound ConnectorDisabled ConnectorNotAllowed ActionNotAllowed CredentialNeedsAttention CredentialNotBound NotFound] named_connections::start_consent, "Start a consent for a named connection";
        GET "/org/{org}/oauth-client/{id}" getOrgOauthClient ORG Always [ConnectorNotFound NotFound ValidationFailed] oauth_clients::show, "Read the org's OAuth client of a connector; never its secret";
        PUT "/org/{org}/oauth-client/{id}" saveOrgOauthClient ORG Always [ConnectorNotFound TokenHostChosenByTenant] oauth_clients::save, "Save an OAuth client for all workspaces of the org; it wins over the platform's";
        DELETE "/org/{org}/oauth-client/{id}" deleteOrgOauthClient ORG Always [ConnectorNotFound NotFound ValidationFailed] oauth_clients::remove, "Delete the org's OAuth client; connections made with it need a new consent";
        GET "/admin/oauth-client/{id}" getPlatformOauthClient PLATFORM Always [ConnectorNotFound NotFound ValidationFailed] oauth_clients::show, "Read the platform's OAuth client of a connector; never its secret";
        PUT "/admin/oauth-client/{id}" savePlatformOauthClient PLATFORM Always [ConnectorNotFound TokenHostChosenByTenant] oauth_clients::save, "Save an OAuth client for all workspaces of all orgs";
        DELETE "/admin/oauth-client/{id}" deletePlatformOauthClient PLATFORM Always [ConnectorNotFound NotFound ValidationFailed] oauth_clients::remove, "Delete the platform's OAuth client; connections made with it need a new consent";
        GET "/org/{org}/connection" listOrgConnections ORG Always [WorkspaceNotFound] all_connections::of_org, "List the saved connections of all workspaces of an org";
        GET "/admin/connection" listAllConnections PLATFORM Always [OrgNotFound WorkspaceNotFound] all_connections::of_platform, "List the saved connections of all orgs";
        GET "/workspace/{org}/{ws}/settings/values" getWorkspaceValues WORKSPACE_ORG Always [] workspace_values::show, "Read the workspace's values for mappings and conditions";
        PUT "/workspace/{org}/{ws}/settings/values" setWorkspaceValues WORKSPACE_ORG Always [] workspace_values::replace, "Set the workspace's values for mappings and conditions";
        GET "/oauth/callback" finishConsent OPEN Always [ConsentInvalid ConnectorDisabled ConnectorNotAllowed ActionNotAllowed CredentialNeedsAttention] oauth::callback, "Where a third party sends the person back to";
    }
    Connect {
        POST "/workspace/{org}/{ws}/connect-session" createConnectSession WORKSPACE_ORG_PLATFORM Always [ConnectorNotFound ConnectorDisabled ConnectorNotAllowed ActionNotAllowed ReturnUrlNotAllowed] connect::create, "Make a link with which a person connects the workspace in a browser; it is shown once";
        GET "/workspace/{org}/{ws}/connect-session" listConnectSessions WORKSPACE_ORG_PLATFORM Always [] connect::list, "List the workspace's connect links, without their secrets";
        DELETE "/workspace/{org}/{ws}/connect-session/{id}" revokeConnectSession WORKSPACE_ORG_PLATFORM Always [NotFound] connect::revoke, "Revoke a connect link, also one that is in use";
        GET "/org/{org}/settings/connect" getConnectSettings PLATFORM_ORG Always [] connect::show, "Read where connect links of the org may lead back to, who may frame their page, and how it looks";
        PUT "/org/{org}/settings/connect" setConnectSettings PLATFORM_ORG Always [] connect::replace, "Set all of it";
        GET "/connect/{secret}" showConnectPage OPEN Always [] pages::show, "The page of a connect link; opening it claims nothing";
        POST "/connect/{secret}/claim" claimConnectLink OPEN Always [] pages::claim, "Claim a connect link for this browser";
        POST "/connect/{secret}/save" saveConnectForm OPEN Always [RateLimited] pages::save, "Save what a person filled in, and try it";
        GET "/connect/{secret}/consent" startConnectConsent OPEN Always [RateLimited] pages::consent, "Send the person to the third party for consent";
        GET "/connect/{secret}/window/{ticket}" openConnectWindow OPEN Always [RateLimited] pages::window, "The same in a window that a framed page opens once";
        POST "/connect/{secret}/end" endConnectSession OPEN Always [] pages::finish, "Leave without connecting, or keep what was saved";
        GET "/connect/{secret}/end" showConnectEnd OPEN Always [] pages::end, "What came of a connect link";
    }
    Runs {
        POST "/run/{org}/{ws}/connector/{id}/{action}" runAction RUN Scheduled [OrgStorageFull IdempotencyKeyReused IdempotencyInFlight] runs::run_action, "Call an action";
        POST "/run/{org}/{ws}/automation/{id}" fireAutomation RUN Scheduled [AutomationNotFound OrgStorageFull IdempotencyKeyReused IdempotencyInFlight] runs::fire_automation, "Fire an automation";
        POST "/run/{org}/{ws}/event" fireEvent RUN Scheduled [IdempotencyKeyReused IdempotencyInFlight] events::fire, "Fire every automation that is bound to an event";
        GET "/run/{org}/{ws}" listRuns RUN_READERS Always [] run_log::list, "List runs in the order of their ends, newest first";
        GET "/org/{org}/run" listOrgRuns ORG Always [WorkspaceNotFound] run_log::list_of_org, "List the runs of all workspaces of an org, newest first";
        GET "/org/{org}/run/feed" getRunFeed ORG Always [] run_feed::read, "Follow the ends of the org's accepted runs, oldest first; waits for one";
        GET "/admin/run" listAllRuns PLATFORM Always [OrgNotFound] run_log::list_of_platform, "List the runs of all orgs, newest first";
        GET "/run/{org}/{ws}/{run_id}" getRun RUN_READERS Always [NotFound NotGranted] jobs::show, "Read a run, at once or at its end";
        POST "/run/{org}/{ws}/{run_id}/cancel" cancelRun RUN Always [NotFound NotGranted] jobs::cancel, "Cancel a run that was accepted";
        POST "/run/{org}/{ws}/{run_id}/rerun" rerunRun RUN Always [NotFound NotGranted ConnectorNotAllowed ActionNotAllowed InUse InputNotKept DefinitionChanged ConnectorNotFound ActionNotFound AutomationNotFound InputInvalid WorkspaceBusy OrgStorageFull LedgerUnavailable] jobs::rerun, "Run the input of an ended run again, as a new run";
        POST "/org/{org}/run/redrive" redriveRuns ORG Always [WorkspaceBusy] jobs::redrive, "Take up runs again that were given up or skipped";
    }
    Webhooks {
        GET "/org/{org}/webhook" listOrgWebhooks ORG Always [] webhooks::list, "List the webhooks of the org";
        GET "/org/{org}/webhook/{id}" getOrgWebhook ORG Always [NotFound] webhooks::show, "Read a webhook; never its secret";
        PUT "/org/{org}/webhook/{id}" saveOrgWebhook ORG Always [] webhooks::save, "Make or change a webhook of the org; a signed ping must be answered with 2xx";
        DELETE "/org/{org}/webhook/{id}" deleteOrgWebhook ORG Always [NotFound] webhooks::remove, "Delete a webhook, and what was not delivered to it";
        POST "/org/{org}/webhook/{id}/rotate" rotateOrgWebhook ORG Always [NotFound] webhooks::rotate, "Give a webhook a new secret; the one before also signs for a day";
        GET "/org/{org}/webhook/{id}/delivery" listOrgDeliveries ORG Always [NotFound] webhooks::deliveries, "List a webhook's deliveries, oldest first; ?state=dead are those that were given up";
        POST "/org/{org}/webhook/{id}/delivery/{delivery_id}/resend" resendOrgDelivery ORG Always [NotFound] webhooks::resend, "Send a delivery again under its id";
        GET "/admin/webhook" listPlatformWebhooks PLATFORM Always [] webhooks::list, "List the webhooks of the platform";
        GET "/admin/webhook/{id}" getPlatformWebhook PLATFORM Always [NotFound] webhooks::show, "Read a webhook; never its secret";
        PUT "/admin/webhook/{id}" savePlatformWebhook PLATFORM Always [InUse] webhooks::save, "Make or change a webhook of the platform; a signed ping must be answered with 2xx";
        DELETE "/admin/webhook/{id}" deletePlatformWebhook PLATFORM Always [NotFound] webhooks::remove, "Delete a webhook, and what was not delivered to it";
        POST "/admin/webhook/{id}/rotate" rotatePlatformWebhook PLATFORM Always [NotFound] webhooks::rotate, "Give a webhook a new secret; the one before also signs for a day";
        GET "/admin/webhook/{id}/delivery" listPlatformDeliveries PLATFORM Always [NotFound] webhooks::deliveries, "List a webhook's deliveries, oldest first; ?state=dead are those that were given up";
        POST "/admin/webhook/{id}/delivery/{delivery_id}/resend" resendPlatformDelivery PLATFORM Always [NotFound] webhooks::resend, "Send a delivery again under its id";
    }
    Storage {
        POST "/admin/backup" createBackup PLATFORM Always [BackupNotConfigured InUse] backups::create, "Make a backup of everything, sealed for the key of backup.recipient";
        GET "/admin/storage" getStorage PLATFORM Always [] storage::show, "Read what is stored by kind, and what a compaction would give back";
    }
    Breakers {
        GET "/admin/breaker" listBreakers PLATFORM Always [] breakers::list, "List the circuit breakers of this node that are not closed";
    }
    Keys {
        GET "/admin/key" getMasterKeys PLATFORM Always [] master_keys::show, "List the master keys, what each wraps, and which node has which";
        POST "/admin/key/rotate" rotateMasterKey PLATFORM Always [NotFound KeyNotEverywhere KeyUnavailable] master_keys::rotate, "Promote a master key, and wrap with it what others wrap";
    }
    Service {
        GET "/healthz" getHealth OPEN Always [] status::healthz, "Whether the process is alive";
        GET "/readyz" getReadiness OPEN Always [] status::readyz, "Whether it can serve: the store answers, and the process is not stopping";
        GET "/metrics" getMetrics PLATFORM Always [] metrics::metrics, "The metrics of the process, for Prometheus";
        GET "/openapi.json" getOpenapi OPEN Always [] status::openapi, "This document";
    }
}
