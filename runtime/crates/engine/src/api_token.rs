//! API tokens: `pc_<role>_<43 characters of base62><6 characters of CRC-32>`, 256 random bits.
//!
//! A token is shown once and stored only as its SHA-256. The checksum helps people and scanners to distinguish a
//! token from a typo; authentication uses the hash alone.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::fault::Code;
use portcullis_core::hex;
use portcullis_core::id::{OrgId, TokenId, WorkspaceId};
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::{is_action_pattern, is_connector_pattern};
use portcullis_core::violation::Violation;
use portcullis_store::{OrgRecord, StoreError, TokenIndex, TokenUse, WorkspaceRecord, Writes};
pub use portcullis_store::{Role, TokenGrants, TokenRecord};

use crate::caller::{Caller, PLATFORM_ORG};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::resources::Resources;

mod last_use;

pub(crate) use last_use::TokenUses;
pub use last_use::keep as keep_uses;

/// How often a revocation is tried while other tokens are revoked.
const REVOKE_ATTEMPTS: usize = 5;

/// Characters of 256 bits in base62.
const BODY_CHARS: usize = 43;
/// Characters of a CRC-32 in base62.
const CHECK_CHARS: usize = 6;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new token's text.
///
/// # Errors
/// If the system provides no randomness.
pub fn generate(role: Role) -> Result<String, Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::plain(Code::Internal))?;
    let body = base62(&bytes, BODY_CHARS);
    let text = format!("pc_{}_{body}", role.as_str());
    let check = base62(&crc32fast::hash(text.as_bytes()).to_be_bytes(), CHECK_CHARS);
    Ok(format!("{text}{check}"))
}

/// Whether a text has the form of a token of some role, checksum included.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let Some((role, tail)) = text.strip_prefix("pc_").and_then(|t| t.split_once('_')) else {
        return false;
    };
    let sized = tail.len() == BODY_CHARS + CHECK_CHARS && tail.bytes().all(|b| b.is_ascii_alphanumeric());
    let Some((head, check)) = text.len().checked_sub(CHECK_CHARS).and_then(|at| text.split_at_checked(at))
    else {
        return false;
    };
    sized
        && Role::parse(role).is_some()
        && base62(&crc32fast::hash(head.as_bytes()).to_be_bytes(), CHECK_CHARS) == check
}

/// The hash stored instead of a token, and of other texts that only their bearer may know.
#[must_use]
pub(crate) fn hash(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Big-endian bytes in base62, padded on the left.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut digits = vec![0_u8; width];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in digits.iter_mut().rev() {
            let value = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(value % 62).unwrap_or_default();
            carry = value / 62;
        }
    }
    digits.iter().map(|d| ALPHABET.get(usize::from(*d)).map_or('0', |c| char::from(*c))).collect()
}

/// The owner of a new token.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub role: Role,
    /// Org, for every role except `platform`.
    pub org: Option<OrgId>,
    /// Workspace, for `workspace`, and optionally for `run`.
    pub workspace: Option<WorkspaceId>,
    /// A note for people.
    pub label: Option<String>,
    /// When it expires, RFC 3339.
    pub expires_at: Option<String>,
    /// What it is limited to; for the role `run`.
    pub grants: TokenGrants,
}

/// A token and when it was last used.
#[derive(Debug, Clone)]
pub struct ListedToken {
    pub record: TokenRecord,
    /// RFC 3339, to the minute; `None` if that is not known.
    pub last_used_at: Option<String>,
}

impl NewToken {
    /// A token of the platform.
    #[must_use]
    pub const fn platform(label: Option<String>) -> Self {
        let grants = TokenGrants { connectors: None, actions: None, automations: None };
        Self { role: Role::Platform, org: None, workspace: None, label, expires_at: None, grants }
    }

    /// Whether it is limited in a way that its role can be.
    fn check_grants(&self, limits: &Limits, violations: &mut Vec<Violation>) {
        let TokenGrants { connectors, actions, automations } = &self.grants;
        let counts = [
            ("/connectors", connectors.as_ref().map(Vec::len)),
            ("/actions", actions.as_ref().map(Vec::len)),
            ("/automations", automations.as_ref().map(Vec::len)),
        ];
        for (at, count) in counts {
            let Some(count) = count else { continue };
            if self.role != Role::Run {
                violations.push(Violation::new(at, "scope", "only a token of role run can be limited so"));
            }
            let limit = limits.token_grants;
            if count as u64 > limit {
                let message = format!("has {count} entries, the limit is {limit} (limits.token_grants)");
                violations.push(Violation::new(at, "too_many", message));
                return;
            }
        }
        let is_sound = |text: &str| {
            text.split_once('/')
                .is_some_and(|(of, action)| is_connector_pattern(of) && is_action_pattern(action))
        };
        for (number, text) in actions.iter().flatten().enumerate() {
            if !is_sound(text) {
                let message = "must be connector/action, in which * stands for any characters of an id";
                violations.push(Violation::new(format!("/actions/{number}"), "wrong_form", message));
            }
        }
    }

    fn check(&self, limits: &Limits) -> Result<(), Error> {
        let mut violations = Vec::new();
        self.check_grants(limits, &mut violations);
        if self.expires_at.as_deref().is_some_and(|t| !clock::is_time(t) || clock::has_passed(t)) {
            let message = "expires_at must be an RFC 3339 time in the future";
            violations.push(Violation::new("/expires_at", "wrong_form", message));
        }
        let needs_org = self.role != Role::Platform;
        if needs_org != self.org.is_some() {
            let message =
                if needs_org { "org is required for this role" } else { "a platform token has no org" };
            violations.push(Violation::new("/org", "scope", message));
        }
        let message = match (self.role, self.workspace.is_some()) {
            (Role::Workspace, false) => Some("workspace is required for this role"),
            (Role::Platform | Role::Org, true) => Some("this role has no workspace"),
            _ => None,
        };
        violations.extend(message.map(|message| Violation::new("/workspace", "scope", message)));
        if violations.is_empty() {
            Ok(())
        } else {
            Err(Error::violations(Code::ValidationFailed, violations))
        }
    }
}

/// The records of a token, ready to be committed.
///
/// # Errors
/// Only if an id cannot be made.
pub fn record(text: &str, token: NewToken) -> Result<(TokenRecord, Writes), Error> {
    let (record, index) = new_record(text, token)?;
    let writes =
        Writes::new().create(&[record.hash.as_str()], &record).create(&[record.token_id.as_str()], &index);
    Ok((record, writes))
}

fn new_record(text: &str, token: NewToken) -> Result<(TokenRecord, TokenIndex), Error> {
    let record = TokenRecord {
        token_id: clock::fresh("tok", TokenId::parse)?,
        role: token.role,
        org: token.org,
        workspace: token.workspace,
        label: token.label,
        created_at: clock::now(),
        expires_at: token.expires_at,
        grants: token.grants,
        hash: hash(text),
    };
    let index = TokenIndex { hash: record.hash.clone() };
    Ok((record, index))
}

/// What a request presents to say who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented<'t> {
    /// Nothing.
    Nothing,
    /// Something that is no token.
    Malformed,
    /// A text that may be a token.
    Token(&'t str),
}

/// Why a request has no caller. The caller is told none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginFailure {
    /// It presents nothing.
    Missing,
    /// What it presents cannot be a token.
    Malformed,
    /// There is no such token: it was revoked, or never was one.
    Unknown,
    /// Its time is over.
    Expired,
}

impl LoginFailure {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Malformed, Self::Unknown, Self::Expired];

    /// The word in lines and figures.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
        }
    }
}

/// The caller that a token identifies, or why there is none, which is counted.
///
/// # Errors
/// `store_unavailable`.
pub async fn authenticate(
    engine: &Engine,
    presented: Presented<'_>,
) -> Result<Result<Caller, LoginFailure>, Error> {
    let failed = |reason| {
        engine.resources.metrics.login_failed(reason);
        Ok(Err(reason))
    };
    let text = match presented {
        Presented::Nothing => return failed(LoginFailure::Missing),
        Presented::Malformed => return failed(LoginFailure::Malformed),
        Presented::Token(text) => text,
    };
    let hash = hash(text);
    let record = engine.resources.records.get_shared::<TokenRecord>(&[hash.as_str()]).await?;
    match record {
        Some((record, _)) => {
            let Some(found) = caller(&record) else { return failed(LoginFailure::Expired) };
            engine.resources.token_uses.note(&record.token_id);
            Ok(Ok(found))
        }
        // Why not refused before it is looked for: tokens that people chose have no checksum.
        None if !is_well_formed(text) => failed(LoginFailure::Malformed),
        None => failed(LoginFailure::Unknown),
    }
}

/// The error for a request without a caller, the same for every reason.
#[must_use]
pub fn unauthorized() -> Error {
    Error::new(Code::Unauthorized, "send a valid token as Authorization: Bearer pc_…")
}

/// As [`authenticate`], from memory only; `None` if that is not enough to decide.
#[must_use]
pub(crate) fn authenticate_from_memory(resources: &Resources, text: &str) -> Option<Caller> {
    caller(&resources.records.kept::<TokenRecord>(&[hash(text).as_str()])?)
}

/// Whether the token that a caller was authenticated with is neither revoked nor expired: for answers that go on for
/// longer than a request. False as well if that cannot be read.
pub async fn still_stands(engine: &Engine, caller: &Caller) -> bool {
    let Some(id) = &caller.token_id else { return true };
    is_in_force(engine, id).await.unwrap_or(false)
}

/// Whether there is a token of this id that has not expired.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn is_in_force(engine: &Engine, id: &TokenId) -> Result<bool, Error> {
    let records = &engine.resources.records;
    let Some((index, _)) = records.get_shared::<TokenIndex>(&[id.as_str()]).await? else { return Ok(false) };
    let found = records.get_shared::<TokenRecord>(&[index.hash.as_str()]).await?;
    Ok(found.is_some_and(|(record, _)| is_alive(&record)))
}

/// The caller of a token; `None` once it has expired.
fn caller(record: &Arc<TokenRecord>) -> Option<Caller> {
    is_alive(record).then(|| Caller {
        token_id: Some(record.token_id.clone()),
        session_id: None,
        role: record.role,
        org: record.org.clone(),
        workspace: record.workspace.clone(),
        limited: (!record.grants.are_all()).then(|| Arc::clone(record)),
    })
}

/// Whether a token can still be used.
fn is_alive(record: &TokenRecord) -> bool {
    !record.expires_at.as_deref().is_some_and(clock::has_passed)
}

/// Creates a token. Only this answer contains its text.
///
/// # Errors
/// `role_not_allowed`, `org_not_found`, `workspace_not_found`, `validation_failed`.
pub async fn create(
    engine: &Engine,
    caller: &Caller,
    token: NewToken,
) -> Result<(TokenRecord, String), Error> {
    caller.authorise(PLATFORM_ORG, None, None)?;
    token.check(&engine.resources.limits)?;
    if caller.role == Role::Org {
        if token.role == Role::Platform {
            let detail = "an org token creates tokens of the same org only";
            return Err(Error::new(Code::RoleNotAllowed, detail).at("/role"));
        }
        if token.org != caller.org {
            return Err(Error::plain(Code::OrgNotFound).at("/org"));
        }
    }
    let mut needed = Writes::new();
    if let Some(org) = &token.org {
        let records = &engine.resources.records;
        if records.get::<OrgRecord>(&[org.as_str()]).await?.is_none() {
            return Err(Error::plain(Code::OrgNotFound).at("/org"));
        }
        needed = needed.require_present::<OrgRecord>(&[org.as_str()]);
        if let Some(workspace) = &token.workspace {
            let parts = [org.as_str(), workspace.as_str()];
            if records.get::<WorkspaceRecord>(&parts).await?.is_none() {
                return Err(Error::plain(Code::WorkspaceNotFound).at("/workspace"));
            }
            needed = needed.require_present::<WorkspaceRecord>(&parts);
        }
    }
    let text = generate(token.role)?;
    let (record, index) = new_record(&text, token)?;
    let writes = needed.create(&[record.hash.as_str()], &record).create(&[record.token_id.as_str()], &index);
    engine.resources.commit(writes).await?;
    Ok((record, text))
}

/// Lists tokens: all for the platform, an org's for that org.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    wanted: &PageRequest,
) -> Result<Page<ListedToken>, Error> {
    caller.authorise(PLATFORM_ORG, None, None)?;
    let records = &engine.resources.records;
    let mut entries = Vec::new();
    let mut after = wanted.after.clone();
    while entries.len() < wanted.wanted() {
        let page = records.list::<TokenIndex>(&[], after.as_deref(), 500).await?;
        let Some((last, _, _)) = page.last() else {
            break;
        };
        after = Some(last.clone());
        for (_, index, _) in &page {
            let Some((record, _)) = records.get::<TokenRecord>(&[index.hash.as_str()]).await? else {
                continue;
            };
            if caller.org.is_none() || record.org == caller.org {
                let last_used_at = last_use::of(&engine.resources, &record.token_id).await?;
                entries.push(ListedToken { record, last_used_at });
            }
        }
    }
    Ok(wanted.page(entries))
}

/// Revokes a token. Calls whose caller used it end.
///
/// # Errors
/// `not_found`, also for a token of another org; `last_platform_token` if nobody could administer the platform then.
pub async fn revoke(engine: &Engine, caller: &Caller, id: &str) -> Result<(), Error> {
    caller.authorise(PLATFORM_ORG, None, None)?;
    let missing = || Error::new(Code::NotFound, "there is no such token");
    let records = &engine.resources.records;
    let id = TokenId::parse(id).map_err(|_| missing())?;
    for _ in 0..REVOKE_ATTEMPTS {
        let (index, _) = records.get::<TokenIndex>(&[id.as_str()]).await?.ok_or_else(missing)?;
        let (record, _) = records.get::<TokenRecord>(&[index.hash.as_str()]).await?.ok_or_else(missing)?;
        if caller.role == Role::Org && record.org != caller.org {
            return Err(missing());
        }
        let mut writes = Writes::new()
            .delete::<TokenRecord>(&[index.hash.as_str()])
            .delete::<TokenIndex>(&[id.as_str()])
            .delete::<TokenUse>(&[id.as_str()]);
        if record.role == Role::Platform && is_alive(&record) {
            let other = other_platform_token(&engine.resources, &record).await?;
            // Why in the same commit: two who each revoke the other's token must not both succeed.
            writes = writes.require_present::<TokenRecord>(&[other.hash.as_str()]);
        }
        match engine.resources.commit(writes).await {
            Ok(_) => {
                engine.resources.token_uses.forget(&id);
                return Ok(());
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::new(Code::InUse, "other platform tokens are being revoked at the same time; try again"))
}

/// The platform token besides this one that lives longest.
///
/// # Errors
/// `last_platform_token` if none is alive, `store_unavailable`.
async fn other_platform_token(resources: &Resources, this: &TokenRecord) -> Result<TokenRecord, Error> {
    let is_other = |token: &TokenRecord| {
        token.role == Role::Platform && token.token_id != this.token_id && is_alive(token)
    };
    let found = resources.records.filter::<TokenRecord>(&[], |_, token| is_other(token)).await?;
    // Why by the time itself: texts of times may have zones.
    let until = |token: &TokenRecord| token.expires_at.as_deref().map_or(u64::MAX, micros);
    let longest = found.into_iter().map(|(_, token, _)| token).max_by_key(until);
    longest.ok_or_else(|| {
        let detail = "it is the last platform token that is alive: without one nobody could administer the platform. \
                      Create another one first; if it is lost, stop the server and run portcullis token create";
        Error::new(Code::LastPlatformToken, detail)
    })
}

/// A time in microseconds; one that cannot be read is over.
fn micros(text: &str) -> u64 {
    clock::micros(text).unwrap_or_default()
}

/// Deletes the tokens that `doomed` selects.
///
/// # Errors
/// `store_unavailable`; some may be deleted already.
pub(crate) async fn delete_where(
    resources: &Resources,
    doomed: impl Fn(&TokenRecord) -> bool,
) -> Result<(), Error> {
    let found = resources.records.filter::<TokenRecord>(&[], |_, token| doomed(token)).await?;
    let ids: Vec<Vec<String>> = found.iter().map(|(_, t, _)| vec![t.token_id.as_str().to_owned()]).collect();
    let hashes: Vec<Vec<String>> = found.iter().map(|(_, t, _)| vec![t.hash.clone()]).collect();
    resources.delete_each::<TokenRecord>(&hashes).await?;
    resources.delete_each::<TokenIndex>(&ids).await?;
    // Why after the index: no use is stored without it. Why read first: a commit that changes nothing is none.
    let mut used = Vec::new();
    for id in ids {
        let parts: Vec<&str> = id.iter().map(String::as_str).collect();
        if resources.records.get::<TokenUse>(&parts).await?.is_some() {
            used.push(id);
        }
    }
    resources.delete_each::<TokenUse>(&used).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_form_and_a_typo_breaks_it() {
        let token = generate(Role::Platform).unwrap();
        assert!(token.starts_with("pc_platform_"), "{token}");
        assert!(is_well_formed(&token));
        let mut typo = token.clone();
        let last = typo.pop().unwrap();
        typo.push(if last == 'a' { 'b' } else { 'a' });
        assert!(!is_well_formed(&typo));
        for bad in ["", "pc_", "pc_root_x", "pc_platform_é", &token[..token.len() - 1]] {
            assert!(!is_well_formed(bad), "{bad}");
        }
        assert_ne!(generate(Role::Run).unwrap(), generate(Role::Run).unwrap());
    }

    #[test]
    fn base62_is_positional() {
        assert_eq!(base62(&[0], 3), "000");
        assert_eq!(base62(&[61], 2), "0z");
        assert_eq!(base62(&[62], 2), "10");
        assert_eq!(base62(&[1, 0], 2), "48");
    }
}
