//! A dry run in no workspace: an automation is written before there is a connection, and its author wants to see the
//! request. What a workspace would give is shown by its name: `<config NAME>`, `<credential NAME>`.
//!
//! A config value may stand in a host or a path, where such a text may not. So a plain text stands for it on the way
//! to the request, and is replaced in what is shown.

use std::sync::Arc;

use portcullis_action::budget::Budget;
use portcullis_core::connector::{Action, Connector, DEFAULT_SLOT};
use portcullis_core::fault::Code;
use portcullis_core::form::Field;
use portcullis_core::id::RunId;
use portcullis_core::input::check_input;
use portcullis_core::outbound::BoxFuture;
use portcullis_core::secret::SecretFields;
use portcullis_egress::{BoundCredential, CredentialError, OpenCredential};
use serde_json::Value;

use crate::call::CallRequest;
use crate::call::active_calls::CallScope;
use crate::call::org_rules::Refused;
use crate::call::prepare::{Ready, name};
use crate::call::retry_loop::RetryLoop;
use crate::call::run::{Progress, RunEnd, SkipReason};
use crate::clock;
use crate::connection::{ConnectionKey, LoadedConnection};
use crate::engine::Engine;
use crate::error::Error;
use crate::runs::Run;

/// A credential that nobody saved. It passes the checks of a request, and there is nothing to open.
struct Unsaved;

impl OpenCredential for Unsaved {
    fn open<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<SecretFields, CredentialError>> {
        Box::pin(async { Err(CredentialError::Closed) })
    }
}

/// What stands for the value of a config field.
struct StandIn {
    field: String,
    text: String,
}

/// Makes a dry run.
///
/// # Errors
/// As a call: `connector_not_found`, `action_not_found`, `input_invalid` and others if there is no request to show.
pub(super) async fn invoke(engine: &Engine, call: &CallRequest) -> Result<Run, Error> {
    let resources = &engine.resources;
    let named = name(resources, call).await?;
    let action = named.action()?;
    let connector = &named.loaded.connector;
    let run = Run {
        id: clock::fresh("run", RunId::parse)?,
        connector_id: connector.id.clone(),
        connection: call.connection.clone(),
        action_id: action.id.clone(),
        revision: named.loaded.revision,
        automation_id: call.automation_id.clone(),
        event_id: None,
        end: RunEnd::Skipped(SkipReason::ConnectorDisabled),
        progress: Progress::default(),
    };
    if !connector.enabled {
        return Ok(run);
    }
    let matching = Budget::matching(resources.limits.matching_steps);
    let input = check_input(&action.inputs, &call.input, &matching)
        .map_err(|violations| Error::violations(Code::InputInvalid, violations))?;
    let stand_ins = stand_ins(connector, action);
    let key = ConnectionKey {
        org: call.org.clone(),
        workspace: call.workspace.clone(),
        connector: connector.id.clone(),
        name: call.connection.clone(),
    };
    let policy = resources.cache.policy(call.org.as_str()).await?;
    let config = stand_ins.iter().map(|one| (one.field.clone(), Value::String(one.text.clone())));
    let mut connection = LoadedConnection::stood_in(
        key,
        Arc::clone(&named.loaded),
        policy,
        config.collect(),
        unsaved(connector),
    );
    connection.judge_for(&named)?;
    let mut progress = Progress::default();
    if connection.refusal().is_some() {
        let refused = Refused::of(&connection, &named)?;
        let end = refused.end(resources, call, &run.id, &mut progress).await;
        return Ok(Run { end, progress, ..run });
    }
    // Why registered: a process that stops ends it.
    let handle = resources.active_calls.register(CallScope::of(call), call.commitment.clone());
    let ready = Ready { connection, input };
    let mut end = RetryLoop::new(engine, call, &run.id, &named, &handle).run(ready, &mut progress).await?;
    for one in &stand_ins {
        let shown = format!("<config {}>", one.field);
        if let Some(dry_run) = &mut progress.dry_run {
            dry_run.replace(&one.text, &shown);
        }
        if let RunEnd::Failed { message, .. } = &mut end {
            *message = message.replace(&one.text, &shown);
        }
    }
    Ok(Run { end, progress, ..run })
}

/// The credential of a connection that nobody made, for every host of the connector.
fn unsaved(connector: &Connector) -> BoundCredential {
    BoundCredential {
        slot: DEFAULT_SLOT.to_owned(),
        version: 0,
        allowed_hosts: connector.allowed_domains.iter().map(|entry| entry.as_str().to_owned()).collect(),
        source: Arc::new(Unsaved),
    }
}

fn stand_ins(connector: &Connector, action: &Action) -> Vec<StandIn> {
    let urls = std::iter::once(&action.url).chain(&action.page_urls);
    let of_module = connector.module_of(action).into_iter().flat_map(|runtime| &runtime.requests);
    let hosts: Vec<&str> = urls
        .chain(of_module.map(|(_, url, _)| url))
        .filter_map(|url| url.host_variable())
        .map(|variable| variable.name.as_str())
        .collect();
    let visible = connector.fields.iter().enumerate().filter(|(_, field)| !field.secret);
    let made = visible.map(|(number, field)| {
        // Why a letter at the end: so that none is the beginning of another one.
        let plain = format!("pcconfig{number}x");
        let text = if hosts.contains(&field.name.as_str()) { host(connector, field, plain) } else { plain };
        StandIn { field: field.name.clone(), text }
    });
    made.collect()
}

/// A host that a workspace might choose: the request passes the connector's list as it would with one.
fn host(connector: &Connector, field: &Field, plain: String) -> String {
    let chosen = field.default.clone();
    let chosen = chosen.or_else(|| Some(field.accepted.as_ref()?.first()?.value.clone()));
    let listed = || {
        let entry = connector.allowed_domains.first()?;
        Some(entry.below().map_or_else(|| entry.as_str().to_owned(), |below| format!("{plain}.{below}")))
    };
    chosen.or_else(listed).unwrap_or_else(|| plain.clone())
}
