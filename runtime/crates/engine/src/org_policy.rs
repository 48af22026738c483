//! Org policy: the domain allowlist that an org admin sets.

use portcullis_core::fault::Code;
use portcullis_core::host_pattern;
use portcullis_core::id::OrgId;
use portcullis_core::violation::{Violation, Violations};
use portcullis_store::Writes;
pub use portcullis_store::{AllowlistMode, IntegrationSettings};

use crate::caller::{Caller, ORG};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;

/// Reads the org's allowlist; `None` if it never set one.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`.
pub async fn show(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
) -> Result<Option<IntegrationSettings>, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let found = engine.resources.records.get::<IntegrationSettings>(&[org.as_str()]).await?;
    Ok(found.map(|(settings, _)| settings))
}

/// Sets the org's allowlist: `None` for no restriction, an empty list to forbid everything. Calls to hosts that it does
/// not allow end.
///
/// # Errors
/// Those of [`Caller::authorise`], `validation_failed` with every invalid entry.
pub async fn replace(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    domain_allowlist: Option<Vec<String>>,
    mode: AllowlistMode,
) -> Result<(IntegrationSettings, Vec<Violation>), Error> {
    const AT: &str = "/domain_allowlist";
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let mut violations = Violations::default();
    if let Some(entries) = &domain_allowlist {
        let (count, limit) = (entries.len(), engine.resources.limits.org_allowlist);
        if count as u64 > limit {
            // Why alone: the entries of a list that is too long are not looked at.
            let message = format!("has {count} entries, the limit is {limit} (limits.org_allowlist)");
            return Err(Error::violation(AT, "too_many", message));
        }
        // Why ignored: the texts are stored as written; parsing only finds the violations.
        let _ = host_pattern::parse_list(AT, entries.iter().map(String::as_str), &mut violations);
    }
    if !violations.is_empty() {
        return Err(Error::violations(Code::ValidationFailed, violations.into_vec()));
    }
    let settings = IntegrationSettings { domain_allowlist, mode, updated_at: clock::now() };
    engine.resources.commit(Writes::new().put(&[org.as_str()], &settings)).await?;
    let warnings = host_pattern::shared_hosting_warnings(AT, settings.domain_allowlist.iter().flatten());
    Ok((settings, warnings))
}
