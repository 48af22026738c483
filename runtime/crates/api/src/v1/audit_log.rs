//! `/admin/audit`, `/org/{org}/audit`: who changed what, when and from where.

use portcullis_core::id::{OrgId, TokenId};
use portcullis_engine::Error;
use portcullis_engine::audit_log::{self, AuditPage, AuditReport, AuditWanted};
use portcullis_engine::clock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Json, LongList};
use crate::request::{Context, NoParameters, Parameters};

// Why a macro: the members of a parameter's type are the parameters, and these two types differ in one.
macro_rules! selections {
    ($($(#[$doc:meta])* $name:ident { $($(#[$own_doc:meta])* $own:ident $type:ident $text:tt)? })*) => {$(
        $(#[$doc])*
        #[derive(Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            /// Maximum entries of the page.
            #[serde(default = "crate::request::default_limit")]
            #[schemars(range(min = 1, max = 100))]
            limit: u32,
            /// `next` of the previous page, or the id of its last entry.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String", length(min = 1, max = 120))]
            starting_after: Option<String>,
            $($(#[$own_doc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = $text)]
            $own: Option<$type>,)?
            /// Only this operation, as this document names it; `failedLogin` for failed logins, which the platform reads.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String", length(min = 1, max = 80))]
            action: Option<String>,
            /// Only of this target, or of what is below it: `connection/acme/main` also means `connection/acme/main/crm`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String", length(min = 1, max = 300))]
            target: Option<String>,
            /// Only by this token.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "TokenId")]
            token_id: Option<TokenId>,
            /// At this time or later, RFC 3339.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String")]
            since: Option<String>,
            /// Before this time, RFC 3339.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String")]
            until: Option<String>,
        }

        impl Parameters for $name {}

        impl $name {
            fn wanted(self) -> AuditWanted {
                AuditWanted {
                    action: self.action,
                    target: self.target,
                    token_id: self.token_id,
                    since: self.since,
                    until: self.until,
                    starting_after: self.starting_after,
                    limit: usize::try_from(self.limit).unwrap_or(50),
                }
            }
        }
    )*};
}

selections! {
    /// Selects records of an org.
    AuditParameters {}
    /// Selects records of all chains.
    AllAuditParameters {
        /// Only of this org, which may be gone.
        org OrgId "OrgId"
    }
}

/// Which chains are checked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditChains {
    /// The chain of this org, which may be gone; the platform's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OrgId")]
    org: Option<OrgId>,
}

impl Parameters for AuditChains {}

/// Who did something.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditActor {
    /// The API token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<TokenId>,
    /// The connect session, where a person used its link.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    /// The token's role; `connect_session` for a person who used a link, `offline` for a command at the machine itself,
    /// `none` for a request without a token.
    role: String,
    /// Who used the token, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
}

/// A change, or failed logins of one source.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditEntry {
    /// Its id, which `starting_after` takes.
    id: String,
    /// The org that was changed; absent for changes of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<OrgId>,
    /// When, RFC 3339.
    at: String,
    actor: AuditActor,
    /// Where the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The operation, as this document names it; `failedLogin` for failed logins.
    action: String,
    /// What was changed; several are separated by spaces.
    target: String,
    /// Digest of what was there before, 64 hexadecimal digits; null if nothing was.
    before: Option<String>,
    /// Digest of what is there since; null if nothing is.
    after: Option<String>,
    /// The request's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// How many failed logins of this source within about a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// Position in its chain, from 1.
    seq: u64,
    /// Hash of the record, 64 hexadecimal digits.
    hash: String,
}

impl From<audit_log::AuditRecord> for AuditEntry {
    fn from(record: audit_log::AuditRecord) -> Self {
        let id = record.cursor().to_string();
        let org = record.scope.org().cloned();
        let audit_log::AuditRecord { seq, event, hash, .. } = record;
        let audit_log::AuditActor { token_id, session_id, role, person } = event.actor;
        Self {
            id,
            org,
            at: clock::of_ms(event.at_ms),
            actor: AuditActor { token_id, session_id, role, person },
            address: event.address,
            action: event.action,
            target: event.target,
            before: event.before,
            after: event.after,
            request_id: event.request_id,
            count: event.count,
            seq,
            hash,
        }
    }
}

/// The newest record of a chain that does not verify.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditBadRecord {
    /// Position that the record should have.
    seq: u64,
    /// What is wrong.
    reason: String,
}

/// The result of checking a chain.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditChainReport {
    /// The org; absent for chains of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    /// `org`, `platform`, or `logins`.
    chain: String,
    /// Records that verify, from the newest on.
    records: u64,
    /// Position of the first record that is kept.
    first_seq: Option<u64>,
    /// Position of the last record.
    last_seq: u64,
    /// Hash of that record, 64 hexadecimal digits.
    last_hash: String,
    /// Whether older records were dropped and the chain starts at its cut.
    anchored: bool,
    /// The newest record that does not verify.
    bad: Option<AuditBadRecord>,
    /// Whether everything verifies.
    intact: bool,
}

impl From<AuditReport> for AuditChainReport {
    fn from(report: AuditReport) -> Self {
        Self {
            intact: report.is_intact(),
            org: report.org,
            chain: report.chain.to_owned(),
            records: report.records,
            first_seq: report.first_seq,
            last_seq: report.last_seq,
            last_hash: report.last_hash,
            anchored: report.anchored,
            bad: report.bad.map(|bad| AuditBadRecord { seq: bad.seq, reason: bad.reason }),
        }
    }
}

/// The result of checking chains of the audit log.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditCheck {
    /// Whether everything verifies.
    intact: bool,
    chains: Vec<AuditChainReport>,
}

impl From<Vec<AuditReport>> for AuditCheck {
    fn from(reports: Vec<AuditReport>) -> Self {
        Self {
            intact: reports.iter().all(AuditReport::is_intact),
            chains: reports.into_iter().map(AuditChainReport::from).collect(),
        }
    }
}

fn answer(page: AuditPage) -> Json<LongList<AuditEntry>> {
    let next = page.next.map(|next| next.to_string());
    Json(LongList::new(page.entries.into_iter().map(AuditEntry::from).collect(), next))
}

pub(crate) async fn of_org(
    context: Context,
    wish: AuditParameters,
    (): (),
) -> Result<Json<LongList<AuditEntry>>, Error> {
    let org = context.org().await?;
    audit_log::list_of_org(context.engine(), context.caller()?, &org, wish.wanted()).await.map(answer)
}

pub(crate) async fn of_platform(
    context: Context,
    wish: AllAuditParameters,
    (): (),
) -> Result<Json<LongList<AuditEntry>>, Error> {
    let org = wish.org.clone();
    audit_log::list_all(context.engine(), context.caller()?, org, wish.wanted()).await.map(answer)
}

pub(crate) async fn verify_of_org(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Json<AuditCheck>, Error> {
    let org = context.org().await?;
    let reports = audit_log::verify_of_org(context.engine(), context.caller()?, &org).await?;
    Ok(Json(reports.into()))
}

pub(crate) async fn verify_of_platform(
    context: Context,
    wish: AuditChains,
    (): (),
) -> Result<Json<AuditCheck>, Error> {
    let reports = audit_log::verify_all(context.engine(), context.caller()?, wish.org).await?;
    Ok(Json(reports.into()))
}
