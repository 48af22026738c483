//! What a connector's module may do, compared between two revisions: more needs a person who says so.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::connector::{Connector, Runtime};
use portcullis_core::fault::Code;
use portcullis_core::hex;

use crate::error::Error;

/// What another revision of a connector adds to what its module may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widening {
    /// One line for each thing that is new.
    pub difference: Vec<String>,
    /// The digest to repeat the request with.
    pub digest: String,
}

/// What a connector with a module may do; empty for one without.
fn capabilities(connector: Option<&Connector>) -> BTreeSet<String> {
    let Some((connector, runtime)) = connector.and_then(|one| Some((one, one.runtime.as_ref()?))) else {
        return BTreeSet::new();
    };
    let mut all = Runtime::capabilities(runtime);
    all.extend(connector.allowed_domains.iter().map(|host| format!("host {host}")));
    all.extend(connector.ports.iter().map(|port| format!("port {port}")));
    all.extend(connector.auth.injection.needs_credential().then(|| "credential default".to_owned()));
    all
}

/// Limits that are higher than before, or that a first module has.
fn raised(before: Option<&Connector>, after: &Connector) -> Vec<String> {
    let Some(now) = &after.runtime else { return Vec::new() };
    let before = before.and_then(|connector| connector.runtime.as_ref());
    let old = |name: &str| {
        let limits = before?.limits();
        limits.into_iter().find(|(own, _)| *own == name).map(|(_, limit)| limit.unwrap_or(u64::MAX))
    };
    let is_raised =
        |(name, limit): &(&str, Option<u64>)| old(name).is_none_or(|old| limit.unwrap_or(u64::MAX) > old);
    let line = |(name, limit): (&str, Option<u64>)| {
        format!("limit {name} {}", limit.map_or("of the platform".to_owned(), |limit| limit.to_string()))
    };
    now.limits().into_iter().filter(is_raised).map(line).collect()
}

/// Refuses a revision that lets a module do more than the one before, unless `accepted` names exactly that.
///
/// # Errors
/// `capability_widened` with the difference and its digest.
pub(crate) fn check(
    before: Option<&Connector>,
    after: &Connector,
    accepted: Option<&str>,
) -> Result<(), Error> {
    let (old, new) = (capabilities(before), capabilities(Some(after)));
    let mut difference: Vec<String> = new.difference(&old).cloned().collect();
    difference.extend(raised(before, after));
    if difference.is_empty() {
        return Ok(());
    }
    let text = difference.join("\n");
    let digest = format!("sha256:{}", hex::encode(digest(&SHA256, text.as_bytes()).as_ref()));
    if accepted == Some(digest.as_str()) {
        return Ok(());
    }
    let detail = format!(
        "the connector's module may do more than before: {}; if that is meant, repeat the request with ?accept={digest}",
        difference.join("; ")
    );
    let widening = Widening { difference, digest };
    Err(Error { widening: Some(Box::new(widening)), ..Error::new(Code::CapabilityWidened, detail) })
}
