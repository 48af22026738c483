//! Previews: what an automation would do with an event, and the request that its call would send. It goes through the
//! same code as a dry run; nothing is sent or kept.

use portcullis_action::budget::Budget;
use portcullis_action::predicate::Predicate;
use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, OrgId, WorkspaceId};
use portcullis_core::offload;
use portcullis_core::verdict::OrgPolicy;
use portcullis_store::AutomationRecord;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::automations::{self, AutomationDefinition, Compiled, Destination};
use crate::call::pipeline::invoke;
use crate::call::run::{RunAttempt, RunEnd, SkipReason, not_in_org_text};
use crate::call::{CallRequest, Commitment};
use crate::caller::{Caller, ORG};
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;
use crate::runs::Run;
use crate::schedules;
use crate::tenants::{self, Tenant};
use crate::workspace_values::{self, Given, StandIn, stood_in};

mod no_workspace;

/// Stands for the workspace of a preview in none.
const NO_WORKSPACE: &str = "preview";

/// What a preview is made with.
pub struct PreviewWish {
    /// The document that conditions and mapping read.
    pub source: Map<String, Value>,
    /// The workspace whose connection is used, or none.
    pub workspace: Option<String>,
    /// Shared with the connection that waits.
    pub commitment: Commitment,
}

/// What an automation would do.
pub struct Preview {
    /// Each condition by itself, in the order in which they are written.
    pub conditions: Vec<JudgedCondition>,
    /// Whether it would fire: it is switched on, and its conditions hold together.
    pub fires: bool,
    /// What the mapping makes, whether it would fire or not.
    pub input: Option<Map<String, Value>>,
    /// The dry run, or a run that ended before its request.
    pub run: Option<Box<Run>>,
    /// When its schedule would fire next, RFC 3339; none without a schedule.
    pub next_times: Vec<String>,
    /// Why the call would be skipped, whatever the event.
    pub reason: Option<SkipReason>,
    /// What is wrong with the event, the mapping or the call.
    pub problem: Option<Error>,
}

/// One condition, judged by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JudgedCondition {
    /// The path in the source.
    pub path: String,
    pub verdict: ConditionVerdict,
    /// What is compared: `eq`, `in`, `exists` and so on.
    pub test: String,
    /// JSON pointer to the condition in `entry_conditions`; inside `not`, the whole holds if this does not.
    pub pointer: String,
}

/// Whether a condition holds for a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConditionVerdict {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// Finding out would cost too much on this source.
    TooCostly,
    /// It compares with what a workspace sets, and the preview is in none.
    NeedsWorkspace,
}

/// Shows what a stored automation would do.
///
/// # Errors
/// Those of [`Caller::authorise`], `automation_not_found`, `workspace_not_found`, `overloaded`. What is wrong with the
/// source or the call is part of the preview.
pub async fn of_stored(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    id: &str,
    wish: PreviewWish,
) -> Result<Preview, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let missing = || Error::plain(Code::AutomationNotFound);
    let id = AutomationId::parse(id).map_err(|_| missing())?;
    let resources = &engine.resources;
    let found = resources.records.get_shared::<AutomationRecord>(&[org.as_str(), id.as_str()]).await?;
    let (record, commit) = found.ok_or_else(missing)?;
    offload::to_worker().await;
    let compiled = resources.automations.of(&record, commit, &resources.limits)?;
    let automation = Shown { document: &record.definition, compiled: &compiled, id: Some(id) };
    automation.preview(engine, caller, org, wish).await
}

/// Shows what an automation would do that is not saved.
///
/// # Errors
/// As for [`of_stored`], and `validation_failed` with every violation of the automation.
pub async fn of_draft(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    automation: &AutomationDefinition,
    wish: PreviewWish,
) -> Result<Preview, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    offload::to_worker().await;
    let checked = automations::check(&engine.resources, org, automation).await;
    let checked = checked.map_err(|error| below(error, "/automation"))?;
    let automation = Shown { document: &checked.document, compiled: &checked.compiled, id: None };
    automation.preview(engine, caller, org, wish).await
}

/// An error of a document that stands at this place of the request.
fn below(mut error: Error, place: &str) -> Error {
    for violation in &mut error.violations {
        violation.pointer.insert_str(0, place);
    }
    if let Some(pointer) = &mut error.pointer {
        pointer.insert_str(0, place);
    }
    error
}

/// An automation that is shown.
struct Shown<'a> {
    document: &'a Value,
    compiled: &'a Compiled,
    id: Option<AutomationId>,
}

impl Shown<'_> {
    async fn preview(
        &self,
        engine: &Engine,
        caller: &Caller,
        org: &OrgId,
        wish: PreviewWish,
    ) -> Result<Preview, Error> {
        let tenant = match &wish.workspace {
            Some(workspace) => Some(tenants::find_workspace(engine, org.as_str(), workspace).await?),
            None => None,
        };
        let resources = &engine.resources;
        let source = Value::Object(wish.source);
        let (given, stand_ins) = match &tenant {
            Some(Tenant { org, workspace, .. }) => {
                let used = self.compiled.given();
                (workspace_values::given(resources, org, workspace, used).await?, Vec::new())
            }
            None => stood_in(org.as_str(), self.compiled.given()),
        };
        let conditions = self.document.get("entry_conditions").filter(|conditions| !conditions.is_null());
        let conditions = conditions.map_or_else(Vec::new, |conditions| {
            let on = On { source: &source, given: &given, is_placed: tenant.is_some() };
            judged(conditions, on, &Budget::matching(resources.limits.matching_steps))
        });
        let (holds, problem) = match self.compiled.holds(&source, &given, &resources.limits) {
            Ok(holds) => (holds, None),
            Err(error) => (false, Some(error)),
        };
        let fires = holds && self.compiled.is_enabled();
        let next_times = schedules::next_times(resources, self.document);
        let mut preview =
            Preview { conditions, fires, input: None, run: None, next_times, reason: None, problem };
        let budget = Budget::rendering(resources.limits.rendered_bytes);
        let input = match self.compiled.map(&source, &given, &budget) {
            Ok(input) => input,
            Err(error) => {
                preview.problem.get_or_insert(error);
                return Ok(preview);
            }
        };
        let mut shown = hidden(resources, self.document, input.clone()).await?;
        shown.values_mut().for_each(|value| StandIn::show_in(&stand_ins, value));
        preview.input = Some(shown);
        let call = self.call(org, tenant.as_ref(), caller, input, wish.commitment)?;
        // Why: a guest makes the request, and guests have no more room than admitted calls.
        let place = tenant.as_ref().map_or("", |tenant| tenant.workspace.as_str());
        let _permit = engine.admit(org.as_str(), place).await?;
        let ended = match &tenant {
            Some(_) => invoke(engine, call).await,
            None => no_workspace::invoke(engine, &call).await,
        };
        match ended {
            Ok(run) => {
                let policy = resources.cache.policy(org.as_str()).await?;
                preview.ended(run, &policy.policy);
            }
            Err(error) => {
                preview.problem.get_or_insert(self.compiled.explained(error));
            }
        }
        preview.show(&stand_ins);
        Ok(preview)
    }

    fn call(
        &self,
        org: &OrgId,
        tenant: Option<&Tenant>,
        caller: &Caller,
        input: Map<String, Value>,
        commitment: Commitment,
    ) -> Result<CallRequest, Error> {
        let destination = Destination::of(self.document);
        let workspace = match tenant {
            Some(tenant) => tenant.workspace.clone(),
            None => WorkspaceId::parse(NO_WORKSPACE)?,
        };
        Ok(CallRequest {
            org: org.clone(),
            workspace,
            workspace_commit: tenant.map_or(0, |tenant| tenant.commit),
            seen: tenant.map_or(0, |tenant| tenant.seen),
            connector_id: destination.connector_id.to_owned(),
            connection: destination.connection()?,
            action_id: destination.action_id.to_owned(),
            run_id: None,
            input,
            automation_id: self.id.clone(),
            event_id: None,
            token_id: caller.token_id.clone(),
            skip: None,
            dry_run: true,
            key: None,
            commitment,
        })
    }
}

impl Preview {
    /// Shows names in the place of what stands for a workspace's values.
    fn show(&mut self, stand_ins: &[StandIn]) {
        if let Some(run) = &mut self.run {
            for one in stand_ins {
                if let Some(dry_run) = &mut run.progress.dry_run {
                    dry_run.replace(&one.text, &one.shown);
                }
            }
            if let RunEnd::Failed { message, .. } = &mut run.end {
                StandIn::show_all(stand_ins, message);
            }
        }
        if let Some(problem) = &mut self.problem {
            StandIn::show_all(stand_ins, &mut problem.detail);
            for violation in &mut problem.violations {
                StandIn::show_all(stand_ins, &mut violation.message);
            }
        }
    }

    /// Adds what came of the dry run. The org may see which entries of its own list come nearest.
    fn ended(&mut self, run: Run, policy: &OrgPolicy) {
        match &run.end {
            RunEnd::Skipped(reason) => self.reason = Some(*reason),
            RunEnd::Failed { code, message, .. } if run.progress.dry_run.is_none() => {
                let host = run.progress.timeline.attempts().last().and_then(RunAttempt::host);
                let detail = match host.filter(|_| *code == Code::HostNotInOrg) {
                    Some(host) => not_in_org_text(host, policy),
                    None => message.clone(),
                };
                self.problem.get_or_insert(Error::new(*code, detail));
            }
            // A dry run is ended by the gate, once it has the request.
            RunEnd::Failed { .. } | RunEnd::Succeeded(_) => {}
        }
        self.run = Some(Box::new(run));
    }
}

/// The input as it may be shown: the value of a sensitive one is its name, as in the request.
async fn hidden(
    resources: &Resources,
    document: &Value,
    mut input: Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    let destination = Destination::of(document);
    let Some(loaded) = resources.cache.connector(destination.connector_id).await? else { return Ok(input) };
    let inputs = loaded.connector.action(destination.action_id).into_iter().flat_map(|action| &action.inputs);
    for sensitive in inputs.filter(|input| input.sensitive) {
        if let Some(value) = input.get_mut(&sensitive.name).filter(|value| !value.is_null()) {
            *value = Value::String(format!("<input {}>", sensitive.name));
        }
    }
    Ok(input)
}

/// Each condition by itself. They share a budget, so that many cost no more than one.
fn judged(conditions: &Value, on: On<'_>, budget: &Budget) -> Vec<JudgedCondition> {
    let mut found = Vec::new();
    judge_below(conditions, String::new(), on, budget, &mut found);
    found
}

/// What conditions are judged on.
#[derive(Clone, Copy)]
struct On<'a> {
    source: &'a Value,
    given: &'a Given,
    /// Whether there is a workspace.
    is_placed: bool,
}

fn judge_below(
    condition: &Value,
    pointer: String,
    on: On<'_>,
    budget: &Budget,
    found: &mut Vec<JudgedCondition>,
) {
    // Why it ends: what is written here was read as a predicate, which has a greatest depth.
    let members = match condition {
        Value::Array(all) => {
            for (number, inner) in all.iter().enumerate() {
                judge_below(inner, format!("{pointer}/{number}"), on, budget, found);
            }
            return;
        }
        Value::Object(members) => members,
        _ => return,
    };
    let Some(path) = members.get("path").and_then(Value::as_str) else {
        for (name, inner) in members {
            judge_below(inner, format!("{pointer}/{name}"), on, budget, found);
        }
        return;
    };
    let predicate = Predicate::parse_given(condition).ok();
    let of_workspace = |predicate: &Predicate| predicate.given().iter().any(|v| v.starts_with("workspace."));
    let needs_workspace = !on.is_placed && predicate.as_ref().is_some_and(of_workspace);
    let documents = on.given.documents();
    let holds = predicate.map(|predicate| predicate.holds_given(on.source, &documents, budget));
    let verdict = match holds {
        _ if needs_workspace => ConditionVerdict::NeedsWorkspace,
        Some(Ok(true)) => ConditionVerdict::Holds,
        Some(Err(_)) => ConditionVerdict::TooCostly,
        Some(Ok(false)) | None => ConditionVerdict::Fails,
    };
    let test = members.keys().find(|name| *name != "path").cloned().unwrap_or_default();
    found.push(JudgedCondition { path: path.to_owned(), verdict, test, pointer });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn on<'a>(source: &'a Value, given: &'a Given) -> On<'a> {
        On { source, given, is_placed: true }
    }

    #[test]
    fn a_condition_on_what_a_workspace_sets_needs_one() {
        let conditions = json!([
            { "path": "/owner", "eq": "{{workspace.values.owner}}" },
            { "path": "/org", "eq": "{{org.id}}" },
        ]);
        let source = json!({ "owner": "7", "org": "acme" });
        let (given, _) = stood_in("acme", &["workspace.values.owner".to_owned()]);
        let nowhere = On { is_placed: false, ..on(&source, &given) };
        let found = judged(&conditions, nowhere, &Budget::matching(1000));
        let verdicts: Vec<_> = found.iter().map(|one| one.verdict).collect();
        assert_eq!(verdicts, [ConditionVerdict::NeedsWorkspace, ConditionVerdict::Holds]);
        let values = json!({ "owner": "7" }).as_object().cloned().unwrap();
        let given = Given::new("acme", "main", values);
        let found = judged(&conditions, on(&source, &given), &Budget::matching(1000));
        assert!(found.iter().all(|one| one.verdict == ConditionVerdict::Holds));
    }

    #[test]
    fn each_condition_is_judged_by_itself_with_its_path() {
        let conditions = json!([
            { "path": "/stage", "in": ["won", "lost"] },
            { "any": [{ "path": "/amount", "gt": 5 }, { "not": { "path": "/tags/*", "eq": "vip" } }] },
        ]);
        let source = json!({ "stage": "open", "amount": 7, "tags": ["vip"] });
        let none = Given::default();
        let found = judged(&conditions, on(&source, &none), &Budget::matching(1000));
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.pointer.as_str(), one.path.as_str(), one.test.as_str(), one.verdict))
            .collect();
        assert_eq!(
            told,
            [
                ("/0", "/stage", "in", ConditionVerdict::Fails),
                ("/1/any/0", "/amount", "gt", ConditionVerdict::Holds),
                ("/1/any/1/not", "/tags/*", "eq", ConditionVerdict::Holds),
            ]
        );
        let one =
            judged(&json!({ "path": "/stage", "eq": "open" }), on(&source, &none), &Budget::matching(1000));
        assert_eq!((one[0].pointer.as_str(), one[0].verdict), ("", ConditionVerdict::Holds));
    }

    #[test]
    fn conditions_share_what_they_may_cost() {
        let wanted = json!({ "path": "/text", "contains": "b" });
        let source = json!({ "text": "a".repeat(1000) });
        let none = Given::default();
        let found = judged(&json!([wanted, wanted, wanted]), on(&source, &none), &Budget::matching(2500));
        let verdicts: Vec<_> = found.iter().map(|one| one.verdict).collect();
        assert_eq!(verdicts, [ConditionVerdict::Fails, ConditionVerdict::Fails, ConditionVerdict::TooCostly]);
    }
}
