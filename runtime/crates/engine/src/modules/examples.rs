//! Examples of a module's actions: each runs in the sandbox, with recorded answers in the place of the gate.

use std::sync::{Arc, Mutex};

use portcullis_action::budget::{Budget, MATCHING_STEPS};
use portcullis_core::connector::{Action, Connector, DEFAULT_SLOT};
use portcullis_core::definition::{Definition, ExampleDef, ExchangeDef, HandlerDef};
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::input::check_input;
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::RulesVerdict;
use portcullis_core::outbound::{
    BoxFuture, DenyReason, LimitKind, Outbound, OutboundError, OutboundRequest, OutboundResponse,
};
use portcullis_core::sync::lock;
use portcullis_core::verdict::{HostRules, OrgPolicy};
use portcullis_core::violation::Violation;
use portcullis_sandbox::{CallEnd, Invocation, Module, Sandbox};
use serde_json::{Map, Value};

use super::own_limits;

/// The time of every example: 2026-01-01T00:00:00Z, in milliseconds.
const NOW_MS: u64 = 1_767_225_600_000;
/// The run id of every example.
const RUN_ID: &str = "run_example";
/// The idempotency key of every example.
const KEY: &str = "example-key";

/// Runs every example of every action that the module serves; returns what does not come out as written.
pub(crate) async fn check(
    sandbox: &Sandbox,
    module: &Module,
    definition: &Definition,
    connector: &Connector,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, wire) in definition.actions.iter().enumerate() {
        let Some(action) = connector.action(&wire.action_id) else { continue };
        if wire.handler != HandlerDef::Module {
            continue;
        }
        for (at, example) in wire.examples.iter().enumerate() {
            let pointer = format!("/actions/{index}/examples/{at}");
            let run = Example { sandbox, module, connector, action, example };
            found.extend(run.check(&pointer).await);
        }
    }
    found
}

struct Example<'a> {
    sandbox: &'a Sandbox,
    module: &'a Module,
    connector: &'a Connector,
    action: &'a Action,
    example: &'a ExampleDef,
}

impl Example<'_> {
    async fn check(&self, pointer: &str) -> Option<Violation> {
        let differs = |member: &str, message: String| {
            Some(Violation::new(format!("{pointer}{member}"), "example_differs", message))
        };
        if self.example.expect_output.is_some() && self.example.expect_error.is_some() {
            return differs("/expect_error", "an answer is an output or an error, not both".to_owned());
        }
        let budget = Budget::matching(MATCHING_STEPS);
        let input = match check_input(&self.action.inputs, &self.example.input, &budget) {
            Ok(input) => input,
            Err(problems) => {
                let first = problems.into_iter().next()?;
                return Some(Violation::new(
                    format!("{pointer}{}", first.pointer),
                    first.code,
                    first.message,
                ));
            }
        };
        let ExampleDef { config, exchanges, .. } = self.example;
        let of = (self.connector, self.action);
        let (end, recorded) = run(self.sandbox, self.module, of, (&input, config), exchanges).await;
        if let Some((index, message)) = recorded.problem() {
            return differs(&format!("/exchanges/{index}/expect_request"), message);
        }
        match (end.result, &self.example.expect_output, &self.example.expect_error) {
            (Err(fault), ..) => differs("", format!("the module was ended: {fault}")),
            (Ok(Ok(output)), Some(expected), _) => {
                let document: Value = serde_json::from_str(&output).unwrap_or_default();
                let found = document.get("output").cloned().unwrap_or_default();
                (found != *expected)
                    .then(|| differs("/expect_output", format!("the output is {}", shown(&found))))?
            }
            (Ok(Ok(_)), None, Some(_)) => differs("/expect_error", "the call succeeds".to_owned()),
            (Ok(Err(failure)), _, Some(expected)) => {
                let class = failure.class.as_deref().unwrap_or("permanent");
                let fits = class == expected.class.as_str()
                    && expected.code.as_deref().is_none_or(|code| code == failure.code)
                    && expected.message.as_deref().is_none_or(|message| message == failure.message);
                (!fits).then(|| {
                    differs(
                        "/expect_error",
                        format!("the failure is {:?}: {:?}", failure.code, failure.message),
                    )
                })?
            }
            (Ok(Err(failure)), ..) => {
                differs("", format!("the module fails with {:?}: {:?}", failure.code, failure.message))
            }
            (Ok(Ok(_)), None, None) => None,
        }
    }
}

/// One call of a module with recorded answers, checked input and config.
pub(super) async fn run(
    sandbox: &Sandbox,
    module: &Module,
    (connector, action): (&Connector, &Action),
    (input, config): (&Map<String, Value>, &Map<String, Value>),
    exchanges: &[ExchangeDef],
) -> (CallEnd, Arc<Recorded>) {
    let text = |map: &Map<String, Value>| serde_json::to_string(map).unwrap_or_default();
    let invocation = Invocation {
        operation: action.id.as_str().to_owned(),
        plan: action.plan_json.clone(),
        input: text(input),
        config: text(config),
        run_id: RUN_ID.to_owned(),
        now_ms: NOW_MS,
        idempotency_key: Some(KEY.to_owned()),
    };
    let recorded = Arc::new(Recorded::new(connector, config, exchanges));
    let own = connector.module_of(action).map(own_limits).unwrap_or_default();
    let end = sandbox.call_within(module, own, invocation, Arc::clone(&recorded) as _).await;
    (end, recorded)
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(500).collect()
}

/// Recorded answers in the place of the gate, behind the same grant.
pub(crate) struct Recorded {
    grant: EgressGrant,
    exchanges: Vec<ExchangeDef>,
    state: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    next: usize,
    requests: Vec<String>,
    problem: Option<(usize, String)>,
}

impl Recorded {
    pub(crate) fn new(connector: &Connector, config: &Map<String, Value>, exchanges: &[ExchangeDef]) -> Self {
        let rules = HostRules {
            connector: connector.allowed_domains.clone(),
            ports: connector.ports.clone(),
            org: OrgPolicy::Unrestricted,
            org_rules: RulesVerdict::ALLOWED,
        };
        let requests = connector.runtime.iter().flat_map(|runtime| &runtime.requests);
        let scopes = requests.filter_map(|(method, url, _)| ActionScope::new(*method, url, config).ok());
        Self {
            grant: EgressGrant::new(rules, scopes.collect(), Limits::default().url_bytes),
            exchanges: exchanges.to_vec(),
            state: Mutex::default(),
        }
    }

    /// The first request that differs from its record.
    pub(crate) fn problem(&self) -> Option<(usize, String)> {
        let state = lock(&self.state);
        let unused = (state.next < self.exchanges.len())
            .then(|| (state.next, "the module never makes this request".to_owned()));
        state.problem.clone().or(unused)
    }

    /// The requests that were made, method and URL.
    pub(crate) fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }

    fn answer(&self, request: &OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        lock(&self.state).requests.push(format!("{} {}", request.method, request.url));
        let (verdict, permitted) = self.grant.permit(request.url.as_bytes(), request.method);
        if permitted.is_none() {
            let reason = verdict.refusal.map_or("refused", portcullis_core::fault::Code::as_str);
            let mut state = lock(&self.state);
            let at = state.next;
            let message = format!("the gate refuses {} {}: {reason}", request.method, request.url);
            state.problem.get_or_insert((at, message));
            return Err(OutboundError::Denied(DenyReason::PathNotGranted));
        }
        let mut state = lock(&self.state);
        let at = state.next;
        state.next += 1;
        let Some(exchange) = self.exchanges.get(at) else {
            let message = format!("the module makes a request more: {} {}", request.method, request.url);
            state.problem.get_or_insert((at, message));
            return Err(OutboundError::Limit { kind: LimitKind::Calls, limit: at as u64 });
        };
        if let Some(message) = difference(exchange, request) {
            state.problem.get_or_insert((at, message));
        }
        Ok(recorded(exchange))
    }
}

impl Outbound for Recorded {
    fn send(&self, request: OutboundRequest) -> BoxFuture<'_, Result<OutboundResponse, OutboundError>> {
        Box::pin(async move { self.answer(&request) })
    }
}

fn difference(exchange: &ExchangeDef, request: &OutboundRequest) -> Option<String> {
    let expected = exchange.expect_request.as_ref()?;
    if (expected.method, expected.url.as_str()) != (request.method, request.url.as_str()) {
        return Some(format!("the request is {} {}", request.method, request.url));
    }
    for (name, value) in &expected.headers {
        let own = request.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        if own.is_none_or(|(_, own)| own != value.as_bytes()) {
            let found = own.map_or("absent".into(), |(_, own)| String::from_utf8_lossy(own));
            return Some(format!("header {name} is {found:?}"));
        }
    }
    if request.credential.as_deref().is_some_and(|slot| slot != DEFAULT_SLOT) {
        return Some(format!("the credential slot is {:?}", request.credential));
    }
    let found: &[u8] = request.body.as_deref().unwrap_or_default();
    let fits = match &expected.body {
        None => found.is_empty(),
        Some(Value::String(text)) if text.as_bytes() == found => true,
        Some(value) => serde_json::from_slice::<Value>(found).is_ok_and(|found| found == *value),
    };
    (!fits).then(|| format!("the body is {}", shown(&String::from_utf8_lossy(found).into_owned().into())))
}

fn recorded(exchange: &ExchangeDef) -> OutboundResponse {
    let (headers, body) = exchange.response.as_received();
    OutboundResponse { status: exchange.response.status, headers, body, redacted: false }
}
