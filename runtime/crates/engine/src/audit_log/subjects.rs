//! What a stored record stands for in the audit log: whose chain its changes belong to, and its name there.
//!
//! A name is made of ids alone, never of a key that holds the hash of a secret.

use portcullis_core::id::OrgId;
use portcullis_store::{
    AuditScope, AutomationRecord, ConnectSession, ConnectSettings, ConnectorRecord, ConnectorSetting,
    Document as _, IntegrationSettings, KeptDelivery, Key, KeyRingRecord, ModuleRecord, OAuthClientRecord,
    OrgLimitsRecord, OrgRecord, PLATFORM_SCOPE, PendingDelivery, RetentionRecord, TokenRecord, TokenState,
    WebhookEndpoint, Webhooks, WorkspaceRecord, WorkspaceValuesRecord,
};

/// Every kind that a record can be of.
pub(super) const KINDS: &[&str] = &[
    AutomationRecord::KIND,
    ConnectSession::KIND,
    ConnectSettings::KIND,
    ConnectorRecord::KIND,
    ConnectorSetting::KIND,
    IntegrationSettings::KIND,
    KeptDelivery::KIND,
    KeyRingRecord::KIND,
    ModuleRecord::KIND,
    OAuthClientRecord::KIND,
    OrgLimitsRecord::KIND,
    OrgRecord::KIND,
    PendingDelivery::KIND,
    RetentionRecord::KIND,
    TokenRecord::KIND,
    TokenState::KIND,
    Webhooks::KIND,
    WorkspaceRecord::KIND,
    WorkspaceValuesRecord::KIND,
];

/// Kinds of the platform, and the first segment of their names.
const OF_PLATFORM: &[(&str, &str)] = &[(ConnectorRecord::KIND, "connector"), (ModuleRecord::KIND, "module")];

/// Kinds whose keys begin with an org.
const OF_ORG: &[(&str, &str)] = &[
    (AutomationRecord::KIND, "automation"),
    (ConnectSession::KIND, "connect_session"),
    (ConnectSettings::KIND, "connect"),
    (ConnectorSetting::KIND, "connection"),
    (IntegrationSettings::KIND, "integrations"),
    (OrgLimitsRecord::KIND, "limits"),
    (OrgRecord::KIND, "org"),
    (TokenState::KIND, "connection"),
    (WorkspaceRecord::KIND, "workspace"),
    (WorkspaceValuesRecord::KIND, "values"),
];

/// A record that a commit changes, with its bytes as they are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed<'a> {
    pub(super) key: &'a str,
    pub(super) before: Option<&'a [u8]>,
    pub(super) after: Option<&'a [u8]>,
}

/// Whose chain, and the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) scope: AuditScope,
    pub(super) target: String,
}

impl Subject {
    pub(super) fn new(org: Option<OrgId>, target: String) -> Self {
        Self { scope: org.map_or(AuditScope::Platform, AuditScope::Org), target }
    }
}

/// The kind of a storage key.
pub(super) fn kind_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(kind, _)| kind)
}

/// Whether something changes that people change.
pub(super) fn is_change(changed: Changed<'_>) -> bool {
    if changed.before.is_none() && changed.after.is_none() {
        return false;
    }
    // Why: who obtains a token notes before that it does, which nobody has to know of, and takes the old one away by it.
    let is_lease = || changed.after.is_some_and(|after| sealed(Some(after)).is_none());
    kind_of(changed.key) != TokenState::KIND
        || (!is_lease() && sealed(changed.before) != sealed(changed.after))
}

/// The token of a state, as it is stored.
fn sealed(state: Option<&[u8]>) -> Option<String> {
    serde_json::from_slice::<TokenState>(state?).ok()?.sealed
}

/// What a change is of; `None` for a kind that is not recorded, and a key that is none of it.
pub(super) fn subject(changed: Changed<'_>) -> Option<Subject> {
    let (kind, parts) = Key::parse(changed.key)?;
    if let Some((_, noun)) = OF_PLATFORM.iter().find(|(own, _)| *own == kind) {
        return Some(Subject::new(None, named(noun, &parts)));
    }
    if let Some((_, noun)) = OF_ORG.iter().find(|(own, _)| *own == kind) {
        let org = OrgId::parse(parts.first()?).ok()?;
        return Some(Subject::new(Some(org), named(noun, &parts)));
    }
    match (kind, parts.as_slice()) {
        (TokenRecord::KIND, [_]) => {
            let token: TokenRecord = serde_json::from_slice(changed.after.or(changed.before)?).ok()?;
            Some(Subject::new(token.org, named("token", &[token.token_id.as_str()])))
        }
        (KeyRingRecord::KIND, [_]) => {
            let ring: KeyRingRecord = serde_json::from_slice(changed.after.or(changed.before)?).ok()?;
            Some(Subject::new(None, named("master_key", &[ring.current.as_str()])))
        }
        (RetentionRecord::KIND, ["org", org]) => {
            Some(Subject::new(Some(OrgId::parse(org).ok()?), named("retention", &[*org])))
        }
        (RetentionRecord::KIND, _) => Some(Subject::new(None, "retention".to_owned())),
        (Webhooks::KIND, [scope]) => {
            let ids = changed_webhooks(changed.before, changed.after);
            let names = ids.iter().map(|id| in_scope("webhook", scope, &[id.as_str()]).target);
            let target = names.collect::<Vec<_>>().join(" ");
            Some(Subject { target, ..in_scope("webhook", scope, &[]) })
        }
        (PendingDelivery::KIND | KeptDelivery::KIND, [scope, _, id]) => {
            Some(in_scope("webhook_delivery", scope, &[*id]))
        }
        (OAuthClientRecord::KIND, [scope, connector, method]) => {
            Some(in_scope("oauth_client", scope, &[*connector, *method]))
        }
        _ => None,
    }
}

fn named(noun: &str, parts: &[&str]) -> String {
    format!("{noun}/{}", parts.join("/"))
}

/// The name of something of an org or of the platform, by the key part that webhooks and OAuth clients have.
fn in_scope(noun: &str, scope: &str, ids: &[&str]) -> Subject {
    match OrgId::parse(scope) {
        Ok(org) if scope != PLATFORM_SCOPE => {
            Subject::new(Some(org), named(noun, &[&[scope][..], ids].concat()))
        }
        _ => Subject::new(None, named(noun, ids)),
    }
}

/// Ids of the endpoints that differ.
fn changed_webhooks(before: Option<&[u8]>, after: Option<&[u8]>) -> Vec<String> {
    let endpoints = |bytes: Option<&[u8]>| -> Vec<WebhookEndpoint> {
        let read = bytes.and_then(|bytes| serde_json::from_slice::<Webhooks>(bytes).ok());
        read.map(|hooks| hooks.endpoints).unwrap_or_default()
    };
    let (before, after) = (endpoints(before), endpoints(after));
    let differs = |one: &&WebhookEndpoint| !(before.contains(one) && after.contains(one));
    let mut ids: Vec<String> =
        before.iter().chain(&after).filter(differs).map(|one| one.id.as_str().to_owned()).collect();
    ids.sort();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, after: &str) -> Option<(String, String)> {
        let found = subject(Changed { key, before: None, after: Some(after.as_bytes()) })?;
        Some((found.scope.part().to_owned(), found.target))
    }

    fn named_so(scope: &str, target: &str) -> Option<(String, String)> {
        Some((scope.to_owned(), target.to_owned()))
    }

    #[test]
    fn a_record_is_of_its_org_or_of_the_platform_and_is_named_by_ids() {
        assert_eq!(of("connector/crm", "{}"), named_so("PLATFORM", "connector/crm"));
        assert_eq!(of("setting/acme/main/crm", "{}"), named_so("acme", "connection/acme/main/crm"));
        assert_eq!(
            of("setting/acme/main/crm/sales", "{}"),
            named_so("acme", "connection/acme/main/crm/sales")
        );
        assert_eq!(of("retention/org/acme", "{}"), named_so("acme", "retention/acme"));
        assert_eq!(of("retention/platform", "{}"), named_so("PLATFORM", "retention"));
        let token = |org: &str| {
            format!(
                r#"{{"token_id":"tok_1","role":"run"{org},"created_at":"2026-01-01T00:00:00Z","hash":"00ff"}}"#
            )
        };
        assert_eq!(of("token/00ff", &token(r#","org":"acme""#)), named_so("acme", "token/tok_1"));
        assert_eq!(of("token/00ff", &token("")), named_so("PLATFORM", "token/tok_1"));
        assert_eq!(
            of("webhook_kept/PLATFORM/hook_1/evt_1", "{}"),
            named_so("PLATFORM", "webhook_delivery/evt_1")
        );
        assert_eq!(
            of("oauth_client/PLATFORM/crm/default", "{}"),
            named_so("PLATFORM", "oauth_client/crm/default")
        );
        assert_eq!(of("oauth_client/acme/crm/oauth", "{}"), named_so("acme", "oauth_client/acme/crm/oauth"));
        assert_eq!(
            of("key_ring/ring", r#"{"current":"00112233aabbccdd"}"#),
            named_so("PLATFORM", "master_key/00112233aabbccdd")
        );
        assert_eq!(of("oauth_client/acme/crm", "{}"), None);
        assert_eq!(of("run/acme/main", "{}"), None);
    }

    #[test]
    fn a_lease_of_a_token_is_no_change_and_a_new_token_is_one() {
        let state = |sealed: &str| {
            format!(r#"{{"token_id":"cred_1","revision":1,"credential_revision":1{sealed}}}"#).into_bytes()
        };
        let (none, one, two) = (state(""), state(r#","sealed":"a""#), state(r#","sealed":"b""#));
        let key = "token_state/acme/main/crm";
        let changes = |before: Option<&[u8]>, after: Option<&[u8]>| is_change(Changed { key, before, after });
        assert!(!changes(None, Some(&none)) && !changes(Some(&one), Some(&one)));
        assert!(changes(None, Some(&one)) && changes(Some(&one), Some(&two)) && changes(Some(&one), None));
        assert!(!is_change(Changed { key: "org_limits/acme", before: None, after: None }));
    }
}
