//! One case: a definition, and what is done with it while it is checked and while it serves calls.

use std::fmt;

use portcullis_action::budget::Budget;
use portcullis_action::mapping::Mapping;
use portcullis_action::predicate::Predicate;
use portcullis_action::{ActionPlan, Judge, Outcome, Pages, RenderedRequest, Values};
use portcullis_core::connector::{Action, Connector};
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::input::{self, check_input};
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::RulesVerdict;
use portcullis_core::verdict::{HostRules, OrgPolicy};
use serde_json::{Map, Value, json};

use crate::definition::definition;
use crate::measure::{Allowance, TooDear, step};
use crate::random::Random;
use crate::values;

/// To check a definition, with its examples and patterns: an upload, on a thread beside those that serve calls.
const CHECK: Allowance = Allowance { ms: 500, ns_per_byte: 3000, mib: 64, times: 100 };
/// What a call does with what the caller, the org or the upstream supplied.
const SERVE: Allowance = Allowance { ms: 100, ns_per_byte: 500, mib: 48, times: 24 };

/// What was done so far, to see that the cases go deep.
#[derive(Default)]
pub(crate) struct Done {
    cases: u64,
    accepted: u64,
    mapped: u64,
    rendered: u64,
    judged: u64,
    pages: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, accepted, mapped, rendered, judged, pages } = self;
        write!(
            f,
            "{cases} cases; {accepted} definitions accepted, {mapped} mappings resolved, {rendered} requests rendered, \
             {judged} answers judged, {pages} pages followed"
        )
    }
}

/// Makes the case of a seed and runs it.
pub(crate) fn run(seed: u64, done: &mut Done) -> Result<(), TooDear> {
    let mut random = Random::new(seed);
    let limits = Limits::default();
    done.cases += 1;
    let text = definition(&mut random).to_string();
    let checked = step("definition", text.len(), CHECK, || Connector::parse_bytes(text.as_bytes(), &limits))?;
    let Some(connector) = checked.connector else { return Ok(()) };
    done.accepted += 1;
    for _ in 0..connector.actions.len().min(3) {
        let at = random.below(connector.actions.len());
        if let Some(action) = connector.actions.get(at) {
            Case { random: &mut random, connector: &connector, action, limits: &limits }.serve(done)?;
        }
    }
    Ok(())
}

/// The definition of a seed, and what is wrong with it.
pub(crate) fn shown(seed: u64) -> String {
    let made = definition(&mut Random::new(seed));
    let checked = Connector::parse(&made, &Limits::default());
    let errors: Vec<Value> =
        checked.errors.iter().take(20).map(|v| json!([v.pointer, v.code, v.message])).collect();
    format!("{made:#}\n{:#}", Value::Array(errors))
}

struct Case<'c> {
    random: &'c mut Random,
    connector: &'c Connector,
    action: &'c Action,
    limits: &'c Limits,
}

impl Case<'_> {
    fn serve(&mut self, done: &mut Done) -> Result<(), TooDear> {
        let nodes = if self.random.one_in(10) { 50_000 } else { 200 };
        let source = Value::Object(values::with_names(self.random, nodes));
        let size = source.to_string().len();
        self.conditions(&source, size)?;
        let Some(input) = self.map(&source, size)? else { return Ok(()) };
        done.mapped += 1;
        let input_size = Value::Object(input.clone()).to_string().len();
        let matching = Budget::matching(self.limits.matching_steps);
        // What the product goes by, too, when it decides on which thread an input is checked.
        let size = input_size.saturating_add(input::effort(&self.action.inputs, &input));
        let checked = step("input", size, SERVE, || check_input(&self.action.inputs, &input, &matching))?;
        let input = checked.unwrap_or(input);
        let config: Map<String, Value> = values::with_names(self.random, 5);
        let rendering = Budget::rendering(self.limits.rendered_bytes);
        let given = Values {
            input: (&input).into(),
            action_id: "act",
            run_id: "run_1",
            now_ms: 1_795_343_400_250,
            ..Values::config_only(&config)
        };
        let given = given.within(&rendering);
        let plan_size = self.action.plan_json.len();
        let rendered = step("request", input_size + plan_size, SERVE, || {
            portcullis_action::render::render_request(&self.action.plan, &given)
        })?;
        let Ok(rendered) = rendered else { return Ok(()) };
        done.rendered += 1;
        self.answers(&rendered, &config, done)
    }

    fn conditions(&mut self, source: &Value, size: usize) -> Result<(), TooDear> {
        let predicate = values::predicate(self.random, 4);
        let written = predicate.to_string().len();
        let read = step("condition", written, CHECK, || Predicate::parse(&predicate))?;
        if let Ok(read) = read {
            let budget = Budget::matching(self.limits.matching_steps);
            step("condition's evaluation", size + written, SERVE, || read.holds(source, &budget).is_ok())?;
        }
        Ok(())
    }

    /// A mapping to the action's inputs, resolved; `None` if it is refused.
    fn map(&mut self, source: &Value, size: usize) -> Result<Option<Map<String, Value>>, TooDear> {
        let mut made = Map::new();
        for input in self.action.inputs.iter().take(20) {
            // Most are texts, as the templates of requests need them.
            let levels = if self.random.one_in(20) { 3 } else { 0 };
            made.insert(input.name.clone(), template_tree(self.random, levels));
        }
        for at in 0..self.random.rarely_many(10, 400, 3) {
            made.insert(format!("extra{at}"), json!(values::template(self.random, &["source"])));
        }
        let written = Value::Object(made.clone()).to_string().len();
        let Ok(mapping) = step("mapping", written, CHECK, || Mapping::parse(&made))? else { return Ok(None) };
        let budget = Budget::rendering(self.limits.rendered_bytes);
        Ok(step("mapping's resolution", size + written, SERVE, || mapping.resolve(source, &budget))?.ok())
    }

    fn answers(
        &mut self,
        first: &RenderedRequest,
        config: &Map<String, Value>,
        done: &mut Done,
    ) -> Result<(), TooDear> {
        let plan: &ActionPlan = &self.action.plan;
        let plan_size = self.action.plan_json.len();
        let Ok(judge) = step("rules", plan_size, CHECK, || Judge::new(plan))? else { return Ok(()) };
        let mut pages = plan.pagination.as_ref().map(|list| Pages::new(list, first));
        let mut last = first.clone();
        for _ in 0..4 {
            let (headers, body) = self.answer();
            let size = body.len() + plan_size + headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
            let status = if self.random.one_in(3) { 400 } else { 200 };
            let answer = step("answer", size, SERVE, || judge.answer(status, &headers, &body))?;
            done.judged += 1;
            let Some(pages) = pages.as_mut().filter(|_| matches!(answer.outcome, Outcome::Success { .. }))
            else {
                continue;
            };
            let next = step("next page", size + last.url.len(), SERVE, || pages.next(&last, &answer))?;
            let Ok(Some(next)) = next else { continue };
            done.pages += 1;
            self.gate(&next, config)?;
            last = next;
        }
        Ok(())
    }

    /// Whether the gate would let it go, which is all that matters here of the gate.
    fn gate(&mut self, next: &RenderedRequest, config: &Map<String, Value>) -> Result<(), TooDear> {
        let Ok(scope) = ActionScope::new(self.action.method, &self.action.url, config) else { return Ok(()) };
        let rules = HostRules {
            connector: self.connector.allowed_domains.clone(),
            ports: vec![],
            org: OrgPolicy::Unrestricted,
            org_rules: RulesVerdict::ALLOWED,
        };
        let grant = EgressGrant::new(rules, vec![scope], 8192);
        let size = next.url.len() + self.action.plan_json.len();
        step("gate", size, SERVE, || grant.permit(next.url.as_bytes(), next.method)).map(drop)
    }

    fn answer(&mut self) -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
        let random = &mut *self.random;
        let nodes = if random.one_in(10) { 50_000 } else { 200 };
        let body = if random.one_in(6) {
            values::text(random, 20_000).into_bytes()
        } else {
            let mut body = values::members(random, nodes, 5);
            body.insert("items".to_owned(), Value::Array(vec![json!({ "id": 1 }); random.count(500)]));
            let next = if random.one_in(2) {
                format!("/{}", "-".repeat(random.count(7000)))
            } else {
                values::text(random, 300)
            };
            body.insert("next".to_owned(), json!(next));
            Value::Object(body).to_string().into_bytes()
        };
        let link = format!("<https://api.example.com/{}>; rel=\"next\"", values::text(random, 50));
        let kind =
            random.pick(&["application/json", "text/plain", "application/xml", "text/html; charset=utf-16"]);
        (vec![("content-type".to_owned(), kind.into()), ("link".to_owned(), link.into_bytes())], body)
    }
}

/// A value of a mapping: a template, or a list or object of them.
fn template_tree(random: &mut Random, levels: usize) -> Value {
    match random.below(if levels == 0 { 1 } else { 4 }) {
        1 => (0..random.count(300)).map(|_| template_tree(random, levels - 1)).collect(),
        2 => (0..random.count(50))
            .map(|at| (format!("m{at}"), template_tree(random, levels - 1)))
            .collect::<Map<_, _>>()
            .into(),
        3 => json!(values::plain(random, 2000)),
        _ => json!(values::template(random, &["source"])),
    }
}
