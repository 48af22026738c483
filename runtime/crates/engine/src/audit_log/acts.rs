//! Which operations the audit log records. A test walks the table of routes: an operation that is in neither list fails it.

use portcullis_store::{
    AutomationRecord, ConnectSession, ConnectSettings, ConnectorRecord, ConnectorSetting, Document as _,
    IntegrationSettings, KeptDelivery, KeyRingRecord, ModuleRecord, OAuthClientRecord, OrgLimitsRecord,
    OrgRecord, PendingDelivery, RetentionRecord, TokenRecord, TokenState, Webhooks, WorkspaceRecord,
    WorkspaceValuesRecord,
};

use super::subjects;

/// The operation that ends a consent. Why named: it is a person's change, though the browser asks with GET.
pub const CONSENT: &str = "finishConsent";

/// Operations that start a consent in a connect session. Why named: a method without a form is chosen by them, though the
/// browser asks with GET.
pub const CONNECT_CONSENTS: [&str; 2] = ["startConnectConsent", "openConnectWindow"];

/// The operation that makes a backup. Why named: the operator at the machine makes one without a request.
pub const BACKUP: &str = "createBackup";

/// The action of a record of failed logins.
pub const FAILED_LOGIN: &str = "failedLogin";

/// An operation that is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Act {
    /// As the table of routes names it.
    pub operation: &'static str,
    /// Kinds of stored records: the first commit of a request that changes one of a kind has the record of it. What a
    /// request changes besides, such as what a deleted org had, belongs to the same record. None for what the use case
    /// records itself before it begins, because it changes nothing or does so in many steps.
    pub(crate) kinds: &'static [&'static str],
}

const fn act(operation: &'static str, kinds: &'static [&'static str]) -> Act {
    Act { operation, kinds }
}

/// Operations that are recorded.
pub const RECORDED: &[Act] = &[
    act("createConnector", &[ConnectorRecord::KIND]),
    act("replaceConnector", &[ConnectorRecord::KIND]),
    act("patchConnector", &[ConnectorRecord::KIND]),
    act("deleteConnector", &[ConnectorRecord::KIND]),
    act("installCatalogEntry", &[ConnectorRecord::KIND]),
    // A module that is new has a record of its own, because it stays when its connector is not replaced.
    act("replaceConnectorModule", &[ConnectorRecord::KIND, ModuleRecord::KIND]),
    act("uploadModule", &[ModuleRecord::KIND]),
    act("deleteModule", &[ModuleRecord::KIND]),
    act("createOrg", &[OrgRecord::KIND]),
    act("deleteOrg", &[OrgRecord::KIND]),
    act("createWorkspace", &[WorkspaceRecord::KIND]),
    act("deleteWorkspace", &[WorkspaceRecord::KIND]),
    act("setOrgLimits", &[OrgLimitsRecord::KIND]),
    act("removeOrgLimits", &[OrgLimitsRecord::KIND]),
    act("createToken", &[TokenRecord::KIND]),
    act("revokeToken", &[TokenRecord::KIND]),
    act("createAutomation", &[AutomationRecord::KIND]),
    act("replaceAutomation", &[AutomationRecord::KIND]),
    act("deleteAutomation", &[AutomationRecord::KIND]),
    act("setIntegrations", &[IntegrationSettings::KIND]),
    act("patchIntegrations", &[IntegrationSettings::KIND]),
    act("setRetention", &[RetentionRecord::KIND]),
    act("setPlatformRetention", &[RetentionRecord::KIND]),
    act("saveConnection", &[ConnectorSetting::KIND]),
    act("patchConnection", &[ConnectorSetting::KIND]),
    act("forgetConnection", &[ConnectorSetting::KIND]),
    act("testConnection", &[]),
    act("saveNamedConnection", &[ConnectorSetting::KIND]),
    act("patchNamedConnection", &[ConnectorSetting::KIND]),
    act("forgetNamedConnection", &[ConnectorSetting::KIND]),
    act("testNamedConnection", &[]),
    act(CONSENT, &[TokenState::KIND]),
    act("createConnectSession", &[ConnectSession::KIND]),
    act("revokeConnectSession", &[ConnectSession::KIND]),
    act("setConnectSettings", &[ConnectSettings::KIND]),
    act("saveConnectForm", &[ConnectorSetting::KIND]),
    act(CONNECT_CONSENTS[0], &[ConnectorSetting::KIND]),
    act(CONNECT_CONSENTS[1], &[ConnectorSetting::KIND]),
    act("saveOrgOauthClient", &[OAuthClientRecord::KIND]),
    act("deleteOrgOauthClient", &[OAuthClientRecord::KIND]),
    act("savePlatformOauthClient", &[OAuthClientRecord::KIND]),
    act("deletePlatformOauthClient", &[OAuthClientRecord::KIND]),
    act("setWorkspaceValues", &[WorkspaceValuesRecord::KIND]),
    act("redriveRuns", &[]),
    act(BACKUP, &[]),
    act("rotateMasterKey", &[KeyRingRecord::KIND]),
    act("saveOrgWebhook", &[Webhooks::KIND]),
    act("deleteOrgWebhook", &[Webhooks::KIND]),
    act("rotateOrgWebhook", &[Webhooks::KIND]),
    act("resendOrgDelivery", &[PendingDelivery::KIND, KeptDelivery::KIND]),
    act("savePlatformWebhook", &[Webhooks::KIND]),
    act("deletePlatformWebhook", &[Webhooks::KIND]),
    act("rotatePlatformWebhook", &[Webhooks::KIND]),
    act("resendPlatformDelivery", &[PendingDelivery::KIND, KeptDelivery::KIND]),
];

/// Operations that are not recorded though they are no reads, and why.
pub const NOT_RECORDED: &[(&str, &str)] = &[
    ("validateConnector", "it saves nothing"),
    ("importConnector", "it saves nothing"),
    ("previewDraft", "it sends and saves nothing"),
    ("previewAutomation", "it sends and saves nothing"),
    ("claimConnectLink", "it says which browser uses a link, and changes nothing else"),
    ("endConnectSession", "it ends a link, and changes nothing else"),
    ("startConsent", "what is changed is recorded when the consent is finished"),
    ("startNamedConsent", "what is changed is recorded when the consent is finished"),
    ("runAction", "a run has a record of its own, and its requests are in the ledger"),
    ("fireAutomation", "a run has a record of its own, and its requests are in the ledger"),
    ("fireEvent", "each run of it has a record of its own"),
    (
        "cancelRun",
        "it is asked for with a run token, by a program; the run's record says that it was cancelled",
    ),
    ("rerunRun", "it is a run"),
];

/// Kinds of records whose change an operation is recorded by; `None` if it is not recorded. An operation that is in no list
/// is recorded by all kinds that can be: a record too many is better than none.
pub(crate) fn kinds_of(operation: &str, is_read: bool) -> Option<&'static [&'static str]> {
    if let Some(act) = RECORDED.iter().find(|act| act.operation == operation) {
        return Some(act.kinds);
    }
    let is_passed_over = is_read || NOT_RECORDED.iter().any(|(name, _)| *name == operation);
    (!is_passed_over).then_some(subjects::KINDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_that_is_recorded_has_a_subject_and_no_operation_is_in_both_lists() {
        for act in RECORDED {
            assert!(act.kinds.iter().all(|kind| subjects::KINDS.contains(kind)), "{}", act.operation);
            assert!(NOT_RECORDED.iter().all(|(name, _)| *name != act.operation), "{}", act.operation);
        }
        assert_eq!(kinds_of("runAction", false), None);
        assert_eq!(kinds_of("listOrgs", true), None);
        assert_eq!(kinds_of("createOrg", false), Some([OrgRecord::KIND].as_slice()));
        assert_eq!(kinds_of(CONSENT, true), Some([TokenState::KIND].as_slice()));
        assert_eq!(kinds_of("aRouteOfTomorrow", false), Some(subjects::KINDS));
    }
}
