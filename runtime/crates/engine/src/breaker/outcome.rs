//! What the end of an attempt says of the vendor.
//!
//! A failure of the vendor is: its name, its connection or its TLS fails, it does not answer in time or not in HTTP, its
//! answer is cut off, or it answers 5xx and no rule of the definition says that something else is to blame. Any other
//! answer shows that it is there. What was refused here, cancelled, or not sent says nothing.

use portcullis_action::response::ErrorClass;
use portcullis_core::fault::Code;
use portcullis_egress::GuardReport;

use super::Outcome;
use crate::call::run::RunEnd;

/// Whether the code stands for a failure of the vendor or of the way to it.
const fn is_vendors(code: Code) -> bool {
    matches!(
        code,
        Code::DnsFailed
            | Code::ConnectFailed
            | Code::TlsFailed
            | Code::UpstreamTimeout
            | Code::UpstreamProtocol
            | Code::ResponseTruncated
    )
}

/// Whether an answer with an error says that the vendor does not work. A module's own failure may have no class.
fn is_outage(status: u64, class: Option<&str>) -> bool {
    (500..600).contains(&status) && class.is_none_or(|class| class == ErrorClass::Transient.as_str())
}

/// What an attempt says. `own_time_up` is whether the call's own time ended it, after most of that time: the upstream had
/// enough of it.
pub(crate) fn of_attempt(end: &RunEnd, report: &GuardReport, own_time_up: Option<bool>) -> Outcome {
    let heard = if report.requests > 0 { Outcome::Answered } else { Outcome::Unknown };
    let RunEnd::Failed { code, class, upstream, .. } = end else { return heard };
    let failed = match (own_time_up, code) {
        (Some(had_time), code) => *code == Code::UpstreamTimeout && had_time && report.sent,
        // Why as the gate recorded it: a guest's own words are no proof.
        (None, code) if is_vendors(*code) => report.failure == Some(*code),
        (None, Code::UpstreamStatus) => {
            let status =
                upstream.as_ref().and_then(|answer| answer.get("status")).and_then(serde_json::Value::as_u64);
            status.is_some_and(|status| is_outage(status, class.as_deref()))
        }
        (None, Code::GuestFailed) => {
            report.last_status.is_some_and(|status| is_outage(status.into(), class.as_deref()))
        }
        _ => false,
    };
    if failed { Outcome::Failed } else { heard }
}

/// What a token request says: the status of its answer, or why there is none.
pub(crate) fn of_token_request(answer: Result<u16, Option<Code>>) -> Outcome {
    match answer {
        Ok(status) if is_outage(status.into(), None) => Outcome::Failed,
        Ok(_) => Outcome::Answered,
        Err(Some(code)) if is_vendors(code) => Outcome::Failed,
        Err(_) => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(code: Code, class: Option<&str>, status: Option<u16>) -> (RunEnd, GuardReport) {
        let mut end = RunEnd::plain(code);
        if let RunEnd::Failed { class: own, upstream, .. } = &mut end {
            *own = class.map(str::to_owned);
            *upstream = status.map(|status| json!({ "status": status }));
        }
        let failure = is_vendors(code).then_some(code);
        let requests = u64::from(status.is_some());
        (end, GuardReport { failure, last_status: status, requests, sent: true, ..GuardReport::default() })
    }

    #[test]
    fn only_what_is_the_vendors_fault_is_a_failure() {
        use Outcome::{Answered, Failed, Unknown};
        for (code, class, status, outcome) in [
            (Code::DnsFailed, None, None, Failed),
            (Code::ConnectFailed, None, None, Failed),
            (Code::TlsFailed, None, None, Failed),
            (Code::UpstreamTimeout, None, None, Failed),
            (Code::UpstreamProtocol, None, None, Failed),
            (Code::ResponseTruncated, None, Some(200), Failed),
            (Code::UpstreamStatus, Some("transient"), Some(500), Failed),
            (Code::UpstreamStatus, Some("transient"), Some(599), Failed),
            // A rule of the definition says that something else is to blame.
            (Code::UpstreamStatus, Some("validation"), Some(500), Answered),
            (Code::UpstreamStatus, Some("permanent"), Some(500), Answered),
            (Code::UpstreamStatus, Some("rate_limit"), Some(503), Answered),
            (Code::UpstreamStatus, Some("validation"), Some(400), Answered),
            (Code::UpstreamStatus, Some("validation"), Some(422), Answered),
            (Code::UpstreamStatus, Some("auth"), Some(401), Answered),
            (Code::UpstreamStatus, Some("transient"), Some(408), Answered),
            (Code::UpstreamStatus, Some("rate_limit"), Some(429), Answered),
            (Code::GuestFailed, None, Some(502), Failed),
            (Code::GuestFailed, Some("transient"), Some(502), Failed),
            (Code::GuestFailed, Some("validation"), Some(502), Answered),
            (Code::GuestFailed, None, Some(200), Answered),
            (Code::GuestFailed, None, None, Unknown),
            (Code::ResponseTooLarge, None, Some(200), Answered),
            (Code::ResponseUnreadable, None, Some(200), Answered),
            (Code::InputInvalid, None, None, Unknown),
            (Code::HostNotInOrg, None, None, Unknown),
            (Code::AddressForbidden, None, None, Unknown),
            (Code::CredentialNotBound, None, None, Unknown),
            (Code::RateLimited, None, None, Unknown),
            (Code::LedgerUnavailable, None, None, Unknown),
            (Code::StoreUnavailable, None, None, Unknown),
            (Code::CallEnded, None, None, Unknown),
            (Code::GuestTrapped, None, None, Unknown),
        ] {
            let (end, report) = ended(code, class, status);
            assert_eq!(of_attempt(&end, &report, None), outcome, "{code} {class:?} {status:?}");
        }
    }

    #[test]
    fn a_guest_cannot_claim_a_failure_of_the_vendor() {
        let (end, report) = ended(Code::ConnectFailed, None, None);
        let unseen = GuardReport { failure: None, ..report };
        assert_eq!(of_attempt(&end, &unseen, None), Outcome::Unknown);
    }

    #[test]
    fn a_calls_own_end_is_the_vendors_only_if_it_had_the_time() {
        let (end, report) = ended(Code::UpstreamTimeout, None, None);
        assert_eq!(of_attempt(&end, &report, Some(true)), Outcome::Failed);
        assert_eq!(of_attempt(&end, &report, Some(false)), Outcome::Unknown);
        let unsent = GuardReport { sent: false, ..report.clone() };
        assert_eq!(of_attempt(&end, &unsent, Some(true)), Outcome::Unknown);
        let (cancelled, _) = ended(Code::CallEnded, None, None);
        assert_eq!(of_attempt(&cancelled, &report, Some(true)), Outcome::Unknown);
    }

    #[test]
    fn a_token_endpoint_fails_by_its_status_or_by_the_way_to_it() {
        for (answer, outcome) in [
            (Ok(200), Outcome::Answered),
            (Ok(400), Outcome::Answered),
            (Ok(429), Outcome::Answered),
            (Ok(500), Outcome::Failed),
            (Ok(503), Outcome::Failed),
            (Err(Some(Code::ConnectFailed)), Outcome::Failed),
            (Err(Some(Code::HostNotInOrg)), Outcome::Unknown),
            (Err(None), Outcome::Unknown),
        ] {
            assert_eq!(of_token_request(answer), outcome, "{answer:?}");
        }
    }
}
