//! What the tests of custom modules share: the hostile module, a connector that uses a module, and its uploads.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use portcullis_core::fault::Code;
use serde_json::{Value, json};
use wit_component::ComponentEncoder;

use super::guests;
use crate::support::{Answer, Client, Stage, Tenant, World, lay};

const TARGET: &str = "wasm32-unknown-unknown";
/// The target whose standard library uses WASI.
const STD_TARGET: &str = "wasm32-wasip2";
/// The header of an upload.
pub(crate) const WASM: (&str, &str) = ("content-type", "application/wasm");
/// The connector of these tests, and its path.
pub(super) const ID: &str = "custom";
pub(super) const CONNECTOR: &str = "/admin/connector/custom";
/// Where its module may go, and the path of it.
pub(super) const URL: &str = "https://api.salesforce.com/v1/things/1";
pub(super) const PATH: &str = "/v1/things/1";
/// The credential of its workspace.
pub(super) const KEY: &str = "sk-live-0123456789abcdef";
/// Everything that the hostile module reads; `do` is what it does.
const INPUTS: &[&str] = &[
    "do",
    "url",
    "times",
    "text",
    "code",
    "message",
    "lines",
    "bytes",
    "headers",
    "body_bytes",
    "method",
    "body",
    "credential",
    "ms",
    "to",
];

/// What `tests/guests` makes for a target, built by a nested cargo with a target directory of its own.
fn built(for_target: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .args(["rustc", "--quiet", "--package", "portcullis-hostile-guest", "--lib"])
        .args(["--crate-type", "cdylib", "--profile", "guest", "--target", for_target, "--target-dir"])
        .arg(&target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join(for_target).join("guest").join("hostile_guest.wasm")
}

/// The core module of `tests/guests`.
pub(super) fn hostile_core() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built(TARGET))
}

/// The same module with a standard library that uses WASI: a component as its linker makes it.
pub(super) fn hostile_std() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| std::fs::read(built(STD_TARGET)).unwrap())
}

/// The module that misbehaves as its input says.
pub(super) fn hostile() -> &'static [u8] {
    static ENCODED: OnceLock<Vec<u8>> = OnceLock::new();
    ENCODED.get_or_init(|| {
        let core = std::fs::read(hostile_core()).unwrap();
        ComponentEncoder::default().module(&core).unwrap().validate(true).encode().unwrap()
    })
}

/// A module that answers this text.
pub(crate) fn answering(text: &str) -> Vec<u8> {
    guests::answer(text.as_bytes(), u32::try_from(text.len()).unwrap())
}

/// Limits small enough for calls that go on to a limit.
pub(super) fn quick() -> Stage {
    let mut stage = Stage::default();
    stage.limits.module_cpu_ms = 500;
    stage.limits.module_memory_bytes = 32 * 1024 * 1024;
    stage
}

/// A connector whose action `act` is the module's, and whose action `plain` is not.
pub(crate) fn definition(digest: &str) -> Value {
    let inputs: Vec<Value> = INPUTS.iter().map(|name| json!({ "name": name, "type": "any" })).collect();
    json!({
        "connector_id": ID, "display_name": "Custom", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["api.salesforce.com"], "enabled": true,
        "runtime": {
            "module": digest,
            "profile": "pure",
            "requests": [
                { "methods": ["GET", "POST"], "url": "https://api.salesforce.com/v1/things/{id}" },
                { "methods": ["GET"], "url": "https://api.salesforce.com/v1/files/{path+}" },
            ],
            "limits": { "requests": 3 },
        },
        "actions": [
            { "action_id": "act", "handler": "module", "effect": "read", "body_schema": inputs },
            { "action_id": "plain", "http_method": "GET",
              "url_template": "https://api.salesforce.com/v1/plain" },
        ],
    })
}

/// Uploads a module.
pub(crate) async fn upload(client: &Client, bytes: &[u8]) -> Answer {
    client.send("POST", "/admin/module", &[WASM], bytes.to_vec()).await
}

/// Uploads a module that is admitted; returns its digest.
pub(super) async fn admitted(world: &World, bytes: &[u8]) -> String {
    let answer = upload(&world.platform, bytes).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    answer.json["digest"].as_str().unwrap().to_owned()
}

/// The path with what a `capability_widened` asks for.
pub(super) fn accepted(path: &str, asked: &Answer) -> String {
    format!("{path}?accept={}", asked.json["digest"].as_str().unwrap())
}

/// Writes a definition, and accepts what its module may do besides.
pub(crate) async fn accepting(client: &Client, method: &str, path: &str, definition: &Value) -> Answer {
    let asked = client.write(method, path, definition.to_string()).await;
    if asked.status != 409 {
        return asked;
    }
    let asked = asked.problem(Code::CapabilityWidened);
    client.write(method, &accepted(path, &asked), definition.to_string()).await
}

/// Replaces the connector's module; `more` is the query.
pub(super) async fn put_module(client: &Client, bytes: &[u8], more: &str) -> Answer {
    let path = "/admin/connector/custom/module";
    client.send("PUT", &format!("{path}{more}"), &[WASM], bytes.to_vec()).await
}

/// Replaces the connector's module, and accepts it; the answer of another refusal.
pub(crate) async fn exchange_module(client: &Client, bytes: &[u8]) -> Answer {
    let asked = put_module(client, bytes, "").await;
    if asked.status != 409 {
        return asked;
    }
    let asked = asked.problem(Code::CapabilityWidened);
    put_module(client, bytes, &accepted("", &asked)).await
}

/// A world with this module in a connector, beside the one of the Salesforce example; the workspace is connected to
/// the first. `change` is merged into the definition.
pub(super) async fn installed(stage: Stage, bytes: &[u8], change: &Value) -> (World, Tenant) {
    let (world, acme) = World::salesforce_on(stage).await;
    let digest = admitted(&world, bytes).await;
    let mut definition = definition(&digest);
    lay(&mut definition, change);
    accepting(&world.platform, "POST", "/admin/connector", &definition).await.is(201);
    acme.connect(ID, json!({ "api_key": KEY })).await;
    (world, acme)
}

/// Calls the module's action.
pub(super) async fn act(tenant: &Tenant, input: Value) -> Answer {
    tenant.call(ID, "act", input).await
}

/// An ordinary call of another org succeeds. Once in a world.
pub(super) async fn assert_others_are_served(world: &World) {
    let other = world.tenant("globex", "main").await;
    other.connect("salesforce", json!({ "api_key": "key-of-another-org" })).await;
    other.create_contact().await.is(200);
    world.platform.get("/readyz").await.is(200);
}

/// The codes of a report's problems.
pub(super) fn codes(answer: &Answer) -> Vec<&str> {
    let problems = answer.json["report"]["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    problems.iter().map(|problem| problem["code"].as_str().unwrap()).collect()
}
