//! `portcullis ledger verify` where the store is PostgreSQL: beside running nodes, as everything is read there.

use portcullis_core::id::OrgId;
use portcullis_store::Records;

use super::{audit, tell_audited, tell_ledger};
use crate::cli::{BAD_CONFIG, DONE, FAILED, block_on, refused};
use crate::config::Config;
use crate::data_dir::Refusal;
use crate::{output, storage};

/// Checks every ledger and the audit log, or those of one org.
pub(super) fn verify(config: &Config, org: Option<&str>, as_json: bool) -> u8 {
    match block_on(check(config, org, as_json)).map_err(Refusal::failed).and_then(|done| done) {
        Ok(true) => DONE,
        Ok(false) => FAILED,
        Err(refusal) => refused(&refusal),
    }
}

async fn check(config: &Config, org: Option<&str>, as_json: bool) -> Result<bool, Refusal> {
    let bad = |reason| Refusal { code: BAD_CONFIG, reason };
    let keys = config.master_keys().map_err(bad)?.open().await.map_err(Refusal::failed)?;
    let backends = storage::open(config, &keys).await?.backends;
    let orgs = backends.ledger.orgs().await.map_err(|error| Refusal::failed(error.to_string()))?;
    let wanted = |own: &&OrgId| org.is_none_or(|wanted| own.as_str() == wanted);
    let orgs: Vec<&OrgId> = orgs.iter().filter(wanted).collect();
    let audited = audit::reports(&Records::new(backends.store), org).await;
    if let Some(org) = org.filter(|_| orgs.is_empty() && audited.as_ref().is_ok_and(Vec::is_empty)) {
        output::error(&format!("there is no ledger of org {org:?} in the database"));
        return Ok(false);
    }
    let mut intact = true;
    for org in orgs {
        intact &= tell_ledger(org.as_str(), backends.ledger.verify(org).await, as_json);
    }
    intact &= tell_audited(audited.map(audit::Checked::Reports), as_json);
    Ok(intact)
}
