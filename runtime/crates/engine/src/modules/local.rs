//! One call, or the examples, of a module on its author's machine: no server, no credential, no network.

use std::sync::Arc;

use portcullis_action::budget::{Budget, MATCHING_STEPS};
use portcullis_core::connector::Connector;
use portcullis_core::definition::{self, ExchangeDef};
use portcullis_core::input::check_input;
use portcullis_core::limits::Limits;
use portcullis_core::violation::{Violation, Violations};
use portcullis_sandbox::{LogLine, Module, Sandbox, Usage, inspect};
use serde_json::{Map, Value};

use super::examples;

/// A call to try.
#[derive(Debug)]
pub struct Call {
    /// The component.
    pub module: Vec<u8>,
    /// The connector's definition.
    pub definition: Value,
    /// The action's id.
    pub action: String,
    /// Its input.
    pub input: Map<String, Value>,
    /// Config values of the connection.
    pub config: Map<String, Value>,
    /// Recorded exchanges; without them nothing answers.
    pub exchanges: Option<Value>,
}

/// How it went.
#[derive(Debug)]
pub struct Tried {
    /// The requests that the module made.
    pub requests: Vec<String>,
    /// The lines that it wrote.
    pub log: Vec<LogLine>,
    pub usage: Usage,
    /// Its output as JSON, or why there is none.
    pub result: Result<String, String>,
    /// Whether nothing answered its first request.
    pub is_dry: bool,
}

fn load(bytes: &[u8], connector: &Connector, limits: &Arc<Limits>) -> Result<(Sandbox, Module), String> {
    let profile = connector.runtime.as_ref().map(|runtime| runtime.profile).unwrap_or_default();
    let report = inspect(bytes, profile, limits);
    if let Some(problem) = report.problems.first() {
        return Err(format!("{}: {}; {}", problem.code, problem.message, problem.mend));
    }
    let sandbox = Sandbox::for_modules(Arc::clone(limits)).map_err(|error| error.to_string())?;
    let module = sandbox.load(bytes).map_err(|error| error.to_string())?;
    Ok((sandbox, module))
}

fn connector_of(document: &Value, limits: &Limits) -> Result<Connector, String> {
    let checked = Connector::parse(document, limits);
    checked.connector.ok_or_else(|| {
        let told: Vec<String> =
            checked.errors.iter().map(|v| format!("{}: {} [{}]", v.pointer, v.message, v.code)).collect();
        format!("the definition has errors: {}", told.join("; "))
    })
}

/// Makes one call.
///
/// # Errors
/// What is wrong with the module, the definition or the call, before anything runs.
pub async fn call(call: &Call, limits: Limits) -> Result<Tried, String> {
    let limits = Arc::new(limits);
    let connector = connector_of(&call.definition, &limits)?;
    let (sandbox, module) = load(&call.module, &connector, &limits)?;
    let action = connector.action(&call.action).filter(|action| action.is_module);
    let action = action.ok_or_else(|| format!("no action {:?} has handler: \"module\"", call.action))?;
    let input = check_input(&action.inputs, &call.input, &Budget::matching(MATCHING_STEPS));
    let input = input.map_err(|problems| {
        let told: Vec<String> = problems.iter().map(|v| format!("{}: {}", v.pointer, v.message)).collect();
        format!("the input is refused: {}", told.join("; "))
    })?;
    let exchanges: Vec<ExchangeDef> = match &call.exchanges {
        Some(list) => serde_json::from_value(list.clone()).map_err(|e| format!("the exchanges: {e}"))?,
        None => Vec::new(),
    };
    let is_dry = call.exchanges.is_none();
    let given = (&input, &call.config);
    let (end, recorded) = examples::run(&sandbox, &module, (&connector, action), given, &exchanges).await;
    let problem =
        recorded.problem().filter(|_| !is_dry).map(|(index, why)| format!("exchange {index}: {why}"));
    let result = match (end.result, problem) {
        (Err(fault), _) => Err(fault.to_string()),
        (Ok(_), Some(problem)) => Err(problem),
        (Ok(Ok(document)), None) => output_of(&document),
        (Ok(Err(failure)), None) => Err(format!("{}: {}", failure.code, failure.message)),
    };
    Ok(Tried { requests: recorded.requests(), log: end.log.lines, usage: end.usage, result, is_dry })
}

/// The output in a module's document, as JSON.
fn output_of(document: &str) -> Result<String, String> {
    let read = serde_json::from_str::<Map<String, Value>>(document).ok();
    let output = read.and_then(|document| Some(document.get("output")?.to_string()));
    output.ok_or_else(|| "guest_output_invalid: the module's answer is no {\"output\": …}".to_owned())
}

/// Runs every example of every action that the module serves.
///
/// # Errors
/// What is wrong with the module or the definition, before anything runs.
pub async fn examples(module: &[u8], document: &Value, limits: Limits) -> Result<Vec<Violation>, String> {
    let limits = Arc::new(limits);
    let connector = connector_of(document, &limits)?;
    let (sandbox, module) = load(module, &connector, &limits)?;
    let mut unread = Violations::default();
    let definition = definition::read(document, &mut unread).ok_or("the definition cannot be read")?;
    Ok(examples::check(&sandbox, &module, &definition, &connector).await)
}
