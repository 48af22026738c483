//! Checks by another implementation: always by [`recount`](super::recount), and by `tests/auth_check.py` with
//! botocore, oauthlib and `PyJWT` where `PORTCULLIS_PYTHON` names an interpreter that has them. With
//! `PORTCULLIS_REQUIRE_PYTHON=1` a missing interpreter is a failure.
//!
//! Each check runs twice: with the right values, and with one wrong value, which it must find.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::harness::{HOST, headers, with};
use super::recount;
use crate::support::upstream::Received;

/// The greatest age of a signature, seconds.
const AGE_S: u64 = 120;

/// The interpreter, if there is one. Prints once which checks run.
fn interpreter() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let found = PYTHON.get_or_init(|| {
        let python = std::env::var("PORTCULLIS_PYTHON").ok().filter(|path| !path.is_empty());
        let required = std::env::var("PORTCULLIS_REQUIRE_PYTHON").is_ok_and(|value| value == "1");
        assert!(python.is_some() || !required, "PORTCULLIS_REQUIRE_PYTHON=1 needs PORTCULLIS_PYTHON");
        let by = match &python {
            Some(python) => format!("tests/auth_check.py under {python}, and the recomputation in Rust"),
            None => "the recomputation in Rust alone (PORTCULLIS_PYTHON is not set)".to_owned(),
        };
        // Why not `eprintln!`: the test runner would swallow it in a test that passes.
        let mut err = std::io::stderr();
        writeln!(err, "auth_types: signatures are checked by {by}").unwrap();
        python
    });
    found.as_deref()
}

/// Asserts that the request is authenticated as `kind`, with these secrets; see `auth_check.py <kind>
/// --help`.
#[track_caller]
pub(super) fn check(kind: &str, request: &Received, secrets: &Value) {
    let secrets = with(secrets, json!({ "max_age_s": AGE_S }));
    let true_document = document(request, &secrets);
    let false_document = falsified(kind, &true_document);
    assert_ne!(true_document, false_document);
    if let Some(python) = interpreter() {
        let verdict = ask(python, kind, &true_document);
        assert_eq!(verdict["ok"], true, "{kind} by Python: {verdict} of {}", request.head);
        let verdict = ask(python, kind, &false_document);
        assert_eq!(verdict["ok"], false, "{kind} by Python: falsified, and not found");
    }
    if let Err(why) = recount::check(kind, &true_document) {
        panic!("{kind} recomputed: {why} of {}", request.head);
    }
    assert!(recount::check(kind, &false_document).is_err(), "{kind} recomputed: falsified, and not found");
}

fn document(request: &Received, secrets: &Value) -> Value {
    let (method, target) = request.line().split_once(' ').unwrap();
    json!({
        "method": method, "url": format!("https://{HOST}{target}"), "headers": headers(request),
        "body_base64": BASE64.encode(&request.body), "secrets": secrets,
    })
}

/// The same with another key, or with another signature where the check has only the public key.
fn falsified(kind: &str, document: &Value) -> Value {
    let mut document = document.clone();
    let key = match kind {
        "sigv4" => "secret_key",
        "oauth1" => "consumer_secret",
        "hmac" => "key",
        "basic" => "password",
        "bearer" => "token",
        _ => {
            let name = document["secrets"]["header"].as_str().unwrap_or("authorization").to_owned();
            let headers = document["headers"].as_array_mut().unwrap();
            let header = headers.iter_mut().find(|header| header[0] == name.as_str()).unwrap();
            header[1] = json!(other_signature(header[1].as_str().unwrap()));
            return document;
        }
    };
    let other = format!("{}x", document["secrets"][key].as_str().unwrap());
    document["secrets"][key] = json!(other);
    document
}

/// A JWT with one character of its signature changed.
fn other_signature(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (first, rest) = signature.split_at(1);
    format!("{signed}.{}{rest}", if first == "A" { "B" } else { "A" })
}

fn ask(python: &str, kind: &str, document: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("auth_check.py");
    let mut child = Command::new(python)
        .arg(script)
        .arg(kind)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{python}: {e}"));
    child.stdin.take().unwrap().write_all(document.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{python}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}
