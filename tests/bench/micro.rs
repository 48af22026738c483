//! The cost of the parts of a call, each alone and without a network.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_action::{ActionPlan, Judge, Method, Values, render};
use portcullis_core::connector::Connector;
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::id::{ActionId, ConnectorId, CredentialId, EntryId, OrgId, RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict, PhaseDurations};
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::RulesVerdict;
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_core::verdict::{HostRules, OrgPolicy};
use portcullis_sandbox::Sandbox;
use portcullis_store::{
    Binding, FileLedger, Ledger as _, LedgerSync, MasterKey, MemoryStore, Records, SecretPayload, Vault,
};
use serde_json::{Map, Value};

#[allow(dead_code, reason = "the other half is for the comparison")]
mod sample;

fn connector() -> Connector {
    sample::connector().unwrap()
}

fn input() -> Map<String, Value> {
    serde_json::from_str(sample::INPUT).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn decide(c: &mut Criterion) {
    let connector = connector();
    let action = connector.actions.first().unwrap();
    let scope = ActionScope::new(action.method, &action.url, &Map::new()).unwrap();
    let rules = HostRules {
        connector: connector.allowed_domains.clone(),
        ports: connector.ports.clone(),
        org: OrgPolicy::Unrestricted,
        org_rules: RulesVerdict::ALLOWED,
    };
    let grant = EgressGrant::new(rules, vec![scope], Limits::default().url_bytes);
    c.bench_function("decide", |b| {
        b.iter(|| grant.permit(b"https://api.bench-saas.com/v1/contacts", Method::Post));
    });
}

fn draw(c: &mut Criterion) {
    let connector = connector();
    let plan: ActionPlan = serde_json::from_str(&connector.actions.first().unwrap().plan_json).unwrap();
    let (input, config) = (input(), Map::new());
    let values =
        Values { input: (&input).into(), action_id: "create-contact", ..Values::config_only(&config) };
    c.bench_function("render", |b| b.iter(|| render::render_request(&plan, &values).unwrap()));
    let text = &connector.actions.first().unwrap().plan_json;
    c.bench_function("read_plan", |b| b.iter(|| serde_json::from_str::<ActionPlan>(text).unwrap()));
    let judge = Judge::new(&plan).unwrap();
    let headers = [("content-type".to_owned(), b"application/json".to_vec())];
    c.bench_function("judge", |b| b.iter(|| judge.answer(201, &headers, sample::CREATED.as_bytes())));
}

fn guest_call(c: &mut Criterion) {
    let sandbox = Sandbox::new(Arc::new(Limits::default())).unwrap();
    let handler = sandbox.load(portcullis_connectors::HTTP_HANDLER).unwrap();
    let invocation = sample::invocation(&connector()).unwrap();
    let runtime = runtime();
    c.bench_function("instantiate_and_call", |b| {
        b.iter(|| {
            let end = runtime.block_on(sandbox.call(&handler, invocation.clone(), Arc::new(sample::Canned)));
            assert!(end.result.unwrap().is_ok());
        });
    });
}

fn vault(c: &mut Criterion) {
    let runtime = runtime();
    let records = Records::new(Arc::new(MemoryStore::new()));
    let key = MasterKey::generate().unwrap();
    let binding = Binding {
        org: OrgId::parse("acme").unwrap(),
        workspace: WorkspaceId::parse("main").unwrap(),
        connector: ConnectorId::parse("bench").unwrap(),
        connection: None,
        credential: CredentialId::parse("cred_1").unwrap(),
        revision: 1,
    };
    let payload = || SecretPayload {
        fields: SecretFields::new(vec![(
            "token".to_owned(),
            SecretValue::new("bench-key-3c1d5a77".to_owned()),
        )]),
        allowed_hosts: vec!["*.bench-saas.com".to_owned()],
    };
    let (vault, sealed) = runtime.block_on(async {
        Vault::initialise(records.clone(), key.clone()).await.unwrap();
        let vault = Vault::open(records, key).await.unwrap();
        vault.ensure_workspace_key(&binding.org, &binding.workspace).await.unwrap();
        let sealed = vault.seal(&binding, &payload()).await.unwrap();
        (vault, sealed)
    });
    c.bench_function("seal", |b| {
        b.iter(|| runtime.block_on(vault.seal(&binding, &payload())).unwrap());
    });
    c.bench_function("open", |b| {
        b.iter(|| runtime.block_on(vault.open_sealed(&binding, &sealed.text, |_| true)).unwrap());
    });
}

fn ledger(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
    let event = LedgerEvent {
        entry_id: EntryId::parse("out_019a7b").unwrap(),
        at: "2026-11-22T10:00:00.000000Z".to_owned(),
        phase: LedgerPhase::Begin,
        org: OrgId::parse("acme").unwrap(),
        workspace: WorkspaceId::parse("main").unwrap(),
        connector_id: ConnectorId::parse("bench").unwrap(),
        connection: None,
        revision: 1,
        action_id: ActionId::parse("create-contact").unwrap(),
        run_id: RunId::parse("run_1").unwrap(),
        automation_id: None,
        method: "POST".to_owned(),
        origin: "https://api.bench-saas.com".to_owned(),
        path: "/v1/contacts".to_owned(),
        verdict: LedgerVerdict::Allow,
        code: None,
        matched_connector: Some("*.bench-saas.com".to_owned()),
        matched_org: Some("*.bench-saas.com".to_owned()),
        would_refuse: false,
        addresses: Vec::new(),
        chosen_address: Some("93.184.216.34".to_owned()),
        tls_version: Some("TLSv1.3".to_owned()),
        status: None,
        bytes_out: 100,
        bytes_in: 0,
        durations: PhaseDurations::default(),
        credential_slot: None,
        credential_version: None,
        redacted: false,
    };
    let runtime = runtime();
    c.bench_function("ledger_append", |b| b.iter(|| runtime.block_on(ledger.append(&event)).unwrap()));
}

criterion_group!(parts, decide, draw, guest_call, vault, ledger);
criterion_main!(parts);
