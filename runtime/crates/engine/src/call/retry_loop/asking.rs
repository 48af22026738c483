//! Work that the vendor does later: after an answer that is not the result, a wait without a guest and another attempt
//! that asks again, within the call's deadline.

use std::time::Duration;

use portcullis_action::plan::Asked;
use portcullis_core::connector::Action;
use portcullis_core::fault::Code;
use tokio::time::Instant;

use super::RetryLoop;
use crate::call::run::{RunEnd, Success};

/// What follows a successful attempt.
pub(super) enum After {
    /// The end of the call.
    End(RunEnd),
    /// Another attempt, for this.
    Ask(Asked),
}

impl RetryLoop<'_> {
    /// Waits if the answer is not the result.
    pub(super) async fn after_success(&self, action: &Action, end: RunEnd) -> After {
        let (Some(rules), RunEnd::Succeeded(success)) = (&action.poll, &end) else { return After::End(end) };
        let Some(ask) = &success.ask else { return After::End(end) };
        // Why no wait: the vendor has said that the result is there.
        let wanted = if ask.result { Duration::ZERO } else { rules.interval };
        let asked_for = Duration::from_secs(ask.after_s.filter(|_| !ask.result).map_or(0, u64::from));
        let wait = wanted.max(asked_for);
        let until = rules.max.map_or(self.deadline, |max| self.deadline.min(self.started + max));
        if Instant::now() + wait >= until {
            return After::End(self.unfinished(success));
        }
        match self.unless_ended(tokio::time::sleep(wait)).await {
            Ok(()) => After::Ask(Asked { url: ask.url.clone(), result: ask.result }),
            Err(code) => After::End(RunEnd::plain(code)),
        }
    }

    /// The end of a call whose time is up before the vendor has finished.
    fn unfinished(&self, success: &Success) -> RunEnd {
        let asked_s = self.started.elapsed().as_secs();
        let message = format!(
            "the vendor has not finished after {asked_s} s; its work may go on, so the call must not simply be repeated"
        );
        RunEnd::Failed {
            code: Code::PollTimeout,
            message,
            class: Some("transient".to_owned()),
            upstream: success.upstream.as_ref().and_then(|answer| serde_json::to_value(answer).ok()),
            retryable: false,
            error: None,
            retry_at: None,
        }
    }
}
