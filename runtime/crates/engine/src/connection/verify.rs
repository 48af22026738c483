//! Verifies a saved credential with the definition's test request, made through the same gate as every call.

use portcullis_action::template::scalar_text;
use portcullis_core::connector::Action;
use portcullis_core::fault::Code;
use portcullis_core::id::RunId;
use serde_json::{Map, Value};

use super::health::{self, Seen, Watched};
use super::state::ConnectionState;
use super::{AskedConnection, Subject};
use crate::breaker::Asking;
use crate::call::active_calls::CallScope;
use crate::call::org_rules::Refused;
use crate::call::prepare::{Named, Ready, granted};
use crate::call::retry_loop::RetryLoop;
use crate::call::run::{Progress, RunEnd};
use crate::call::{CallRequest, Commitment};
use crate::caller::Caller;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::invalidation;
use crate::oauth::renewal::Need;
use crate::org_limits;
use crate::tenants::Tenant;

/// Longest account name that is shown, characters.
const LABEL_CHARS_MAX: usize = 200;

/// Longest message that is shown, characters.
const MESSAGE_CHARS_MAX: usize = 500;

/// The result of a verification: whether the credential works and for which account; never what was sent, and of
/// the upstream's answer only the label.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Whether the credential works.
    pub ok: bool,
    /// Name of the account.
    pub label: Option<String>,
    /// Why it does not work: a code, or the reason of a skip.
    pub code: Option<String>,
    /// The reason as a sentence for people.
    pub message: Option<String>,
    /// Class of the upstream's error.
    pub class: Option<String>,
    /// The upstream's status.
    pub status: Option<u16>,
    /// The run's id in the ledger.
    pub run_id: Option<RunId>,
}

impl Verified {
    fn failed(error: &Error) -> Self {
        Self {
            code: Some(error.code.as_str().to_owned()),
            message: Some(error.detail.clone()),
            ..Self::default()
        }
    }
}

/// Tries the saved credential.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `connector_disabled`, `not_found` if the definition has no
/// test or there is no such named connection, `credential_needs_attention` if nothing is saved, `connector_not_allowed`
/// and `action_not_allowed`.
pub async fn verify<'a>(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    asked: impl Into<AskedConnection<'a>>,
    commitment: Commitment,
) -> Result<Verified, Error> {
    let subject = Subject::existing(engine, caller, tenant, asked).await?;
    let none = || Error::new(Code::NotFound, "this connector's definition has no test");
    let named = Named::test(std::sync::Arc::clone(&subject.loaded)).ok_or_else(none)?;
    subject.require_enabled()?;
    let mut connection = subject.load(engine).await?;
    match connection.stored.state(&subject.loaded.connector) {
        ConnectionState::OptedOut | ConnectionState::Unconfigured => {
            let detail = "there is no saved credential to try";
            return Err(Error::new(Code::CredentialNeedsAttention, detail));
        }
        ConnectionState::Connected | ConnectionState::NeedsAttention => {}
    }
    let run = clock::fresh("run", RunId::parse)?;
    if let Err(error) = connection.require_allowed() {
        Refused::of(&connection, &named)?.record(&engine.resources, &run, None).await?;
        return Err(error);
    }
    org_limits::count_call(engine, &tenant.org).await?;
    let action = named.action()?;
    let call = CallRequest {
        org: subject.key.org.clone(),
        workspace: subject.key.workspace.clone(),
        workspace_commit: tenant.commit,
        seen: tenant.seen,
        connector_id: subject.key.connector.as_str().to_owned(),
        connection: subject.key.name.clone(),
        action_id: action.id.as_str().to_owned(),
        run_id: None,
        input: Map::new(),
        automation_id: None,
        event_id: None,
        token_id: caller.token_id.clone(),
        skip: None,
        dry_run: false,
        key: None,
        commitment,
    };
    // Why before it is tried: what cannot be recorded is not done.
    let target = format!("connection/{}", subject.key.parts().join("/"));
    engine.resources.record_act(&subject.key.org, target).await?;
    let handle = engine.resources.active_calls.register(CallScope::of(&call), call.commitment.clone());
    engine.resources.freshness.check()?;
    // Why now: a person who asks does not wait for the time of the next attempt.
    if let Err(error) =
        engine.renewal.fresh(&mut connection, &run, (Need::Now, Asking::Nothing), &handle).await
    {
        return Ok(Verified::failed(&error));
    }
    let input = defaults(action);
    match granted(&connection, &named, named.action_of(connection.connector())?) {
        Ok(granted) => handle.set_granted(granted),
        Err(error) => return Ok(Verified::failed(&error)),
    }
    // Why: what changed since the connection was read knew nothing of what is granted here.
    invalidation::judge_one(&engine.resources, &handle).await;
    let watched = Watched::of(&connection);
    let ready = Ready { connection, input };
    let mut progress = Progress::default();
    let tried = RetryLoop::new(engine, &call, &run, &named, &handle).run(ready, &mut progress).await;
    let seen = tried.as_ref().ok().and_then(Seen::of_test);
    if let Some((watched, seen)) = watched.zip(seen) {
        health::note(&engine.resources, &watched, &seen).await;
    }
    let label = subject.loaded.connector.test.as_ref().and_then(|test| test.label.as_deref());
    Ok(verdict(tried, run, label))
}

fn defaults(action: &Action) -> Map<String, Value> {
    let given = action.inputs.iter().filter_map(|i| i.default.clone().map(|value| (i.name.clone(), value)));
    given.collect()
}

fn verdict(tried: Result<RunEnd, Error>, run: RunId, label: Option<&str>) -> Verified {
    match tried {
        Err(error) => Verified::failed(&error),
        Ok(RunEnd::Succeeded(success)) => {
            let output = success.output();
            let label = label.and_then(|pointer| output.pointer(pointer)).and_then(scalar_text);
            let label = label.map(|text| text.chars().take(LABEL_CHARS_MAX).collect());
            Verified { ok: true, label, run_id: Some(run), ..Verified::default() }
        }
        Ok(RunEnd::Skipped(_)) => Verified { run_id: Some(run), ..Verified::default() },
        // Why the call's message: it has the third party's words, where the definition says where they are. They were
        // scrubbed with the rest of the answer.
        Ok(RunEnd::Failed { code, message, class, upstream, .. }) => {
            let status = upstream.as_ref().and_then(|answer| answer.get("status")).and_then(Value::as_u64);
            Verified {
                ok: false,
                label: None,
                code: Some(code.as_str().to_owned()),
                message: Some(message.chars().take(MESSAGE_CHARS_MAX).collect()),
                class,
                status: status.and_then(|status| u16::try_from(status).ok()),
                run_id: Some(run),
            }
        }
    }
}
