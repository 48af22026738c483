//! When a failed call of an action is retried.

use http::HeaderName;
use portcullis_action::retry::{RetryPlan, WaitBody, WaitHeader};

use super::Report;
use crate::connector::place::check_pointer;
use crate::definition::{ActionDef, Definition, RetryDef};

/// The action's retry rules, otherwise the connector's.
pub(super) fn build(
    definition: &Definition,
    wire: &ActionDef,
    pointer: &str,
    report: &mut Report<'_>,
) -> RetryPlan {
    let default = RetryPlan::default();
    let (at, written) = match (&wire.retry, &definition.retry) {
        (Some(own), _) => (format!("{pointer}/retry"), own),
        (None, Some(shared)) => ("/retry".to_owned(), shared),
        (None, None) => return default,
    };
    let RetryDef { headers, body, .. } = written;
    let mut pattern = None;
    if let Some(body) = body {
        check_pointer(&body.path, &format!("{at}/body/path"), report.errors);
        match body.pattern.as_deref().map(|text| report.compiler.within(text)).transpose() {
            Ok(compiled) => pattern = compiled,
            Err(why) => report.error(format!("{at}/body/pattern"), "pattern_invalid", why),
        }
    }
    for (index, header) in headers.iter().enumerate() {
        let names =
            [("name", Some(&header.name)), ("when_remaining_zero", header.when_remaining_zero.as_ref())];
        for (member, name) in names.into_iter().filter_map(|(member, name)| Some((member, name?))) {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                let message = format!("{name:?} is not a header name");
                report.error(format!("{at}/headers/{index}/{member}"), "wrong_form", message);
            }
        }
    }
    let headers: Vec<WaitHeader> = headers
        .iter()
        .map(|header| WaitHeader {
            name: header.name.to_ascii_lowercase(),
            kind: header.kind,
            when_remaining_zero: header.when_remaining_zero.as_ref().map(|name| name.to_ascii_lowercase()),
        })
        .collect();
    RetryPlan {
        max_attempts: written.max_attempts.unwrap_or(default.max_attempts),
        base_ms: written.base_ms.unwrap_or(default.base_ms),
        max_wait_ms: written.max_wait_ms.unwrap_or(default.max_wait_ms),
        on_status: written.on_status.clone().unwrap_or(default.on_status),
        on_network: written.on_network.unwrap_or(default.on_network),
        allow_non_idempotent: written.allow_non_idempotent,
        rate_limited_not_executed: written.rate_limited_not_executed,
        headers: if headers.is_empty() { default.headers } else { headers },
        body: body.as_ref().map(|body| WaitBody { path: body.path.clone(), pattern, kind: body.kind }),
    }
}
