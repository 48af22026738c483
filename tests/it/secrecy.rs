//! A credential's whole life with a canary as its value: nothing that the product answers, logs or
//! stores contains it in any form that can be decoded.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use portcullis_core::fault::Code;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{PRIVATE, PUBLIC, SALESFORCE, Script, Stage, Tenant, World, salesforce};

/// Letters of both cases, digits, and characters that the encodings treat differently.
const CANARY: &str = "cnry-Q7/f3a+9c51=e2b84d06.Zz~x";

/// Everything the process logs, at every level.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// All of it so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

pub(crate) fn captured() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log(Arc::default());
        tracing_subscriber::fmt().with_env_filter("trace").with_ansi(false).with_writer(log.clone()).init();
        log
    })
}

/// The canary in plain, in base64 at every offset, in hex and in percent escapes.
fn forms(secret: &str) -> Vec<(String, Vec<u8>)> {
    let percent = |lower: bool| -> String {
        let escape = |b: u8| match b {
            b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
            b if lower => format!("%{b:02x}"),
            b => format!("%{b:02X}"),
        };
        secret.bytes().map(escape).collect()
    };
    let mut forms = vec![
        ("raw".to_owned(), secret.to_owned()),
        ("json".to_owned(), secret.replace('/', "\\/")),
        ("percent".to_owned(), percent(false)),
        ("percent, lower case".to_owned(), percent(true)),
        ("hex".to_owned(), hex::encode(secret)),
        ("hex, upper case".to_owned(), hex::encode_upper(secret)),
    ];
    for shift in 0..3 {
        let padded = [vec![0; shift], secret.as_bytes().to_vec()].concat();
        // The characters that do not depend on a neighbouring byte.
        let (start, end) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
        forms.push((format!("base64 at {shift}"), STANDARD_NO_PAD.encode(&padded)[start..end].to_owned()));
        forms.push((format!("base64url at {shift}"), URL_SAFE_NO_PAD.encode(&padded)[start..end].to_owned()));
    }
    forms.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()
}

/// The first form of the secret in these bytes.
pub(crate) fn found(bytes: &[u8], secret: &str) -> Option<String> {
    forms(secret)
        .into_iter()
        .find(|(_, form)| bytes.windows(form.len()).any(|window| window == form.as_slice()))
        .map(|(name, _)| name)
}

/// Every file below a folder with its bytes. The server is running: a file that it has replaced or moved
/// meanwhile is searched for again, since its content may be under a new name.
pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for _ in 0..100 {
        match read_below(dir, &mut all) {
            Ok(()) => return all,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}"),
        }
    }
    panic!("the files below {} never stay", dir.display());
}

fn read_below(dir: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            read_below(&path, all)?;
        } else {
            let bytes = std::fs::read(&path)?;
            all.insert(path, bytes);
        }
    }
    Ok(())
}

#[test]
fn the_scan_finds_a_secret_in_every_form_it_claims() {
    for (name, form) in forms(CANARY) {
        let text = [b"before ".as_slice(), &form, b" after"].concat();
        assert!(found(&text, CANARY).is_some(), "{name}");
    }
    let pair = STANDARD_NO_PAD.encode(format!("user:{CANARY}"));
    assert!(found(pair.as_bytes(), CANARY).is_some());
    assert_eq!(found(b"cnry-Q7/f3a+9c51=e2b84d06.Zz", CANARY), None);
}

#[tokio::test]
async fn a_credential_is_in_no_answer_no_log_line_no_ledger_line_and_no_file() {
    let log = captured();
    let (world, acme) = World::salesforce_on(Stage { sled: true, ..Stage::default() }).await;
    mistakes(&acme).await;
    acme.connect("salesforce", json!({ "api_key": CANARY })).await;
    happy_calls(&world, &acme).await;
    echoes(&world, &acme).await;
    refusals(&world, &acme).await;
    reading(&world, &acme).await;
    let arrived = world.upstream.received();
    assert!(arrived.len() >= 4, "{}", arrived.len());
    for request in &arrived {
        assert_eq!(request.header("authorization"), [format!("Bearer {CANARY}")], "it was really used");
    }
    assert_eq!(found(&acme.run.heard(), CANARY), None, "in an answer of the API");
    assert!(acme.run.heard().len() > 10_000, "the answers were recorded");
    let all = files(world.data_dir());
    let mut ledger_lines = 0;
    for (path, bytes) in &all {
        assert_eq!(found(bytes, CANARY), None, "in {}", path.display());
        if path.extension().is_some_and(|e| e == "ndjson") {
            ledger_lines += bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).count();
        }
    }
    assert!(ledger_lines > 8, "the ledger was scanned: {ledger_lines} lines");
    let stored = all.keys().any(|p| p.starts_with(world.data_dir().join("store")));
    assert!(stored, "the store was scanned: {:?}", all.keys());
    let logged = log.bytes();
    let text = String::from_utf8_lossy(&logged);
    assert!(text.contains("/run/{org}/{ws}/automation/{id}"), "requests are logged by their route");
    assert_eq!(found(&logged, CANARY), None, "in the log");
}

/// Secrets in the wrong position: nothing repeats them.
async fn mistakes(acme: &Tenant) {
    let path = acme.setting("salesforce");
    let broken = format!("{{\"config\": {{\"api_key\": \"{CANARY}\"");
    acme.workspace.write("PUT", &path, broken).await.problem(Code::BadJson);
    for body in [
        json!({ "config": { "api_key": format!("{CANARY}\n{CANARY}") } }),
        json!({ "config": { "api_key": CANARY, "api_key_2": CANARY } }),
        json!({ "config": { "api_key": [CANARY] } }),
        json!({ "config": CANARY }),
        json!({ "config": {}, "enabled": CANARY }),
    ] {
        acme.workspace.put(&path, &body).await.problem(Code::ValidationFailed);
    }
    let plain = [("content-type", "text/plain")];
    let answer = acme.workspace.send("PUT", &path, &plain, CANARY.as_bytes().to_vec()).await;
    answer.problem(Code::UnsupportedMediaType);
    let escaped = CANARY.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    let lost = format!("/workspace/acme/main/settings/connector/{escaped}");
    acme.workspace.get(&lost).await.problem(Code::ConnectorNotFound);
    acme.workspace.get(&format!("{path}?api_key={escaped}")).await.problem(Code::UnknownParameter);
}

async fn happy_calls(world: &World, acme: &Tenant) {
    let automation = acme.automation().await;
    let answer = acme.fire(&automation, json!({ "email": "ada@example.org" })).await.is(200);
    assert_eq!(answer.json["status"], "succeeded");
    assert_eq!(world.engine.vault().opens(), 1);
}

/// An upstream that returns the credential in its body and headers, on success and on error.
async fn echoes(world: &World, acme: &Tenant) {
    for status in [200, 401, 500] {
        world.upstream.script("/v1/contacts", Script::Echo(status));
        let answer = acme.create_contact().await;
        let upstream = if status == 200 { &answer.json["upstream"] } else { &answer.json["run"]["upstream"] };
        assert_eq!(upstream["status"], status, "{}", answer.text);
        let body = &upstream["body"];
        assert_eq!(body["reached_the_end"], true, "the rest of the answer is whole");
        assert_eq!(body["error"], "the header was [redacted]");
        for name in ["raw", "base64", "hex", "percent"] {
            let text = body[name].as_str().unwrap();
            assert!(text.contains("[redacted]"), "{name}: {text}");
        }
        for name in ["x-echo", "x-echo-base64"] {
            let text = upstream["headers"][name].as_str().unwrap();
            assert!(text.contains("[redacted]"), "{name}: {text}");
        }
        assert_eq!(acme.ledger().await[0]["redacted"], true);
    }
    world.upstream.script("/v1/contacts", Script::Json(200, r#"{"plain":true}"#));
    let answer = acme.create_contact().await.is(200);
    assert_eq!(answer.json["output"], json!({ "plain": true }));
    assert_eq!(acme.ledger().await[0]["redacted"], false);
}

async fn refusals(world: &World, acme: &Tenant) {
    world.upstream.script("/v1/contacts", Script::Raw(format!("nonsense {CANARY}\r\n").into_bytes()));
    acme.create_contact().await.problem(Code::UpstreamProtocol);
    let opens = world.engine.vault().opens();
    // A new policy, so that no pooled connection is left.
    acme.allow(json!(["*.salesforce.com"]), "enforce").await;
    world.names.tell("api.salesforce.com", &[PRIVATE]);
    acme.create_contact().await.problem(Code::AddressForbidden);
    acme.allow(json!([]), "enforce").await;
    acme.create_contact().await.problem(Code::HostNotInOrg);
    acme.allow(json!(null), "enforce").await;
    world.names.tell("api.salesforce.com", &[PUBLIC]);
    assert_eq!(world.engine.vault().opens(), opens);
    let mut wider = salesforce();
    wider["auth_schema"]["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "second", "required": true }));
    world.platform.put("/admin/connector/salesforce", &wider).await.is(200);
    acme.create_contact().await.problem(Code::CredentialNeedsAttention);
    world.platform.write("PUT", "/admin/connector/salesforce", SALESFORCE).await.is(200);
}

/// Reads everything that can be read.
async fn reading(world: &World, acme: &Tenant) {
    acme.workspace.get(&acme.setting("salesforce")).await.is(200);
    acme.workspace.get("/workspace/acme/main/settings/connector").await.is(200);
    acme.org.get("/org/acme/connector").await.is(200);
    let runs = acme.run.get("/run/acme/main").await.is(200);
    for run in runs.json["data"].as_array().unwrap() {
        let id = run["run_id"].as_str().unwrap();
        acme.run.get(&format!("/run/acme/main/{id}")).await.is(200);
    }
    for path in ["/admin/connector", "/admin/connector/salesforce/revisions", "/admin/token", "/openapi.json"]
    {
        world.platform.get(path).await.is(200);
    }
    let entries = acme.ledger().await;
    assert!(entries.iter().any(|e| e["redacted"] == Value::Bool(true)));
}
