//! How an action's unfinished answer is asked for again.

use std::time::Duration;

use portcullis_action::UrlTemplate;
use portcullis_action::plan::{PollPlace, PollPlan, ResponsePlan};

use super::behaviour::{is_readable, predicate};
use super::pagination::own_paths;
use super::{Context, Report};
use crate::connector::PollRules;
use crate::connector::place::check_pointer;
use crate::definition::{ActionDef, PollDef};

/// Default for the time between two requests, seconds: exports take minutes, and vendors count requests.
const INTERVAL_S: u32 = 2;

/// The plan of an action's poll. `response` begins at the result then.
pub(super) fn build(
    wire: &ActionDef,
    response: &mut ResponsePlan,
    pointer: &str,
    report: &mut Report<'_>,
) -> Option<PollPlan> {
    let written = wire.poll.as_ref()?;
    let at = format!("{pointer}/poll");
    if wire.pagination.is_some() || wire.paginate {
        let message = "an action asks again or follows pages, not both";
        report.error(&at, "poll_with_pagination", message);
    }
    let done = predicate(written.done.as_ref(), &format!("{at}/done"), report);
    let failed = predicate(written.failed.as_ref(), &format!("{at}/failed"), report);
    let result_url = result(written, response, &at, report);
    let place = place(written, &at, report)?;
    Some(PollPlan { place, done, failed, result_url, asked: None })
}

fn place(written: &PollDef, at: &str, report: &mut Report<'_>) -> Option<PollPlace> {
    match (&written.url.header, &written.url.path) {
        (Some(header), None) if is_readable(header) => Some(PollPlace::Header(header.to_ascii_lowercase())),
        (Some(header), None) => {
            let message = format!("{header:?} is not the name of a header that a guest can see");
            report.error(format!("{at}/url/header"), "pointer_invalid", message);
            None
        }
        (None, Some(path)) => {
            check_pointer(path, &format!("{at}/url/path"), report.errors);
            Some(PollPlace::Body(path.clone()))
        }
        _ => {
            report.error(format!("{at}/url"), "poll_incomplete", "needs either header or path, not both");
            None
        }
    }
}

/// The pointer to the URL of the result; a result inside the answer moves the root of `response`.
fn result(
    written: &PollDef,
    response: &mut ResponsePlan,
    at: &str,
    report: &mut Report<'_>,
) -> Option<String> {
    let result = written.result.as_ref()?;
    for (name, path) in [("path", &result.path), ("url_path", &result.url_path)] {
        if let Some(path) = path {
            check_pointer(path, &format!("{at}/result/{name}"), report.errors);
        }
    }
    match (&result.path, &result.url_path) {
        (Some(path), None) => {
            response.root = Some(format!("{path}{}", response.root.as_deref().unwrap_or_default()));
            None
        }
        (None, Some(url)) => Some(url.clone()),
        _ => {
            let message = "needs either path or url_path, not both";
            report.error(format!("{at}/result"), "poll_incomplete", message);
            None
        }
    }
}

/// What the host needs to know of it.
pub(super) fn rules(
    context: &Context<'_>,
    wire: &ActionDef,
    url: Option<&UrlTemplate>,
    pointer: &str,
    report: &mut Report<'_>,
) -> Option<PollRules> {
    let written = wire.poll.as_ref()?;
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    Some(PollRules {
        interval: seconds(written.interval_s.unwrap_or(INTERVAL_S)),
        max: written.max_s.map(seconds),
        urls: own_paths(context, url?, &written.paths, &format!("{pointer}/poll/paths"), report),
    })
}
