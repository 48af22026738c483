//! The requests that obtain a token: made by the host, sent through the gate like any other, their
//! answers read only here.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portcullis_action::{Values, escape};
use portcullis_core::connector::{DEFAULT_SLOT, RequestLimits};
use portcullis_core::definition::ExpiresUnitDef;
use portcullis_core::fault::Code;
use portcullis_core::id::{ActionId, RunId};
use portcullis_core::outbound::{Outbound as _, OutboundOptions, OutboundRequest, OutboundResponse};
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_core::token_plan::{Capture, StepBody, TokenPlan, TokenStep};
use portcullis_egress::{Answers, BoundCredential};
use portcullis_store::TokenState;
use serde_json::Value;
use zeroize::Zeroizing;

use super::breaking::admit_freely;
use super::client::{NOT_FOR_HOST, is_for, openable};
use super::renewal::{REFRESH_TOKEN, STEP_TIMEOUT};
use super::token_answer;
use crate::breaker::{self, Permit};
use crate::connection::sealed::SealedRecords;
use crate::connection::{Errand, HiddenValues, LoadedConnection, Purpose};
use crate::resources::Resources;

/// Longest value that is taken from an answer, bytes: tokens are short, and are sealed together.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Codes of error answers that are shown as they are: those of RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section
/// 3.5, RFC 8707 and RFC 6750. Any other may quote what was sent: it is looked through first.
const ERROR_CODES: &[&str] = &[
    "access_denied",
    "authorization_pending",
    "expired_token",
    "insufficient_scope",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "invalid_token",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
];

/// The result of an exchange.
#[derive(Default)]
pub(super) struct Got {
    pub(super) fields: Vec<(String, Zeroizing<String>)>,
    pub(super) config: Vec<(String, String)>,
    /// The texts that [`Self::config`] was taken from, whole: a part of a secret must not pass for a host.
    captured: Vec<(String, Zeroizing<String>)>,
    pub(super) ttl: Option<SignedDuration>,
}

impl Got {
    /// Takes a value that becomes visible config.
    fn take(&mut self, name: &str, text: String) {
        self.config.push((name.to_owned(), host_of(&text).to_owned()));
        self.captured.push((name.to_owned(), Zeroizing::new(text)));
    }
}

/// Why an exchange failed. The reason quotes of an answer only what has no secret.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) reason: String,
    /// Whether it needs a person; otherwise a later attempt may succeed.
    pub(super) permanent: bool,
    /// The server's own code, which nobody has looked through yet.
    said: Option<String>,
}

impl Failed {
    fn new(reason: impl Into<String>, permanent: bool) -> Self {
        Self { reason: reason.into(), permanent, said: None }
    }
}

/// Obtains a token: by renewal if there is a refresh token, otherwise from the start.
pub(super) async fn get(
    resources: &Resources,
    connection: &LoadedConnection,
    plan: &TokenPlan,
    state: &TokenState,
    run: &RunId,
    permit: Option<Permit>,
) -> Result<Got, Failed> {
    let renewal = plan.renew.as_ref().filter(|_| state.renewable);
    let steps: Vec<&TokenStep> = match renewal {
        Some(step) => vec![step],
        None if plan.obtain.is_empty() => {
            return Err(Failed::new("consent is missing, or it is used up", true));
        }
        None => plan.obtain.iter().collect(),
    };
    let records = openable(resources, connection);
    follow_after(resources, connection, &steps, records, run, Vec::new(), permit).await
}

/// Sends the steps one after the other; each can use the values that the earlier ones captured.
pub(super) async fn follow(
    resources: &Resources,
    connection: &LoadedConnection,
    steps: &[&TokenStep],
    records: SealedRecords,
    run: &RunId,
) -> Result<Got, Failed> {
    follow_after(resources, connection, steps, records, run, Vec::new(), None).await
}

/// As [`follow`], with config values that came before the answers, and with the permit of the first request's host. A
/// request without one goes whatever its breaker says.
pub(super) async fn follow_after(
    resources: &Resources,
    connection: &LoadedConnection,
    steps: &[&TokenStep],
    records: SealedRecords,
    run: &RunId,
    came: Vec<(String, String)>,
    mut permit: Option<Permit>,
) -> Result<Got, Failed> {
    let mut got = Got::default();
    for (name, text) in came {
        got.take(&name, text);
    }
    for step in steps {
        let mut known = records.known.clone();
        known.extend(got.fields.iter().cloned());
        let source = SealedRecords { sealed: records.sealed.clone(), known, others: Vec::new() };
        let answer = send(resources, connection, step, source, run, permit.take()).await?;
        if let Err(failed) = read(step, &answer, &mut got) {
            return Err(told(connection, failed, &got, &records).await);
        }
    }
    check_placed(connection, &got)?;
    if !got.config.is_empty() {
        check_visible(connection, &got, &records).await?;
    }
    Ok(got)
}

/// Refuses a value that cannot be sent where the definition puts it, such as a blank in a cookie.
fn check_placed(connection: &LoadedConnection, got: &Got) -> Result<(), Failed> {
    let field =
        |(name, text): &(String, Zeroizing<String>)| (name.clone(), SecretValue::new(text.to_string()));
    let fields = SecretFields::new(got.fields.iter().map(field).collect());
    let placed = connection.connector().auth.injection.check_known(&fields, &connection.config);
    placed.map_err(|error| {
        Failed::new(format!("the token answer cannot be used: {error}; it was not kept"), true)
    })
}

/// Refuses an answer whose visible values give a secret away: they would stand in URLs, dry runs, the ledger and
/// files. Nothing of such an answer is kept.
async fn check_visible(
    connection: &LoadedConnection,
    got: &Got,
    records: &SealedRecords,
) -> Result<(), Failed> {
    let hidden = HiddenValues::sealed(connection.connector(), records).await;
    let mut hidden = hidden.map_err(|_| Failed::new("the credential cannot be opened", true))?;
    hidden.add_token(&got.fields);
    match got.captured.iter().find(|(_, text)| hidden.are_in(text)) {
        None => Ok(()),
        Some((name, _)) => Err(Failed::new(
            format!(
                "there is a secret where the definition takes config.{name} from, which would be visible; nothing of the \
                 answer was kept; auth.capture or auth.capture_callback must name another place"
            ),
            true,
        )),
    }
}

/// A failure with the server's own code, unless it has a secret.
async fn told(
    connection: &LoadedConnection,
    mut failed: Failed,
    got: &Got,
    records: &SealedRecords,
) -> Failed {
    let Some(said) = failed.said.take() else { return failed };
    let Ok(mut hidden) = HiddenValues::sealed(connection.connector(), records).await else { return failed };
    hidden.add_token(&got.fields);
    if !hidden.are_in(&said) {
        failed.reason = format!("{}: {said}", failed.reason);
    }
    failed
}

async fn send(
    resources: &Resources,
    connection: &LoadedConnection,
    step: &TokenStep,
    source: SealedRecords,
    run: &RunId,
    permit: Option<Permit>,
) -> Result<OutboundResponse, Failed> {
    let unmade = |e: String| Failed::new(format!("the token request cannot be made: {e}"), true);
    let scope = connection.scope(step.method, &step.url).map_err(|error| unmade(error.detail))?;
    let url = step.url.render(&Values::config_only(&connection.config)).map_err(|e| unmade(e.to_string()))?;
    let (body, content_type) = body(&step.body);
    let mut headers: Vec<(String, Vec<u8>)> =
        step.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    headers.extend(content_type.map(|media| ("content-type".to_owned(), media.as_bytes().to_vec())));
    let needs = step.injection.needs_credential();
    let state = connection.stored.credential.as_ref().filter(|_| is_for(connection, &url));
    let client_revision = connection.stored.client.as_ref().map_or(0, |client| client.record.revision);
    let credential = needs.then(|| BoundCredential {
        slot: DEFAULT_SLOT.to_owned(),
        version: state.map_or(0, |c| c.revision).saturating_add(client_revision),
        // Why none for another host than the client's: the gate then refuses it, and the ledger says so.
        allowed_hosts: state.map(|c| c.allowed_hosts.clone()).unwrap_or_default(),
        source: Arc::new(source),
    });
    let action = ActionId::parse("oauth-token").map_err(|e| unmade(e.to_string()))?;
    let purpose = Purpose { action, run: run.clone(), automation: None, handle: None };
    let guard = connection.guard(
        resources,
        purpose,
        Errand {
            scopes: vec![scope],
            credential,
            injection: Arc::new(step.injection.clone()),
            requests_max: 1,
            answers: Answers::TokenKeeper,
            limits: RequestLimits::default(),
            dry_run: false,
            varying: Vec::new(),
        },
    );
    let request = OutboundRequest {
        method: step.method,
        url,
        headers,
        body: Some(body),
        credential: needs.then(|| DEFAULT_SLOT.to_owned()),
        options: OutboundOptions { total_timeout: Some(STEP_TIMEOUT), ..OutboundOptions::default() },
    };
    let permit = permit.or_else(|| admit_freely(resources, connection, step));
    let sent = guard.send(request).await;
    let report = guard.report();
    if let Some(permit) = permit {
        let outcome = breaker::of_token_request(sent.as_ref().map(|a| a.status).map_err(|_| report.failure));
        permit.settle(outcome, &report.last_origin);
    }
    match sent {
        Ok(answer) => Ok(answer),
        Err(_) => {
            let code = report.failure;
            let reason = match code {
                Some(Code::CredentialNotBound) if connection.stored.client.is_some() => {
                    return Err(Failed::new(format!("credential_not_bound: {NOT_FOR_HOST}"), true));
                }
                Some(code) => code.title(),
                None => "the token request had no answer",
            };
            let permanent = code.is_some_and(|code| code.status() == 403);
            Err(Failed::new(format!("token request: {reason}"), permanent))
        }
    }
}

fn body(body: &StepBody) -> (Vec<u8>, Option<&'static str>) {
    match body {
        StepBody::None => (Vec::new(), None),
        StepBody::Json(document) => (document.to_string().into_bytes(), Some("application/json")),
        StepBody::Form(pairs) => {
            let mut text = String::new();
            for (name, value) in pairs {
                escape::append_pair(name, value, &mut text);
            }
            (text.into_bytes(), Some("application/x-www-form-urlencoded"))
        }
    }
}

/// Takes from an answer what the step captures.
fn read(step: &TokenStep, answer: &OutboundResponse, got: &mut Got) -> Result<(), Failed> {
    let document = token_answer::read(step.format, answer);
    if !(200..300).contains(&answer.status) {
        return Err(refused(answer.status, document.as_ref().unwrap_or(&Value::Null)));
    }
    let reads_body = step.capture.iter().any(|(_, place)| matches!(place, Capture::Body(_)));
    let document = match document {
        Ok(document) => document,
        Err(found) if reads_body => {
            let name = step.capture.first().map_or("token", |(name, _)| name.as_str());
            return Err(Failed::new(format!("the token answer has no {name}: it is {found}"), true));
        }
        Err(_) => Value::Null,
    };
    for (name, place) in &step.capture {
        let found = match place {
            Capture::Body(pointer) => {
                document.pointer(pointer).and_then(portcullis_action::template::scalar_text)
            }
            Capture::Header(name) => token_answer::header(answer, name).next(),
            Capture::Cookie(name) => token_answer::cookie(answer, name),
        };
        match found.filter(|text| !text.is_empty() && text.len() <= VALUE_BYTES_MAX) {
            Some(text) => {
                check_sendable(name, &text)?;
                got.fields.push((name.clone(), Zeroizing::new(text)));
            }
            // A server may return a refresh token or not (RFC 6749 section 5.1).
            None if name == REFRESH_TOKEN => {}
            // Some APIs refuse with status 200 and an error inside.
            None if is_refusal(&document) => return Err(refused(answer.status, &document)),
            None => {
                return Err(Failed::new(
                    format!("the token answer has no {name} where the definition says"),
                    true,
                ));
            }
        }
    }
    for (name, pointer) in &step.config {
        let found = document.pointer(pointer).and_then(portcullis_action::template::scalar_text);
        if let Some(text) = found.filter(|text| text.len() <= VALUE_BYTES_MAX) {
            got.take(name, text);
        }
    }
    if let Some(found) = document.pointer(&step.expires_in_path) {
        got.ttl = ttl(found, step.expires_unit).or(got.ttl);
    }
    Ok(())
}

/// Refuses a value that could not be sent: kept, it would fail every later call without a reason.
fn check_sendable(name: &str, text: &str) -> Result<(), Failed> {
    if text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) && text.trim() == text {
        return Ok(());
    }
    let what = if text.chars().any(char::is_control) {
        "a line break or another control character"
    } else if text.is_ascii() {
        "a blank at its beginning or end"
    } else {
        "a character outside ASCII"
    };
    Err(Failed::new(
        format!("the token answer's {name} has {what}, so it cannot be sent; it was not kept"),
        true,
    ))
}

/// A captured URL is reduced to its host for use in a template; anything else stays as it is.
pub(super) fn host_of(text: &str) -> &str {
    match text.strip_prefix("https://") {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => text,
    }
}

/// Where servers write the code of what is wrong: RFC 6749 section 5.2 and the usual other places.
const ERROR_PLACES: [&str; 4] = ["/error", "/error/code", "/error/type", "/errorCode"];
/// Longest code of a server that is shown, characters.
const SAID_CHARS_MAX: usize = 64;

/// Whether an answer says that it is a refusal.
fn is_refusal(document: &Value) -> bool {
    document.get("error").is_some_and(|error| !error.is_null())
        || document.get("ok") == Some(&Value::Bool(false))
        || document.get("success") == Some(&Value::Bool(false))
        || ["errors", "errorCode", "error_message"].iter().any(|name| document.get(*name).is_some())
}

/// The code that a refusal has. Why only words without digits: sentences, numbers and ids may quote what was sent.
fn code_of(document: &Value) -> Option<String> {
    let is_word = |text: &str| {
        !text.is_empty()
            && text.len() <= SAID_CHARS_MAX
            && text.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.'))
    };
    let mut texts = ERROR_PLACES.iter().filter_map(|place| document.pointer(place)?.as_str());
    texts.find(|text| is_word(text)).map(str::to_owned)
}

/// An error answer (RFC 6749 section 5.2): its code if it is a registered one; anything else is the server's own text.
fn refused(status: u16, document: &Value) -> Failed {
    let code = document.get("error").and_then(Value::as_str);
    let code = code.and_then(|code| ERROR_CODES.iter().copied().find(|known| *known == code));
    let reason = match code {
        Some(code) => format!("the token endpoint answered {status} {code}"),
        None => format!("the token endpoint answered {status}"),
    };
    let transient = matches!(status, 408 | 429 | 500..=599) || code == Some("temporarily_unavailable");
    let said = code_of(document).filter(|said| is_refusal(document) && code != Some(said.as_str()));
    Failed { said, ..Failed::new(reason, !transient) }
}

/// Lifetime of a token. For values without a meaning the definition's default is used.
fn ttl(found: &Value, unit: ExpiresUnitDef) -> Option<SignedDuration> {
    let now = Timestamp::now();
    if unit == ExpiresUnitDef::Iso8601 {
        let end: Timestamp = found.as_str()?.parse().ok()?;
        return Some(end.duration_since(now));
    }
    // Why none for 0 and less: several servers write that for a token that does not expire, and no server gives one that
    // has expired.
    let number = match found {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }?;
    if number <= 0.0 || number > 1.0e14 {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "bounded above; a fraction of a second is no matter")]
    let whole = number as i64;
    Some(match unit {
        ExpiresUnitDef::S => SignedDuration::from_secs(whole),
        ExpiresUnitDef::Ms => SignedDuration::from_millis(whole),
        ExpiresUnitDef::EpochS => Timestamp::from_second(whole).ok()?.duration_since(now),
        ExpiresUnitDef::EpochMs => Timestamp::from_millisecond(whole).ok()?.duration_since(now),
        ExpiresUnitDef::Iso8601 => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lifetimes_are_read_in_every_unit_and_nonsense_in_none() {
        let s = |value: Value, unit| ttl(&value, unit).map(|d| d.as_secs());
        assert_eq!(s(json!(3600), ExpiresUnitDef::S), Some(3600));
        assert_eq!(s(json!("1800"), ExpiresUnitDef::S), Some(1800));
        assert_eq!(s(json!(90_000), ExpiresUnitDef::Ms), Some(90));
        let in_an_hour = Timestamp::now().as_second() + 3600;
        assert!((3598..=3600).contains(&s(json!(in_an_hour), ExpiresUnitDef::EpochS).unwrap()));
        assert!((3598..=3600).contains(&s(json!(in_an_hour * 1000), ExpiresUnitDef::EpochMs).unwrap()));
        let text = Timestamp::from_second(in_an_hour).unwrap().to_string();
        assert!((3598..=3600).contains(&s(json!(text), ExpiresUnitDef::Iso8601).unwrap()));
        for nonsense in
            [json!("soon"), json!(0), json!("0"), json!(-1), json!(1e300), json!(null), json!([1])]
        {
            assert_eq!(s(nonsense.clone(), ExpiresUnitDef::S), None, "{nonsense}");
        }
    }

    #[test]
    fn an_error_answer_is_told_by_its_code_and_never_by_its_words() {
        let failed = refused(400, &json!({ "error": "invalid_grant", "error_description": "token canary" }));
        assert_eq!(failed.reason, "the token endpoint answered 400 invalid_grant");
        assert!(failed.permanent);
        let odd = refused(400, &json!({ "error": "The secret canary is wrong" }));
        assert_eq!(odd.reason, "the token endpoint answered 400");
        let quoting = refused(400, &json!({ "error": "unknown_client_my_secret" }));
        assert_eq!(quoting.reason, "the token endpoint answered 400");
        assert_eq!(quoting.said.as_deref(), Some("unknown_client_my_secret"), "nobody has looked at it yet");
        let slack = refused(200, &json!({ "ok": false, "error": "invalid_code" }));
        assert_eq!(slack.said.as_deref(), Some("invalid_code"));
        let deep = refused(400, &json!({ "error": { "code": "bad_app", "message": "no such app canary" } }));
        assert_eq!(deep.said.as_deref(), Some("bad_app"));
        for free in ["The secret canary is wrong", "canary_s3cr3t", "", &"x".repeat(65)] {
            assert_eq!(refused(400, &json!({ "error": free })).said, None, "{free}");
        }
        assert!(!is_refusal(&json!({ "message": "welcome" })) && !is_refusal(&json!({ "error": null })));
    }

    #[test]
    fn e1_what_cannot_be_sent_is_judged_when_it_is_taken() {
        assert!(check_sendable("access_token", "ya29.a0-_~+/=").is_ok());
        assert!(check_sendable("sid", "\"quoted\"").is_ok());
        for (text, what) in [
            ("tok\n", "a line break or another control character"),
            ("tok \u{e9}", "a character outside ASCII"),
            ("tok ", "a blank at its beginning or end"),
        ] {
            let failed = check_sendable("access_token", text).unwrap_err();
            assert_eq!(
                failed.reason,
                format!("the token answer's access_token has {what}, so it cannot be sent; it was not kept")
            );
            assert!(failed.permanent);
        }
    }

    #[test]
    fn of_a_url_the_host_is_kept() {
        assert_eq!(host_of("https://acme.my.salesforce.com/x"), "acme.my.salesforce.com");
        assert_eq!(host_of("us21"), "us21");
    }
}
