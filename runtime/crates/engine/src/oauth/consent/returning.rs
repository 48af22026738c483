//! What a browser that comes back from a third party means: a code that becomes a token, a person who said no, or a
//! failure. A connect session that started the consent is told.

use std::sync::Arc;

use portcullis_core::fault::Code;

use super::{Return, accept, take};
use crate::connect;
use crate::connection::ConnectionKey;
use crate::engine::Engine;
use crate::error::Error;

/// How a consent ended.
pub struct Finished {
    /// The name for people of the connector that was connected, or why there is no connection. `consent_invalid` for a
    /// state that is unknown, used, expired or another browser's, and for a person who said no;
    /// `credential_needs_attention` if the code was not accepted.
    pub outcome: Result<String, Error>,
    /// What its connect session shows, where one started it and was told.
    pub ended: Option<connect::Ending>,
}

/// Finishes a consent: the code becomes a token. A connect session that started it is told.
pub async fn finish(engine: &Arc<Engine>, back: Return<'_>) -> Finished {
    let pending = match take(&engine.resources, &back).await {
        Ok(pending) => pending,
        Err(error) => return Finished { outcome: Err(error), ended: None },
    };
    let Some(session) = pending.session.clone() else {
        let outcome = accept(engine, &back, pending).await;
        return Finished { outcome: named(engine, outcome).await, ended: None };
    };
    let of = connect::ConsentOf { org: pending.org.clone(), workspace: pending.workspace.clone(), session };
    let connector = pending.connector.clone();
    let said_no = back.code.is_none() && back.error.is_none_or(is_a_no);
    // Why asked before the code is spent: who ended the session meanwhile does not want to be connected.
    let outcome = match connect::goes_on(engine, &of).await {
        Ok(()) => accept(engine, &back, pending).await,
        Err(error) => Err(error),
    };
    let ended = connect::consent_ended(engine, &of, &connector, &outcome, said_no).await;
    Finished { outcome: named(engine, outcome).await, ended }
}

/// The name for people of the connector that was connected.
async fn named(engine: &Engine, outcome: Result<ConnectionKey, Error>) -> Result<String, Error> {
    let id = outcome?.connector;
    // Why an error is passed over: the token is stored, and the page can do with the id.
    let name = engine.resources.cache.connector_name(id.as_str()).await.ok().flatten();
    Ok(name.unwrap_or_else(|| id.as_str().to_owned()))
}

/// Whether an error code of a third party means that the person did not want to: RFC 6749 knows `access_denied`, and
/// some have words of their own, such as `user_cancelled_authorize`.
fn is_a_no(error: &str) -> bool {
    error == "access_denied" || error.contains("cancel")
}

/// Most characters of an error code that is shown; those of RFC 6749 have at most 25.
const ERROR_CODE_CHARS_MAX: usize = 40;

/// Whether a text is an error code as RFC 6749 section 4.1.2.1 knows them, and not a sentence.
fn is_error_code(text: &str) -> bool {
    (1..=ERROR_CODE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The error of a return without a code.
pub(super) fn without_code(error: Option<&str>) -> Error {
    // Why only a code and never `error_description`: anybody who may send a browser here could choose that text.
    let why = match error.filter(|error| is_error_code(error)) {
        Some(error) => format!("consent was not given: the third party answered {error}"),
        None => "consent was not given".to_owned(),
    };
    Error::new(Code::ConsentInvalid, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_told_from_a_failure_and_only_error_codes_are_shown() {
        for no in ["access_denied", "user_cancelled_authorize", "user_canceled"] {
            assert!(is_a_no(no), "{no}");
        }
        for failure in ["server_error", "invalid_scope", "temporarily_unavailable"] {
            assert!(!is_a_no(failure), "{failure}");
            assert!(without_code(Some(failure)).detail.ends_with(failure));
        }
        for text in ["", "Call +1 555 0100", "<b>", "ACCESS", &"x".repeat(41)] {
            assert_eq!(without_code(Some(text)).detail, "consent was not given", "{text}");
        }
    }
}
