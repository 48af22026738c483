//! Checks one catalog entry against its vendor's description: each action through the whole product, into the
//! mock server, and the findings.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use portcullis_core::connector::{Action, Connector};
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::description::{Asked, Description};
use crate::front::{Exchange, Front, Recorded};
use crate::mock::Mock;
use crate::sample;
use crate::support::{PUBLIC, Stage, Tenant};
use crate::table::{Row, Verdict};

/// Judges one entry.
///
/// # Errors
/// If it cannot be judged at all.
pub(crate) async fn judge(prism: &Path, file: &Path, definition: &str) -> Result<Verdict, Failure> {
    let description = Arc::new(Description::parse(&std::fs::read_to_string(file)?)?);
    let written: Value = serde_json::from_str(definition)?;
    let mock = Mock::start(prism, file).await?;
    let hosts = hosts(&written);
    let front = Front::start(&hosts, mock.address, Arc::clone(&description), discoveries(&written)).await?;
    let stage = Stage { third_party: Some((front.address, front.ca_pem.clone())), ..Stage::default() };
    let world = stage.start().await;
    hosts.iter().for_each(|host| world.names.tell(host, &[PUBLIC]));
    let uploaded = world.platform.write("POST", "/admin/connector", definition).await;
    if uploaded.status != 201 {
        return Err(format!("the definition is refused: {}", uploaded.text).into());
    }
    let id = text(&written, "connector_id");
    let connector = Connector::parse(&written, &portcullis_core::limits::Limits::default()).connector;
    let connector = connector.ok_or("the uploaded connector is not there")?;
    let (method, connector) = without_token_endpoint(&connector)
        .ok_or("every way to authenticate needs a token endpoint, and the mock server has none")?;
    let credential = sample::credential(connector);
    let tenant = world.tenant("vendors", "judge").await;
    let saved = RefCell::default();
    let court =
        Court { front: &front, tenant: &tenant, description: &description, id, method, credential, saved };
    let mut rows = Vec::new();
    if connector.test.is_some() {
        rows.push(court.trial(&written).await?);
    }
    for (action, written) in connector.actions.iter().zip(members(&written, "actions")) {
        rows.push(court.action(action, written).await?);
    }
    let (id, method) = (id.to_owned(), method.unwrap_or("default").to_owned());
    Ok(Verdict { id, method, rows, aside: front.aside(), unchecked: mock.unchecked() })
}

/// The default authentication method, or the first other that needs no token endpoint.
fn without_token_endpoint(connector: &Connector) -> Option<(Option<&str>, &Connector)> {
    let others = connector.methods.iter().map(|method| (Some(method.id.as_str()), &method.connector));
    std::iter::once((None, connector)).chain(others).find(|(_, c)| c.auth.token.is_none())
}

/// The requests before an entry's own, with the first answer in its examples.
fn discoveries(definition: &Value) -> Vec<Recorded> {
    let requests = members(definition, "discover").filter_map(|discovery| discovery.get("request"));
    let first = requests.filter_map(|request| examples(request).into_iter().next());
    let recorded = first.filter_map(|example| {
        let body = example.pointer("/response/body").map(Value::to_string).unwrap_or_default();
        Some(Recorded { url: expected_url(example)?.to_owned(), body: body.into() })
    });
    recorded.collect()
}

fn expected_url(example: &Value) -> Option<&str> {
    example.pointer("/expect_request/url")?.as_str()
}

/// Hosts that may be requested: those of the list without wildcards, and those of the examples.
fn hosts(definition: &Value) -> Vec<String> {
    let test = definition.pointer("/test/request").into_iter();
    let examples = test.chain(members(definition, "actions")).flat_map(|a| members(a, "examples"));
    let urls = examples.filter_map(expected_url);
    let of_url = urls.filter_map(|url| url.split_once("://")?.1.split(['/', '?', ':']).next());
    let listed = members(definition, "allowed_domains").filter_map(Value::as_str);
    let mut hosts: Vec<String> =
        listed.filter(|host| !host.starts_with('*')).chain(of_url).map(str::to_owned).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn members<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn object(value: &Value, name: &str) -> Map<String, Value> {
    value.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The setting in which one entry is judged.
struct Court<'a> {
    front: &'a Front,
    tenant: &'a Tenant,
    description: &'a Description,
    id: &'a str,
    method: Option<&'a str>,
    credential: Map<String, Value>,
    /// The config that was saved last.
    saved: RefCell<Option<Value>>,
}

impl Court<'_> {
    /// Saves the made-up credential with an example's config values, unless these are saved already.
    async fn connect(&self, config: Map<String, Value>) -> Result<(), Failure> {
        let mut form = self.credential.clone();
        form.extend(config);
        let mut body = json!({ "enabled": true, "config": form });
        if let (Some(method), Some(body)) = (self.method, body.as_object_mut()) {
            body.insert("auth_method".to_owned(), json!(method));
        }
        if self.saved.borrow().as_ref() == Some(&body) {
            return Ok(());
        }
        let answer = self.tenant.workspace.put(&self.tenant.setting(self.id), &body).await;
        if answer.status != 200 {
            return Err(format!("the made-up credential is refused: {}", answer.text).into());
        }
        self.saved.replace(Some(body));
        Ok(())
    }

    /// The definition's own test of a credential.
    async fn trial(&self, definition: &Value) -> Result<Row, Failure> {
        let mut row = Row::new("(test)");
        let request = definition.pointer("/test/request").unwrap_or(&Value::Null);
        let first = examples(request).into_iter().next();
        self.connect(first.map(|example| object(example, "config")).unwrap_or_default()).await?;
        let before = self.front.count();
        let path = format!("{}/test", self.tenant.setting(self.id));
        let answer = self.tenant.workspace.post(&path, &json!({})).await.json;
        let succeeded = answer.get("ok") == Some(&json!(true));
        self.weigh(&mut row, first, &self.front.since(before), succeeded, &answer);
        Ok(row)
    }

    async fn action(&self, action: &Action, written: &Value) -> Result<Row, Failure> {
        let mut row = Row::new(action.id.as_str());
        let examples = examples(written);
        if examples.is_empty() {
            row.wrong("no example shows a request");
        }
        for example in &examples {
            self.connect(object(example, "config")).await?;
            let before = self.front.count();
            let input = Value::Object(object(example, "input"));
            let answer = self.tenant.call(self.id, action.id.as_str(), input).await;
            let (sent, succeeded) = (self.front.since(before), answer.status == 200);
            self.weigh(&mut row, Some(example), &sent, succeeded, &answer.json);
        }
        let good = examples.first().map(|example| object(example, "input")).unwrap_or_default();
        self.every_field(&mut row, action, &good).await;
        self.broken(&mut row, action, &good).await;
        Ok(row)
    }

    /// The mock server's answers to the requests of one call, and the undeclared names in them.
    fn weigh(
        &self,
        row: &mut Row,
        example: Option<&Value>,
        sent: &[Exchange],
        succeeded: bool,
        answer: &Value,
    ) {
        let name = example.map(|example| text(example, "name")).unwrap_or_default();
        let expected = example.and_then(expected_url);
        let first = sent.first().map(Exchange::url);
        if first.is_none() || expected.is_some_and(|url| first.as_deref() != Some(url)) {
            row.wrong(format!("{name}: asked for {first:?} instead of {expected:?}: {answer}"));
            return;
        }
        if sent.first().is_some_and(Exchange::is_of_no_operation) {
            row.is_not_described();
            return;
        }
        for exchange in sent {
            row.status(exchange.status);
            if !exchange.is_accepted() {
                row.wrong(format!("{name}: {}", exchange.told()));
            }
            match self.description.undeclared(exchange.asked()) {
                Some(names) => row.undeclared(names),
                None => row.wrong(format!("{name}: no operation to look names up in: {}", exchange.url())),
            }
        }
        if sent.iter().all(Exchange::is_accepted) && !succeeded {
            let why = answer.get("message").or_else(|| answer.get("detail")).unwrap_or(answer);
            row.note(format!(
                "{name}: accepted by the mock server, but its answer is no success here: {why}"
            ));
        }
    }

    /// Names of fields that no example uses, from a request that is shown and not sent.
    async fn every_field(&self, row: &mut Row, action: &Action, good: &Map<String, Value>) {
        let full = sample::every_field(action, good);
        let Tenant { org_id, workspace_id, run, .. } = self.tenant;
        let path =
            format!("/run/{org_id}/{workspace_id}/connector/{}/{}?dry_run=true", self.id, action.id.as_str());
        let shown = run.post(&path, &json!({ "input": full })).await;
        let Some(request) = shown.json.get("request").filter(|_| shown.status == 200) else {
            row.note(format!("fields that no example uses were not looked up: {}", shown.messages()));
            return;
        };
        let target = text(request, "url").split_once("://").map_or("", |(_, rest)| rest);
        let target = target.find('/').and_then(|at| target.get(at..)).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = object(request, "headers");
        let content_type = headers.get("content-type").and_then(Value::as_str).unwrap_or_default();
        let body = match request.get("body") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(document) => document.to_string(),
        };
        let method = text(request, "method");
        let asked = Asked { method, path, query, content_type, body: body.as_bytes() };
        row.undeclared(self.description.undeclared(asked).unwrap_or_default());
    }

    /// Inputs that must not leave the product.
    async fn broken(&self, row: &mut Row, action: &Action, good: &Map<String, Value>) {
        for (what, input) in sample::broken(action, good) {
            let before = self.front.count();
            let answer = self.tenant.call(self.id, action.id.as_str(), Value::Object(input)).await;
            let refused = answer.status == 422 && answer.json.get("code") == Some(&json!("input_invalid"));
            let sent = self.front.count() > before;
            row.broken(refused && !sent);
            if sent || !refused {
                let sent = if sent { "sent" } else { "not sent" };
                row.wrong(format!("{what}: {} and {sent}: {}", answer.status, answer.text));
            }
        }
    }
}

/// Examples of a request that succeeds.
fn examples(action: &Value) -> Vec<&Value> {
    let mut found: Vec<&Value> = Vec::new();
    for example in members(action, "examples") {
        let is_same = |other: &&Value| {
            other.get("input") == example.get("input") && other.get("config") == example.get("config")
        };
        if example.get("expect_request").is_some() && !found.iter().any(is_same) {
            found.push(example);
        }
    }
    found
}
