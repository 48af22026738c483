//! Fast refusals: calls that cannot be admitted are refused before the router, at a fraction of the cost of passing
//! through it. Under overload, refusals would otherwise take processor time from admitted calls.
//!
//! Nothing is decided here: the engine refuses a call only where dispatch would, only to callers who may learn the
//! reason, and from memory only. Every other request goes through the router.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response};
use portcullis_admission::{Refused, RequestHead};
use portcullis_core::sync::lock;
use portcullis_engine::{Error, clock, runs};

use crate::dispatch::finish;
use crate::service::Api;
use crate::{auth, problem, request_id};

/// How long a formatted refusal is reused: it has a `Date`, in seconds.
const TEXT_TIME: Duration = Duration::from_secs(1);

/// The fast refusals of a process.
pub(crate) struct FastReject {
    api: Arc<Api>,
    /// The latest text of each refusal.
    texts: Mutex<Vec<(Refused, Text)>>,
}

/// A refusal as sent, split where the request id is inserted.
struct Text {
    written: Instant,
    parts: Vec<String>,
}

impl FastReject {
    pub(crate) fn new(api: Arc<Api>) -> Self {
        Self { api, texts: Mutex::default() }
    }

    /// The refusal of a call, if the engine refuses it from memory.
    pub(crate) fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let token = || auth::bearer(request.headers());
        let id = || request_id::of(request.headers());
        let (refused, id) = self.verdict(request.method().as_str(), request.uri().path(), token, id)?;
        Some(finish(&self.api, problem::response(&Error::from(refused), &id), &id))
    }

    /// The same for a request that the server has not read yet: its answer as HTTP/1.1.
    pub(crate) fn refusal_text(&self, head: &RequestHead<'_>) -> Option<Vec<u8>> {
        let RequestHead { method, target, authorization, .. } = *head;
        // Why before the verdict, which is counted: what is left to the server is refused there.
        let id = match head.request_id {
            None => None,
            Some((value, false)) => Some(request_id::kept(value).filter(|id| is_plain(id))?),
            Some((_, true)) => return None,
        };
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        // Why: while draining, each answer closes its connection, which only the server can do.
        if self.api.is_draining() {
            return None;
        }
        let id = || id.map_or_else(request_id::fresh, str::to_owned);
        let (refused, id) = self.verdict(method, path, || auth::bearer_of(authorization?), id)?;
        Some(self.text(refused, &id))
    }

    /// Why a call is refused, if that is known and the caller may learn it; and the request's id.
    fn verdict<'t>(
        &self,
        method: &str,
        path: &str,
        token: impl FnOnce() -> Option<&'t str>,
        id: impl FnOnce() -> String,
    ) -> Option<(Refused, String)> {
        let (org, workspace) = (method == "POST").then(|| tenant(path)).flatten()?;
        let refused = runs::refused_from_memory(&self.api.engine, org, workspace, token)?;
        self.api.count_request();
        self.api.engine.note_no_place(refused.code());
        let id = id();
        tracing::debug!(request_id = %id, org, workspace, reason = %refused, "refused before the router");
        Some((refused, id))
    }

    /// Why cached: each is sent a thousand times a second, and only the id differs.
    fn text(&self, refused: Refused, id: &str) -> Vec<u8> {
        let mut texts = lock(&self.texts);
        if let Some((_, text)) = texts.iter().find(|(of, _)| *of == refused)
            && text.written.elapsed() < TEXT_TIME
        {
            return text.parts.join(id).into_bytes();
        }
        // Why a new one: the text is split where it stands, and a caller's may stand elsewhere, too.
        let made_with = request_id::fresh();
        let text = self.write(refused, &made_with);
        let parts: Vec<String> = text.split(&made_with).map(ToOwned::to_owned).collect();
        let text = parts.join(id);
        texts.retain(|(of, text)| *of != refused && text.written.elapsed() < TEXT_TIME);
        texts.push((refused, Text { written: Instant::now(), parts }));
        text.into_bytes()
    }

    fn write(&self, refused: Refused, id: &str) -> String {
        let error = Error::from(refused);
        let document = problem::text(&error, id);
        let response = finish(&self.api, problem::response(&error, id), id);
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

/// Whether an id stands in JSON as it is.
fn is_plain(id: &str) -> bool {
    id.bytes().all(|byte| !matches!(byte, b'"' | b'\\'))
}

/// The tenant of a path that calls an action or an automation, or fires an event.
fn tenant(path: &str) -> Option<(&str, &str)> {
    let (org, rest) = path.strip_prefix("/run/")?.split_once('/')?;
    let (workspace, rest) = rest.split_once('/')?;
    let mut steps = rest.split('/');
    let named = match steps.next()? {
        "connector" => 2,
        "automation" => 1,
        "event" => 0,
        _ => return None,
    };
    (steps.clone().count() == named && steps.all(|step| !step.is_empty())).then_some((org, workspace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_have_a_tenant_here() {
        let acme = Some(("acme", "main"));
        assert_eq!(tenant("/run/acme/main/connector/crm/create"), acme);
        assert_eq!(tenant("/run/acme/main/automation/welcome"), acme);
        assert_eq!(tenant("/run/acme/main/event"), acme);
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
            "/run/acme/main/event/",
            "/run/acme/main/event/a",
            "/runs/acme/main/automation/a",
            "/admin/connector",
        ] {
            assert_eq!(tenant(other), None, "{other}");
        }
    }
}
