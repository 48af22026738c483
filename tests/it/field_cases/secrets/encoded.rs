//! S7: a secret that comes back as real encoders write it is removed, wherever it stands.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::ID;
use super::decoders::reveals;
use super::encoders::{Written, by_machine, by_rule, json_member};
use crate::secrecy::captured;
use crate::support::{Script, Stage, Tenant, World};

/// Keys with what encoders treat differently.
const SECRETS: &[&str] = &[
    "sk+Live/7f3a=9c51e2b84d06~Zz==",
    "p&ss<w>'o\"rd+with=all%2Bof&amp;it",
    "back\\slash\\n\\u0041/and%41%percent",
    "it's(a)*long!~key'with,every;mark:?@#[]{}|^`$",
    "pässwörd-ß-\u{20ac}-\u{1f600}-key",
    "with spaces and + and more = of them",
    "ab/cd+ef/gh",
    "deadbeef+00:11:22",
    "'''\"\"\"\\\\\\",
    "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
];

const BODY: &str = "/v1/things";

/// A connector whose key goes into the query, so that any text can be one.
fn definition(response: &Value) -> Value {
    json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "auth": { "in": "query", "name": "key" },
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true, "trim": false }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true, "retry": { "max_attempts": 1 },
        "errors": [{ "when": { "status": [400] }, "class": "validation", "message_path": "/error/message",
                     "code_path": "/error/code" }],
        "actions": [{ "action_id": "list", "http_method": "GET",
                      "url_template": format!("https://api.salesforce.com{BODY}"), "response": response }],
    })
}

async fn connected(response: &Value) -> (World, Tenant) {
    let world = Stage { sled: true, ..Stage::default() }.start().await;
    world.platform.post("/admin/connector", &definition(response)).await.is(201);
    let acme = world.tenant("acme", "main").await;
    (world, acme)
}

fn answer(status: u16, media: &str, headers: &[(String, String)], body: &[u8]) -> Script {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {media}\r\n{lines}content-length: {}\r\n\r\n",
        body.len()
    );
    Script::Kept([head.as_bytes(), body].concat())
}

/// Every writing of each secret.
fn all() -> Vec<(&'static str, Vec<Written>)> {
    let machine = by_machine(SECRETS);
    SECRETS.iter().zip(machine).map(|(secret, more)| (*secret, [by_rule(secret), more].concat())).collect()
}

/// Every text in a JSON document, names too.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => {
            map.iter().flat_map(|(name, value)| [vec![name.clone()], texts(value)].concat()).collect()
        }
        _ => Vec::new(),
    }
}

async fn connect(acme: &Tenant, secret: &str) {
    acme.connect(ID, json!({ "api_key": secret })).await;
}

/// Asserts that nothing was shown.
#[track_caller]
fn nothing(shown: &[String]) {
    assert!(shown.is_empty(), "{} shown:\n{}", shown.len(), shown.join("\n"));
}

#[tokio::test]
async fn s7_in_a_json_answer_as_values_and_as_names() {
    captured();
    let (world, acme) = connected(&json!({})).await;
    let mut shown = Vec::new();
    for (secret, written) in all() {
        connect(&acme, secret).await;
        let values: Vec<String> = written
            .iter()
            .enumerate()
            .map(|(at, w)| format!("\"m{at}\":\"a {} z\"", json_member(w)))
            .collect();
        let names: Vec<String> = written
            .iter()
            .enumerate()
            .map(|(at, w)| format!("\"{at} {} {at}\":{at}", json_member(w)))
            .collect();
        let body =
            format!("{{\"values\":{{{}}},\"names\":{{{}}},\"end\":true}}", values.join(","), names.join(","));
        serde_json::from_str::<Value>(&body).unwrap_or_else(|e| panic!("{secret}: {e}"));
        world.upstream.script(BODY, answer(200, "application/json", &[], body.as_bytes()));
        let seen = acme.call(ID, "list", json!({})).await.is(200);
        let output = &seen.json["output"];
        assert_eq!(output["end"], true, "the answer is JSON still: {output}");
        for (at, w) in written.iter().enumerate() {
            let value = output["values"][format!("m{at}")].as_str().unwrap_or("(gone)").to_owned();
            if reveals(value.as_bytes(), secret) || value == "(gone)" {
                shown.push(format!("{secret:?} by {}: {} as {value}", w.by, json_member(w)));
            }
        }
        let names = texts(&output["names"]);
        assert_eq!(names.len(), written.len(), "every name is there, cleaned");
        shown.extend(names.into_iter().filter(|name| reveals(name.as_bytes(), secret)));
        assert_eq!(acme.ledger().await[0]["redacted"], true);
    }
    nothing(&shown);
    let log = captured().bytes();
    for secret in SECRETS {
        let plain = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!plain(&log), "{secret} in the log");
        for (path, bytes) in crate::secrecy::files(world.data_dir()) {
            assert!(!plain(&bytes), "{secret} in {}", path.display());
        }
    }
}

#[tokio::test]
async fn s7_in_plain_text_and_in_html() {
    let (world, acme) = connected(&json!({ "type": "text" })).await;
    let mut shown = Vec::new();
    for (secret, written) in all() {
        connect(&acme, secret).await;
        for (before, after) in [("> ", " <"), ("<p title=\"", "\">")] {
            let body: String = written.iter().map(|w| format!("{before}{}{after}\u{1}", w.text)).collect();
            world.upstream.script(BODY, answer(200, "text/html", &[], body.as_bytes()));
            let seen = acme.call(ID, "list", json!({})).await.is(200);
            let text = seen.json["output"].as_str().unwrap_or_else(|| panic!("{}", seen.text)).to_owned();
            let parts: Vec<&str> = text.split('\u{1}').collect();
            assert_eq!(parts.len(), written.len() + 1, "{secret}: the surroundings stay");
            for (part, w) in parts.iter().zip(&written) {
                if reveals(part.as_bytes(), secret) {
                    shown.push(format!("{secret:?} by {}: {} as {part}", w.by, w.text));
                }
            }
        }
    }
    nothing(&shown);
}

#[tokio::test]
async fn s7_in_headers() {
    let (world, acme) = connected(&json!({})).await;
    let mut shown = Vec::new();
    for (secret, written) in all() {
        connect(&acme, secret).await;
        let fits = |w: &&Written| w.text.bytes().all(|b| (0x20..0x7f).contains(&b));
        let fitting: Vec<&Written> = written.iter().filter(fits).collect();
        for part in fitting.chunks(60) {
            let headers: Vec<(String, String)> = part
                .iter()
                .enumerate()
                .map(|(at, w)| (format!("x-{at}"), format!("a {} z", w.text)))
                .collect();
            world.upstream.script(BODY, answer(200, "application/json", &headers, b"{\"ok\":true}"));
            let seen = acme.call(ID, "list", json!({})).await.is(200);
            for text in texts(&seen.json) {
                if reveals(text.as_bytes(), secret) {
                    shown.push(format!("{secret:?} as {text}"));
                }
            }
        }
    }
    nothing(&shown);
}

#[tokio::test]
async fn s7_in_an_error_message_that_the_definition_reads() {
    let (world, acme) = connected(&json!({})).await;
    let mut shown = Vec::new();
    for (secret, written) in all() {
        connect(&acme, secret).await;
        // Why not each: the first secrets have every writing, and the others are a matter of the search alone.
        for w in written.iter().filter(|w| w.in_json) {
            let body = format!(
                "{{\"error\":{{\"message\":\"no {} here\",\"code\":\"{}\"}}}}",
                json_member(w),
                json_member(w)
            );
            world.upstream.script(BODY, answer(400, "application/json", &[], body.as_bytes()));
            let seen = acme.call(ID, "list", json!({})).await.problem(Code::UpstreamStatus);
            let run = seen.json["run"]["run_id"].as_str().unwrap();
            let kept = acme.run.get(&format!("/run/acme/main/{run}")).await.is(200);
            for text in texts(&seen.json).into_iter().chain(texts(&kept.json)) {
                if reveals(text.as_bytes(), secret) {
                    shown.push(format!("{secret:?} by {} as {text}", w.by));
                }
            }
        }
    }
    nothing(&shown);
}

#[tokio::test]
async fn s7_what_is_no_secret_stays_letter_by_letter() {
    let (world, acme) = connected(&json!({})).await;
    connect(&acme, SECRETS[0]).await;
    let innocent = json!({
        "start": "sk+Live/7f3a", "escaped": "sk\u{2b}Live\\u002B/x", "quotes": "\"\"''\\\\", "lines": "one\r\ntwo\n",
        "percent": "100%25 %2B%2f", "html": "&amp;&#43;&plus;", "base64": "c2srTGl2ZS83ZjNhPTljNTFlMmI4NGQwN35aeg==",
        "numbers": [115, 107, 43, 76, 105], "printable": "a=3D=\n b=20", "nul": "a\u{0}b", "hex": "73:6b:2b:4c:69",
    });
    world.upstream.script(BODY, answer(200, "application/json", &[], innocent.to_string().as_bytes()));
    let seen = acme.call(ID, "list", json!({})).await.is(200);
    assert_eq!(seen.json["output"], innocent);
    assert_eq!(acme.ledger().await[0]["redacted"], false);
}

/// Texts that are made to be slow to search: a hostile answer costs no more than another of its size.
#[tokio::test]
async fn s7_a_text_made_of_beginnings_takes_no_longer_than_its_size_allows() {
    let (world, acme) = connected(&json!({ "type": "text" })).await;
    let secret = "abababababab".repeat(300);
    connect(&acme, &secret).await;
    let size = 500_000;
    for piece in [
        "ab",
        "\\u0061b",
        "%61%62",
        "&#97;b",
        "a=\n",
        "\\\\\\\\",
        "%25%25",
        "YWJh\n",
        "&amp;amp;",
        "'\\''",
        "\"\"",
    ] {
        let body: String = piece.repeat(size / piece.len());
        world.upstream.script(BODY, answer(200, "text/plain", &[], body.as_bytes()));
        let started = std::time::Instant::now();
        acme.call(ID, "list", json!({})).await.is(200);
        // Why so long: the machine may be busy; without a bound it would take hours.
        assert!(started.elapsed().as_secs() < 20, "{piece}: {:?}", started.elapsed());
    }
}
