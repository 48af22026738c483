//! A case: a definition, the values that a workspace saves, and a call. [`Harness::prove`] runs the checks
//! that every case needs, and returns the request that arrived.

use std::cell::Cell;

use serde_json::{Map, Value, json};

use super::shown;
use crate::secrecy::found;
use crate::support::upstream::Received;
use crate::support::{Answer, PUBLIC, Tenant, World};

/// The third party.
pub(super) const HOST: &str = "api.example-saas.com";
/// Letters of both cases, digits, and characters that encodings write differently.
pub(super) const KEY: &str = "cnry-Q7/f3a+9c51=e2b84d06.Zz~x";

/// A way to authenticate, and a call under it.
pub(super) struct Case {
    pub(super) auth_type: &'static str,
    pub(super) auth: Value,
    /// The fields of `auth_schema`.
    pub(super) fields: Value,
    pub(super) config_fields: Value,
    /// Members that replace those of the default action.
    pub(super) action: Value,
    pub(super) input: Value,
    /// The values that the workspace saves; null for none.
    pub(super) saved: Value,
    /// Where a saved secret may be in the request: field and place. A field without an entry may be nowhere.
    pub(super) places: &'static [(&'static str, &'static str)],
}

impl Case {
    /// A case with the default action: a POST with a JSON body.
    pub(super) fn new(auth_type: &'static str, auth: Value, saved: Value) -> Self {
        let names = saved.as_object().into_iter().flatten().map(|(name, _)| name);
        let fields =
            names.map(|name| json!({ "name": name, "type": "password", "required": true })).collect();
        Self {
            auth_type,
            auth,
            fields,
            config_fields: json!([]),
            action: json!({}),
            input: json!({ "title": "Ä & b" }),
            saved,
            places: &[],
        }
    }

    pub(super) fn at(self, places: &'static [(&'static str, &'static str)]) -> Self {
        Self { places, ..self }
    }

    /// The case with another action.
    pub(super) fn action(self, action: Value, input: Value) -> Self {
        Self { action, input, ..self }
    }

    /// The definition, under this id.
    pub(super) fn definition(&self, id: &str) -> Value {
        let mut action = json!({
            "action_id": "act", "http_method": "POST", "url_template": format!("https://{HOST}/v1/things"),
            "body_schema": [{ "name": "title" }],
        });
        for (name, value) in self.action.as_object().unwrap() {
            action[name.as_str()] = value.clone();
        }
        let mut definition = json!({
            "connector_id": id, "display_name": "Proof", "auth_type": self.auth_type,
            "auth_schema": { "fields": self.fields }, "config_fields": self.config_fields,
            "actions": [action], "allowed_domains": [HOST, "*.salesforce.com"],
        });
        if !self.auth.is_null() {
            definition["auth"] = self.auth.clone();
        }
        definition
    }

    /// The names of the sealed fields, with the text to search for.
    fn secrets(&self) -> Vec<(&str, &str)> {
        let fields = self.fields.as_array().unwrap().iter();
        let secret = fields.filter(|field| field["secret"] != false).map(|f| f["name"].as_str().unwrap());
        secret
            .filter_map(|name| Some((name, canary(self.saved[name].as_str().filter(|t| !t.is_empty())?))))
            .collect()
    }
}

/// The text to search for: the value, or one line from the middle of a key file.
fn canary(text: &str) -> &str {
    if text.contains('\n') { text.lines().nth(2).unwrap() } else { text }
}

/// A product with one tenant.
pub(super) struct Harness {
    pub(super) world: World,
    pub(super) acme: Tenant,
    cases: Cell<usize>,
}

impl Harness {
    pub(super) async fn start() -> Self {
        let world = World::start().await;
        for name in [HOST, "basic.salesforce.com"] {
            world.names.tell(name, &[PUBLIC]);
        }
        let acme = world.tenant("acme", "main").await;
        Self { world, acme, cases: Cell::new(0) }
    }

    /// Uploads the definition of a case; returns its id.
    pub(super) async fn upload(&self, case: &Case) -> String {
        self.cases.set(self.cases.get() + 1);
        let id = format!("proof-{}", self.cases.get());
        self.world.platform.post("/admin/connector", &case.definition(&id)).await.is(201);
        id
    }

    /// Uploads a definition that must be refused; returns the violations.
    pub(super) async fn refused(&self, case: &Case) -> Vec<(String, String)> {
        let answer = self.world.platform.post("/admin/connector", &case.definition("refused")).await;
        let answer = answer.problem(portcullis_core::fault::Code::ValidationFailed);
        answer.violations().into_iter().map(|(at, code)| (at.to_owned(), code.to_owned())).collect()
    }

    /// A dry run of the call; asserts that nothing was opened, sent or recorded.
    pub(super) async fn dry_run(&self, id: &str, input: &Value) -> Answer {
        let (before, ledger) = (self.world.before().await, self.acme.ledger().await.len());
        let path = format!("/run/acme/main/connector/{id}/act?dry_run=true");
        let answer = self.acme.run.post(&path, &json!({ "input": input })).await.is(200);
        self.world.assert_untouched(&before).await;
        assert_eq!(self.acme.ledger().await.len(), ledger, "a dry run adds no record to the ledger");
        assert_eq!(answer.json["dry_run"], true);
        answer
    }

    /// Uploads the definition, saves the credential, makes a dry run and a call; compares the two requests,
    /// and searches for the credential everywhere. Returns the request that arrived.
    pub(super) async fn prove(&self, case: &Case) -> Received {
        let id = self.upload(case).await;
        let mut told: Vec<(&str, String)> = Vec::new();
        if !case.saved.is_null() {
            told.push(("setting", self.acme.connect(&id, case.saved.clone()).await.text));
        }
        let dry = self.dry_run(&id, &case.input).await;
        let before = (self.world.upstream.received().len(), self.world.engine.vault().opens());
        let answer = self.acme.call(&id, "act", case.input.clone()).await.is(200);
        assert_eq!(answer.json["status"], "succeeded", "{}", answer.text);
        let received = self.world.upstream.received();
        let opens = u64::from(case.auth_type != "none");
        assert_eq!(
            (received.len(), self.world.engine.vault().opens()),
            (before.0 + 1, before.1 + opens),
            "requests and openings of {}",
            case.auth_type
        );
        let sent = received.last().unwrap().clone();
        shown::assert_is(&dry, &sent, case);
        let run = answer.json["run_id"].as_str().unwrap();
        let kept = self.acme.run.get(&format!("/run/acme/main/{run}")).await.is(200);
        assert_eq!(kept.json["request_hash"], dry.json["request_hash"]);
        assert_eq!(kept.json["request_hash"].as_str().unwrap().len(), 64);
        let entry = self.acme.ledger().await[0].clone();
        assert_eq!((&entry["run_id"], &entry["verdict"]), (&json!(run), &json!("allow")));
        assert!(!entry["path"].as_str().unwrap().contains('?'), "{entry}");
        told.extend([("dry run", dry.text), ("run", answer.text), ("run record", kept.text)]);
        told.push(("ledger", entry.to_string()));
        for (field, secret) in case.secrets() {
            for (what, text) in &told {
                assert_eq!(found(text.as_bytes(), secret), None, "{field} in the {what}: {text}");
            }
            let mut listed: Vec<String> =
                case.places.iter().filter(|(f, _)| *f == field).map(|(_, at)| (*at).to_owned()).collect();
            listed.sort();
            assert_eq!(
                places(&sent, secret),
                listed,
                "where {field} of {} is: {}",
                case.auth_type,
                sent.head
            );
            assert_eq!(found(&self.acme.run.heard(), secret), None, "{field} in some answer of the API");
        }
        sent
    }
}

/// The parts of a request that have a secret in any form, sorted.
pub(super) fn places(request: &Received, secret: &str) -> Vec<String> {
    let (path, query) = target(request);
    let mut parts: Vec<(String, &[u8])> = vec![
        ("path".to_owned(), path.as_bytes()),
        ("query".to_owned(), query.unwrap_or_default().as_bytes()),
        ("body".to_owned(), &request.body),
    ];
    let headers = headers(request);
    parts.extend(headers.iter().map(|(name, value)| (format!("header {name}"), value.as_bytes())));
    let holding = parts.into_iter().filter(|(_, bytes)| found(bytes, secret).is_some());
    let mut places: Vec<String> = holding.map(|(place, _)| place).collect();
    places.sort();
    places
}

/// Path and query of a request.
pub(super) fn target(request: &Received) -> (&str, Option<&str>) {
    let target = request.line().split(' ').nth(1).unwrap();
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// The headers of a request, names in lower case.
pub(super) fn headers(request: &Received) -> Vec<(String, String)> {
    let lines = request.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
}

/// The only value of a header.
#[track_caller]
pub(super) fn header<'r>(request: &'r Received, name: &str) -> &'r str {
    let values = request.header(name);
    assert_eq!(values.len(), 1, "{name} in {}", request.head);
    values[0]
}

/// A JSON object with further members, which replace those of the same name.
pub(super) fn with(base: &Value, members: Value) -> Value {
    let mut made: Map<String, Value> = base.as_object().unwrap().clone();
    made.extend(members.as_object().unwrap().clone());
    Value::Object(made)
}
