//! Limits of an org, which the platform sets: calls at once and within a minute, over all its workspaces, and bytes
//! that are stored for it. None is higher than the platform's own.
//!
//! Calls at once are counted by the scheduler, calls within a minute here, both by each process for itself; what is
//! stored is counted in the stores. A limit that is set counts for the next call: it is read with each, from memory
//! where the store tells of every write.

use std::time::{Duration, Instant};

use portcullis_admission::Permit;
use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::limits::Limits;
use portcullis_core::violation::{Violation, Violations};
use portcullis_store::{OrgLimitsRecord, OrgRecord, Writes};

use crate::caller::{Caller, ORG};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;

mod minute;
mod stored;

use minute::Minutes;
use stored::Stored;

/// What the process knows of orgs' use.
#[derive(Default)]
pub(crate) struct OrgUse {
    minutes: Minutes,
    stored: Stored,
}

/// The limits that count for an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrgLimits {
    /// Calls at once, over all workspaces.
    pub calls_in_flight: u64,
    /// Calls within a minute, over all workspaces.
    pub calls_per_minute: u64,
    /// Bytes of runs, ledger, inputs and kept answers.
    pub stored_bytes: u64,
}

/// Limits to set; `None` is no limit of the org's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OrgLimitsWish {
    pub calls_in_flight: Option<u64>,
    pub calls_per_minute: Option<u64>,
    pub stored_bytes: Option<u64>,
}

/// What is set for an org, what counts, and what it uses.
#[derive(Debug, Clone)]
pub struct OrgLimitsView {
    /// What is set; `None` if nothing ever was.
    pub set: Option<OrgLimitsRecord>,
    pub in_force: OrgLimits,
    pub used: OrgLimits,
}

/// The platform's limits of one org.
const fn of_platform(limits: &Limits) -> OrgLimits {
    OrgLimits {
        calls_in_flight: limits.concurrent_calls,
        calls_per_minute: limits.org_calls_per_minute,
        stored_bytes: limits.org_stored_bytes,
    }
}

fn in_force(set: Option<&OrgLimitsRecord>, limits: &Limits) -> OrgLimits {
    let platform = of_platform(limits);
    let Some(set) = set else { return platform };
    // Why the lower one: the platform's may have been lowered since.
    let lower = |own: Option<u64>, most: u64| own.map_or(most, |own| own.min(most));
    OrgLimits {
        calls_in_flight: lower(set.calls_in_flight, platform.calls_in_flight),
        calls_per_minute: lower(set.calls_per_minute, platform.calls_per_minute),
        stored_bytes: lower(set.stored_bytes, platform.stored_bytes),
    }
}

async fn load(resources: &Resources, org: &str) -> Result<OrgLimits, Error> {
    let found = resources.records.get_shared::<OrgLimitsRecord>(&[org]).await?;
    Ok(in_force(found.as_ref().map(|(record, _)| &**record), &resources.limits))
}

fn number(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// How many calls an org may have at once, from memory only: as many as the process if that is not known.
pub(crate) fn calls_in_flight_from_memory(resources: &Resources, org: &str) -> usize {
    let known = resources.records.kept::<OrgLimitsRecord>(&[org]);
    number(in_force(known.as_deref(), &resources.limits).calls_in_flight)
}

impl Engine {
    /// A permit for one call of a workspace, within the limits of process, workspace and org.
    ///
    /// # Errors
    /// `overloaded`, `workspace_busy`, `org_busy`, `store_unavailable`.
    pub async fn admit(&self, org: &str, workspace: &str) -> Result<Permit, Error> {
        let most = number(load(&self.resources, org).await?.calls_in_flight);
        Ok(self.scheduler().admit(&format!("{org}/{workspace}"), most)?)
    }

    /// Permits for more calls of a workspace at once, for work that goes on without them: up to this number.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub(crate) async fn admit_further(
        &self,
        org: &OrgId,
        workspace: &WorkspaceId,
        wanted: usize,
    ) -> Result<Vec<Permit>, Error> {
        let most = number(load(&self.resources, org.as_str()).await?.calls_in_flight);
        let name = format!("{org}/{workspace}");
        Ok((0..wanted).map_while(|_| self.scheduler().admit_further(&name, most).ok()).collect())
    }
}

/// Counts a call that is about to be made.
///
/// # Errors
/// `org_rate_limited` if the org has made as many within a minute as it may, `store_unavailable`.
pub(crate) async fn count_call(engine: &Engine, org: &OrgId) -> Result<(), Error> {
    let most = load(&engine.resources, org.as_str()).await?.calls_per_minute;
    let wait = match engine.org_use.minutes.take(org.as_str(), most, Instant::now()) {
        Ok(()) => return Ok(()),
        Err(wait) => wait,
    };
    let detail = format!(
        "the org has made {most} calls within a minute over all its workspaces, which is its limit (calls_per_minute)"
    );
    let retry_after_s = Some(wait.as_millis().div_ceil(1000).try_into().unwrap_or(60).max(1));
    Err(Error { retry_after_s, ..Error::new(Code::OrgRateLimited, detail) })
}

/// A place for one try of an accepted run, or how long it has to wait at least.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn admit_try(
    engine: &Engine,
    org: &OrgId,
    workspace: &WorkspaceId,
) -> Result<Result<Permit, Duration>, Error> {
    let limits = load(&engine.resources, org.as_str()).await?;
    let name = format!("{org}/{workspace}");
    let Ok(permit) = engine.scheduler().admit(&name, number(limits.calls_in_flight)) else {
        return Ok(Err(Duration::ZERO));
    };
    let counted = engine.org_use.minutes.take(org.as_str(), limits.calls_per_minute, Instant::now());
    Ok(counted.map(|()| permit))
}

/// Refuses to accept a run with an input of this size if there is no room for it in what may be stored for the org. What
/// is accepted at the same moment may go beyond the limit together.
///
/// # Errors
/// `org_storage_full`, `store_unavailable`, `ledger_unavailable`.
pub(crate) async fn admit_bytes(engine: &Engine, org: &OrgId, bytes: usize) -> Result<(), Error> {
    let most = load(&engine.resources, org.as_str()).await?.stored_bytes;
    let kept = stored::bytes(engine, org).await?;
    if kept.saturating_add(bytes as u64) <= most {
        engine.org_use.stored.add(org, bytes as u64);
        return Ok(());
    }
    let detail = format!(
        "what is stored for the org, its runs, ledger, inputs and kept answers, is {kept} bytes, and its limit is \
         {most} (stored_bytes): no further run is accepted until the org's terms of retention drop older ones"
    );
    Err(Error {
        retry_after_s: Some(stored::MEASURED_FOR.as_secs()),
        ..Error::new(Code::OrgStorageFull, detail)
    })
}

/// Reads an org's limits, for the platform.
///
/// # Errors
/// `role_not_allowed`, those of the stores.
pub async fn show_for_platform(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
) -> Result<OrgLimitsView, Error> {
    caller.platform()?;
    view(engine, org).await
}

/// Reads an org's limits, for the org itself.
///
/// # Errors
/// Those of [`Caller::authorise`] and of the stores.
pub async fn show(engine: &Engine, caller: &Caller, org: &OrgId) -> Result<OrgLimitsView, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    view(engine, org).await
}

async fn view(engine: &Engine, org: &OrgId) -> Result<OrgLimitsView, Error> {
    let resources = &engine.resources;
    let found = resources.records.get::<OrgLimitsRecord>(&[org.as_str()]).await?;
    let set = found.map(|(record, _)| record);
    let used = OrgLimits {
        calls_in_flight: engine.scheduler().calls_of_org(org.as_str()) as u64,
        calls_per_minute: engine.org_use.minutes.used(org.as_str(), Instant::now()),
        stored_bytes: stored::bytes(engine, org).await?,
    };
    Ok(OrgLimitsView { in_force: in_force(set.as_ref(), &resources.limits), set, used })
}

/// Sets an org's limits.
///
/// # Errors
/// `role_not_allowed`, `validation_failed` for a limit that is 0 or above the platform's, those of the stores.
pub async fn replace(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    wish: OrgLimitsWish,
) -> Result<OrgLimitsView, Error> {
    caller.platform()?;
    let violations = violations(&wish, engine.limits());
    if !violations.is_empty() {
        return Err(Error::violations(Code::ValidationFailed, violations));
    }
    let OrgLimitsWish { calls_in_flight, calls_per_minute, stored_bytes } = wish;
    let record =
        OrgLimitsRecord { calls_in_flight, calls_per_minute, stored_bytes, updated_at: clock::now() };
    let parts = [org.as_str()];
    let writes = Writes::new().require_present::<OrgRecord>(&parts).put(&parts, &record);
    engine.resources.commit(writes).await?;
    let by = caller.token_id.as_ref().map_or("the operator", |token| token.as_str());
    tracing::info!(%org, by, ?wish, "limits of an org were set");
    view(engine, org).await
}

/// Takes an org's own limits away: the platform's count.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`.
pub async fn remove(engine: &Engine, caller: &Caller, org: &OrgId) -> Result<(), Error> {
    caller.platform()?;
    engine.resources.commit(Writes::new().delete::<OrgLimitsRecord>(&[org.as_str()])).await?;
    let by = caller.token_id.as_ref().map_or("the operator", |token| token.as_str());
    tracing::info!(%org, by, "limits of an org were taken away");
    Ok(())
}

fn violations(wish: &OrgLimitsWish, limits: &Limits) -> Vec<Violation> {
    let most = of_platform(limits);
    let mut violations = Violations::default();
    for (pointer, own, most, name) in [
        ("/calls_in_flight", wish.calls_in_flight, most.calls_in_flight, "limits.concurrent_calls"),
        ("/calls_per_minute", wish.calls_per_minute, most.calls_per_minute, "limits.org_calls_per_minute"),
        ("/stored_bytes", wish.stored_bytes, most.stored_bytes, "limits.org_stored_bytes"),
    ] {
        if let Some(own) = own.filter(|own| !(1..=most).contains(own)) {
            let message = format!("is {own}; it must be 1 to {most}, the platform's own limit ({name})");
            violations.push(Violation::new(pointer, "out_of_range", message));
        }
    }
    violations.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_org_s_limit_is_never_above_the_platform_s() {
        let limits = Limits { concurrent_calls: 10, ..Limits::default() };
        let wish = |calls| OrgLimitsWish { calls_in_flight: Some(calls), ..OrgLimitsWish::default() };
        for (calls, refused) in [(0, true), (1, false), (10, false), (11, true)] {
            let found = violations(&wish(calls), &limits);
            assert_eq!(!found.is_empty(), refused, "{calls}");
            for violation in found {
                assert_eq!(violation.pointer, "/calls_in_flight");
                assert!(violation.message.contains("limits.concurrent_calls"), "{}", violation.message);
            }
        }
        let set = OrgLimitsRecord {
            calls_in_flight: Some(10),
            stored_bytes: Some(7),
            ..OrgLimitsRecord::default()
        };
        let lowered = Limits { concurrent_calls: 3, ..Limits::default() };
        let counts = in_force(Some(&set), &lowered);
        assert_eq!((counts.calls_in_flight, counts.stored_bytes), (3, 7));
        assert_eq!(counts.calls_per_minute, lowered.org_calls_per_minute);
        assert_eq!(in_force(None, &lowered), of_platform(&lowered));
    }
}
