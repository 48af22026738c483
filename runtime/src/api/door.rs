//! The door: calls that cannot be admitted are refused here, for a part of what the way through the router
//! costs. Under more load than can be served, refusals would otherwise take the processor from the calls that
//! were admitted.
//!
//! It decides nothing of its own: it refuses a call only where [`Ctx::open`](super::Ctx::open) would, to those
//! whom that would tell so, and from what is in memory alone. Everything else goes the long way.

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::{Method, Request, Response};
use portcullis_store::WorkspaceRecord;

use super::{auth, context, finish, routes};
use crate::app::App;
use crate::problem::Problem;

/// The refusal of a call that is known to be refused.
pub(crate) fn refusal<B>(app: &App, request: &Request<B>) -> Option<Response<Body>> {
    if request.method() != Method::POST {
        return None;
    }
    let (org, workspace, lane) = tenant(request.uri().path())?;
    let refused = app.turns.refusal(lane)?;
    let principal = auth::known(app, request.headers())?;
    auth::authorise(&principal, routes::RUN, Some(org), Some(workspace)).ok()?;
    app.records.kept::<WorkspaceRecord>(&[org, workspace])?;
    app.requests.fetch_add(1, Ordering::Relaxed);
    let id = context::request_id();
    tracing::debug!(request_id = %id, org, workspace, reason = %refused, "refused at the door");
    Some(finish(app, Problem::from(refused).response(&id), &id))
}

/// Org, workspace and both as the lane's name, of a path that calls an action or an automation.
fn tenant(path: &str) -> Option<(&str, &str, &str)> {
    let below = path.strip_prefix("/run/")?;
    let (org, rest) = below.split_once('/')?;
    let (workspace, rest) = rest.split_once('/')?;
    let lane = below.get(..org.len() + 1 + workspace.len())?;
    let steps = rest.split('/').filter(|step| !step.is_empty()).count();
    let calls = match rest.split_once('/') {
        Some(("connector", _)) => steps == 3,
        Some(("automation", _)) => steps == 2,
        _ => false,
    };
    (calls && !rest.ends_with('/')).then_some((org, workspace, lane))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_have_a_lane() {
        let lane = |path| tenant(path).map(|(org, workspace, lane)| format!("{org} {workspace} {lane}"));
        let acme = Some("acme main acme/main".to_owned());
        assert_eq!(lane("/run/acme/main/connector/crm/create"), acme);
        assert_eq!(lane("/run/acme/main/automation/welcome"), acme);
        for other in [
            "/run/acme/main",
            "/run/acme/main/run_1",
            "/run/acme/main/connector/crm",
            "/run/acme/main/connector/crm/",
            "/run/acme/main/connector//create",
            "/run/acme/main/connector/crm/create/",
            "/run/acme/main/automation/a/b",
            "/runs/acme/main/automation/a",
            "/admin/connector",
        ] {
            assert_eq!(lane(other), None, "{other}");
        }
    }
}
