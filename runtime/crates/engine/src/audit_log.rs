//! The audit log: who changed what, when and from where. Each record is written by the commit that makes the change.
//!
//! [`acts`] says which operations are recorded and by which kinds of records; `desk` adds the record to the commit;
//! `subjects` says whose chain it belongs to and what it names; `logins` counts failed logins. What a record says of the
//! content are digests under a key, so that nobody who reads it can check a guess.

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, TokenId};
use portcullis_core::limits::Limits;
use portcullis_store::{
    AUDIT_PAGE_ENTRIES_MAX, AuditCut, AuditScope, StoreError, audit_scopes, read_audit, trim_audit,
    verify_audit,
};
pub use portcullis_store::{AuditActor, AuditCursor, AuditPage, AuditQuery, AuditRecord, AuditReport};

use crate::caller::{Caller, ORG};
use crate::clock::{self, DAY_MS, now_ms};
use crate::engine::Engine;
use crate::error::Error;

pub mod acts;
mod desk;
mod logins;
mod subjects;

pub use desk::commit_offline;
pub(crate) use desk::{Acting, AuditDesk};
pub use logins::{keep as keep_logins, note as note_failed_login};

/// Role of an actor who had no token.
pub(crate) const NOBODY: &str = "none";
/// Role of whoever uses a command on the data directory itself.
const OFFLINE: &str = "offline";
/// The role of a person who used the link of a connect session.
const SESSION: &str = "connect_session";

/// The actor of what a caller does.
pub(crate) fn actor_of(caller: &Caller) -> AuditActor {
    let role = match (&caller.token_id, &caller.session_id) {
        (Some(_), _) => caller.role.as_str(),
        (None, Some(_)) => SESSION,
        (None, None) => OFFLINE,
    };
    let session_id = caller.session_id.as_deref().map(str::to_owned);
    AuditActor { token_id: caller.token_id.clone(), session_id, role: role.to_owned(), person: None }
}

/// Which records are wanted, with times as texts. `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct AuditWanted {
    /// Operation, as the API's document names it.
    pub action: Option<String>,
    /// A target, or the first segments of one.
    pub target: Option<String>,
    /// The actor's token.
    pub token_id: Option<TokenId>,
    /// At this time or later, RFC 3339.
    pub since: Option<String>,
    /// Before this time, RFC 3339.
    pub until: Option<String>,
    /// `next` of the page before, or the id of its last record.
    pub starting_after: Option<String>,
    /// Maximum entries, 1 to 100.
    pub limit: usize,
}

impl AuditWanted {
    fn query(self, scope: Option<AuditScope>, of_this_life: bool) -> Result<AuditQuery, Error> {
        let after = match self.starting_after.as_deref().map(AuditCursor::parse) {
            Some(None) => {
                let detail = "starting_after is no record of the audit log, and not `next` of a page";
                return Err(Error::new(Code::BadRequest, detail));
            }
            after => after.flatten(),
        };
        Ok(AuditQuery {
            scope,
            of_this_life,
            action: self.action,
            target: self.target,
            token_id: self.token_id,
            since_ms: millis("since", self.since.as_deref())?,
            until_ms: millis("until", self.until.as_deref())?,
            after,
            limit: self.limit.min(AUDIT_PAGE_ENTRIES_MAX),
        })
    }
}

/// A time in milliseconds, rounded up: what it begins and what it ends are whole milliseconds.
fn millis(name: &str, text: Option<&str>) -> Result<Option<u64>, Error> {
    let Some(text) = text else { return Ok(None) };
    let micros = clock::micros(text).ok_or_else(|| {
        let detail = format!("{name} must be an RFC 3339 time with a zone, such as 2026-01-31T09:00:00Z");
        Error::new(Code::BadRequest, detail)
    })?;
    Ok(Some(micros.div_ceil(1000)))
}

/// Records of all chains, newest first, or of one org's, which may be gone.
///
/// # Errors
/// `role_not_allowed`, `bad_request` for a time or a cursor that is none, `store_unavailable`.
pub async fn list_all(
    engine: &Engine,
    caller: &Caller,
    org: Option<OrgId>,
    wanted: AuditWanted,
) -> Result<AuditPage, Error> {
    caller.platform()?;
    let query = wanted.query(org.map(AuditScope::Org), false)?;
    Ok(read_audit(&engine.resources.records, &query).await?)
}

/// Records of an org, newest first: of its own changes, and of what the platform changed of it. Where a platform token was
/// used from is not told.
///
/// # Errors
/// Those of [`Caller::authorise`], `bad_request` for a time or a cursor that is none, `store_unavailable`.
pub async fn list_of_org(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    wanted: AuditWanted,
) -> Result<AuditPage, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let scope = AuditScope::Org(org.clone());
    let query = wanted.query(Some(scope.clone()), true)?;
    if query.after.as_ref().is_some_and(|after| *after.scope() != scope) {
        let detail = "starting_after is no record of this org";
        return Err(Error::new(Code::BadRequest, detail));
    }
    let mut page = read_audit(&engine.resources.records, &query).await?;
    for record in &mut page.entries {
        // Why: the addresses of the operator's people are none of a tenant's business.
        let event = &mut record.event;
        let is_of_org = ["org", "workspace", "run"].contains(&event.actor.role.as_str());
        if !is_of_org && event.action != acts::CONSENT {
            event.address = None;
        }
    }
    Ok(page)
}

/// Checks the platform's chains, or an org's.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`; damage is in the report.
pub async fn verify_all(
    engine: &Engine,
    caller: &Caller,
    org: Option<OrgId>,
) -> Result<Vec<AuditReport>, Error> {
    caller.platform()?;
    let scopes = match org {
        Some(org) => vec![AuditScope::Org(org)],
        None => vec![AuditScope::Platform, AuditScope::Logins],
    };
    let mut reports = Vec::with_capacity(scopes.len());
    for scope in &scopes {
        reports.push(verify_audit(&engine.resources.records, scope).await?);
    }
    Ok(reports)
}

/// Checks an org's chain.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`; damage is in the report.
pub async fn verify_of_org(engine: &Engine, caller: &Caller, org: &OrgId) -> Result<Vec<AuditReport>, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    Ok(vec![verify_audit(&engine.resources.records, &AuditScope::Org(org.clone())).await?])
}

/// Drops what is older than `limits.audit_days`, and the oldest of a chain that has more than its limit. Returns how many
/// records went. What fails for one chain is logged, and tried again by the next sweep.
///
/// # Errors
/// `store_unavailable` if the chains cannot be listed.
pub async fn sweep(engine: &Engine) -> Result<u64, Error> {
    let (records, limits) = (&engine.resources.records, engine.limits());
    let mut dropped = 0_u64;
    for scope in audit_scopes(records).await? {
        match trim_audit(records, &scope, cut(limits, &scope)).await {
            Ok(number) => dropped = dropped.saturating_add(number),
            Err(error) => tracing::error!(chain = scope.part(), %error, "old audit records stay"),
        }
    }
    Ok(dropped)
}

fn cut(limits: &Limits, scope: &AuditScope) -> AuditCut {
    let entries = match scope {
        AuditScope::Logins => limits.audit_login_records,
        AuditScope::Org(_) | AuditScope::Platform => limits.audit_records,
    };
    AuditCut { before_ms: now_ms().saturating_sub(limits.audit_days.saturating_mul(DAY_MS)), entries }
}

/// Writes the record of what the operator at the machine is about to do to a process that serves: it must not be done if
/// this fails.
///
/// # Errors
/// Those of the store.
pub(crate) async fn note_operator(
    engine: &Engine,
    operation: &'static str,
    target: &str,
) -> Result<(), StoreError> {
    let actor = AuditActor { role: OFFLINE.to_owned(), ..AuditActor::default() };
    let acting = Acting { operation, kinds: &[], actor, address: None, request_id: None };
    engine.resources.audit.note(&acting, None, target.to_owned()).await
}

/// The error of a change whose record could not be written.
fn crowded() -> StoreError {
    StoreError::Unavailable("the audit log is written to by too many at once; nothing was changed".to_owned())
}
