//! The door: calls that cannot be admitted are refused here, for a part of what the way through the router
//! costs. Under more load than can be served, refusals would otherwise take the processor from the calls that
//! were admitted.
//!
//! It decides nothing of its own: it refuses a call only where [`Ctx::open`](super::Ctx::open) would, to those
//! whom that would tell so, and from what is in memory alone. Everything else goes the long way.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response};
use portcullis_store::WorkspaceRecord;

use super::{auth, context, finish, routes};
use crate::app::App;
use crate::clock;
use crate::problem::Problem;
use portcullis_admission::Refused;

/// How long a written refusal is good for: it has a `Date`, in seconds.
const TEXT_TIME: Duration = Duration::from_secs(1);

/// The door of a process.
pub(crate) struct Door {
    app: Arc<App>,
    /// What was written last of each refusal.
    texts: Mutex<Vec<(Refused, Text)>>,
}

/// A refusal as it goes over the wire, in parts between which its request id stands.
struct Text {
    written: Instant,
    parts: Vec<String>,
}

impl Door {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app, texts: Mutex::default() }
    }

    /// The refusal of a call that is known to be refused.
    pub(crate) fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let token = || auth::bearer(request.headers());
        let (refused, id) = self.verdict(request.method().as_str(), request.uri().path(), token)?;
        Some(finish(&self.app, Problem::from(refused).response(&id), &id))
    }

    /// The same for a request that no server has read yet: its answer as HTTP/1.1.
    pub(crate) fn refusal_text(
        &self,
        method: &str,
        target: &str,
        authorization: Option<&str>,
    ) -> Option<Vec<u8>> {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        // Why: while it is draining, each answer closes its connection, which is the server's to do.
        if self.app.draining.load(Ordering::SeqCst) {
            return None;
        }
        let (refused, id) = self.verdict(method, path, || auth::bearer_of(authorization?))?;
        Some(self.text(refused, &id))
    }

    /// Why a call is refused, if that is known and the caller may know it; and the request's id.
    fn verdict<'t>(
        &self,
        method: &str,
        path: &str,
        token: impl FnOnce() -> Option<&'t str>,
    ) -> Option<(Refused, String)> {
        let Lane { org, workspace, name } = (method == "POST").then(|| tenant(path)).flatten()?;
        let refused = self.app.scheduler.refusal(name)?;
        let principal = auth::known(&self.app, token()?)?;
        auth::authorise(&principal, routes::RUN, Some(org), Some(workspace)).ok()?;
        self.app.records.kept::<WorkspaceRecord>(&[org, workspace])?;
        self.app.requests.fetch_add(1, Ordering::Relaxed);
        let id = context::request_id();
        tracing::debug!(request_id = %id, org, workspace, reason = %refused, "refused at the door");
        Some((refused, id))
    }

    /// Why kept: each is written a thousand times a second, and differs in nothing but its id.
    fn text(&self, refused: Refused, id: &str) -> Vec<u8> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = texts.iter().find(|(of, _)| *of == refused)
            && text.written.elapsed() < TEXT_TIME
        {
            return text.parts.join(id).into_bytes();
        }
        let text = self.write(refused, id);
        let parts = text.split(id).map(ToOwned::to_owned).collect();
        texts.retain(|(of, _)| *of != refused);
        texts.push((refused, Text { written: Instant::now(), parts }));
        text.into_bytes()
    }

    fn write(&self, refused: Refused, id: &str) -> String {
        let problem = Problem::from(refused);
        let document = problem.text(id);
        let response = finish(&self.app, problem.response(id), id);
        let mut text = format!("HTTP/1.1 {}\r\n", response.status());
        for (name, value) in response.headers() {
            if let Ok(value) = value.to_str() {
                // Why ignored: writing to memory does not fail.
                let _ = write!(text, "{name}: {value}\r\n");
            }
        }
        let _ = write!(
            text,
            "content-length: {}\r\ndate: {}\r\n\r\n{document}",
            document.len(),
            clock::http_date()
        );
        text
    }
}

/// Whose call a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lane<'p> {
    org: &'p str,
    workspace: &'p str,
    /// Both, as [`Turns`](portcullis_admission::Scheduler) knows them.
    name: &'p str,
}

/// The tenant of a path that calls an action or an automation.
fn tenant(path: &str) -> Option<Lane<'_>> {
    let below = path.strip_prefix("/run/")?;
    let (org, rest) = below.split_once('/')?;
    let (workspace, rest) = rest.split_once('/')?;
    let name = below.get(..org.len() + 1 + workspace.len())?;
    let mut steps = rest.split('/');
    let named = match steps.next()? {
        "connector" => 2,
        "automation" => 1,
        _ => return None,
    };
    (steps.clone().count() == named && steps.all(|step| !step.is_empty())).then_some(Lane {
        org,
        workspace,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_have_a_lane() {
        let acme = Some(Lane { org: "acme", workspace: "main", name: "acme/main" });
        assert_eq!(tenant("/run/acme/main/connector/crm/create"), acme);
        assert_eq!(tenant("/run/acme/main/automation/welcome"), acme);
        for other in [
            "/run/acme/main",
            "/run/acme/main/run_1",
            "/run/acme/main/connector/crm",
            "/run/acme/main/connector/crm/",
            "/run/acme/main/connector//create",
            "/run/acme/main/connector/crm//create",
            "/run/acme/main/connector/crm/create/more",
            "/run/acme/main/connector/crm/create/",
            "/run/acme/main/automation/a/b",
            "/runs/acme/main/automation/a",
            "/admin/connector",
        ] {
            assert_eq!(tenant(other), None, "{other}");
        }
    }
}
