//! Lines that programs read: of calls, changes, and the ids in them. Read from the standard error of the shipped binary.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use portcullis_core::fault::Code;
use portcullis_engine::call::done::FIELDS;
use serde_json::{Value, json};

use crate::black_box::{KEY, NO_NAMES, connected, token};
use crate::support::binary::{SERVE, command, init};
use crate::support::{Client, until};

const CALL: &str = "/run/acme/main/connector/salesforce/create-contact";

/// A serving process whose log is read.
pub(super) struct Logged {
    child: Child,
    text: Arc<Mutex<String>>,
    reading: Option<std::thread::JoinHandle<()>>,
    pub(super) platform: Client,
    _dir: tempfile::TempDir,
}

impl Logged {
    pub(super) fn start(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = init(dir.path());
        let arguments = [&SERVE[..], &NO_NAMES, more].concat();
        let mut command = command(dir.path(), &arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let text = Arc::<Mutex<String>>::default();
        let (log, into) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&text));
        let reading = std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let mut text = into.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().split_once(" listening on http://").expect("not serving").1;
        let platform = Client::new(address.parse().unwrap()).with_token(token);
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self { child, text, reading: Some(reading), platform, _dir: dir }
    }

    /// The lines so far.
    fn lines(&self) -> Vec<Value> {
        let text = self.text.lock().unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The first line of this kind, which comes soon.
    pub(super) async fn line(&self, is: impl Fn(&Value) -> bool) -> Value {
        until("the line is there", async || self.lines().iter().any(&is)).await;
        self.lines().into_iter().find(is).unwrap()
    }

    /// The text when the process has ended.
    pub(super) fn end(mut self) -> String {
        let line = format!("kill -s TERM {}", self.child.id());
        assert!(std::process::Command::new("/bin/sh").args(["-c", &line]).status().unwrap().success());
        self.child.wait().unwrap();
        self.reading.take().unwrap().join().unwrap();
        self.text.lock().unwrap().clone()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // Why ignored: it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn calls(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines.filter(|line| line["message"] == "call_done").collect()
}

/// Every member of a line is in the documented list.
fn assert_documented(line: &Value) {
    let known: BTreeSet<&str> =
        FIELDS.iter().map(|(name, _)| *name).chain(["timestamp", "level", "target", "message"]).collect();
    for member in line.as_object().unwrap().keys() {
        assert!(known.contains(member.as_str()), "{member} in {line}");
    }
}

#[tokio::test]
async fn every_call_has_one_line_with_documented_members() {
    let logged = Logged::start(&[]);
    let caller = logged.platform.with_token(connected(&logged.platform).await);
    let input = json!({ "input": { "Email": "ada@example.org" } });
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers =
        [("content-type", "application/json"), ("x-request-id", "call-1"), ("traceparent", &parent)];
    let failed = caller.send("POST", CALL, &headers, input.to_string().into_bytes()).await;
    let failed = failed.problem(Code::DnsFailed);
    assert_eq!(failed.header("x-request-id"), Some("call-1"));
    caller.post(&format!("{CALL}?dry_run=true"), &input).await.is(200);
    caller.post(CALL, &json!({ "input": { "Email": 5.5, "none": 1 } })).await.problem(Code::InputInvalid);
    let key = [("content-type", "application/json"), ("idempotency-key", "once")];
    caller.send("POST", CALL, &key, input.to_string().into_bytes()).await.problem(Code::DnsFailed);
    // Why no more: the answer is that of the first one, its request id included.
    caller.send("POST", CALL, &key, input.to_string().into_bytes()).await.is(502);
    let text = logged.end();
    let lines = calls(&text);
    let outcomes: Vec<&str> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failed", "dry_run", "rejected", "failed", "replayed"], "{lines:#?}");
    lines.iter().for_each(assert_documented);
    let first = &lines[0];
    assert_eq!(first["run_id"], failed.json["run"]["run_id"]);
    for (member, value) in [
        ("org", json!("acme")),
        ("workspace", json!("main")),
        ("connector", json!("salesforce")),
        ("action", json!("create-contact")),
        ("code", json!("dns_failed")),
        ("durable", json!(false)),
        ("dry_run", json!(false)),
        ("request_id", json!("call-1")),
        ("trace_id", json!(trace)),
        ("target", json!("call")),
    ] {
        assert_eq!(first[member], value, "{member}");
    }
    assert!(first["total_us"].as_u64().unwrap() > 0 && first["dns_us"].as_u64().unwrap() > 0, "{first}");
    assert!(first["queue_us"].is_u64() && first["tls_us"].is_null(), "{first}");
    assert_eq!((&lines[1]["dry_run"], &lines[1]["trace_id"]), (&json!(true), &Value::Null));
    assert_eq!((&lines[2]["code"], &lines[2]["run_id"]), (&json!("input_invalid"), &Value::Null));
    assert!(!text.contains(KEY) && !text.contains("ada@example.org"), "{text}");
}

#[tokio::test]
async fn an_accepted_run_has_a_line_for_each_try_and_one_for_its_end() {
    let logged = Logged::start(&[]);
    let caller = logged.platform.with_token(connected(&logged.platform).await);
    let body = json!({ "input": { "Email": "ada@example.org" } }).to_string();
    let headers =
        [("prefer", "respond-async"), ("content-type", "application/json"), ("x-request-id", "later-1")];
    let accepted = caller.send("POST", CALL, &headers, body.into_bytes()).await.is(202);
    let run = accepted.json["run_id"].clone();
    // A name that cannot be looked up is tried again.
    let line = logged.line(|line| line["message"] == "call_done").await;
    assert_documented(&line);
    assert_eq!((&line["run_id"], &line["durable"], &line["tries"]), (&run, &json!(true), &json!(1)));
    assert_eq!((&line["outcome"], &line["code"]), (&json!("waiting"), &json!("dns_failed")));
    assert_eq!(line["request_id"], "later-1");
    let path = format!("/run/acme/main/{}/cancel", run.as_str().unwrap());
    caller.write("POST", &path, "").await.is(200);
    let line = logged.line(|line| line["outcome"] == "cancelled").await;
    assert_eq!((&line["run_id"], &line["reason"]), (&run, &json!("cancelled")));
}

#[tokio::test]
async fn a_change_has_one_line_that_says_who_changed_what() {
    let logged = Logged::start(&[]);
    connected(&logged.platform).await;
    let made = token(&logged.platform, json!({ "role": "org", "org": "acme" })).await;
    logged.platform.patch("/admin/connector/salesforce", &json!({ "enabled": false })).await.is(200);
    // What changes nothing has none.
    logged.platform.get("/admin/org").await.is(200);
    logged.platform.post("/admin/org", &json!({ "org": "acme" })).await.problem(Code::AlreadyExists);
    let is = |line: &Value, operation: &str| line["message"] == "change" && line["operation"] == operation;
    let line = logged.line(|line| is(line, "patchConnector")).await;
    assert_eq!((&line["kind"], &line["role"]), (&json!("connector"), &json!("platform")));
    assert!(line["written"].as_str().unwrap().contains("connector/salesforce"), "{line}");
    assert!(line["token_id"].as_str().unwrap().starts_with("tok_"), "{line}");
    assert!(line["request_id"].as_str().unwrap().starts_with("req_"), "{line}");
    let lines = logged.lines();
    assert_eq!(lines.iter().filter(|line| is(line, "createOrg")).count(), 1);
    assert_eq!(lines.iter().filter(|line| is(line, "createToken")).count(), 3);
    let text = logged.end();
    assert!(!text.contains(&made) && !text.contains(KEY));
}

#[tokio::test]
async fn an_id_of_the_caller_is_kept_and_one_that_cannot_be_told_is_replaced() {
    let logged = Logged::start(&[]);
    let id_of = async |id: &str| {
        let headers = [("x-request-id", id)];
        let anyone = logged.platform.anonymous();
        let answer = anyone.send("GET", "/healthz", &headers, Vec::new()).await.is(200);
        let stray = anyone.send("GET", "/nowhere", &headers, Vec::new()).await;
        let refused = anyone.send("GET", "/admin/org", &headers, Vec::new()).await;
        let own = |answer: &crate::support::Answer| answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(refused.json["request_id"], own(&refused));
        [own(&answer), own(&stray), own(&refused)]
    };
    let longest = "x".repeat(128);
    for id in ["0192-abc", "with \"quotes\" and spaces", longest.as_str()] {
        assert_eq!(id_of(id).await, [id, id, id]);
    }
    let too_long = "x".repeat(129);
    for id in ["", "a\tb", too_long.as_str()] {
        for made in id_of(id).await {
            assert!(made.starts_with("req_"), "{id:?} became {made}");
        }
    }
}

#[tokio::test]
async fn the_key_of_the_configuration_opens_a_listener() {
    let logged = Logged::start(&["--metrics-listen", "127.0.0.1:0"]);
    let line = logged.line(|line| line["message"] == "metrics are served without a token").await;
    let address = line["address"].as_str().unwrap().parse().unwrap();
    let scraped = super::scrape(&Client::new(address)).await;
    assert_eq!(scraped.sum("portcullis_build_info", &[]), 1.0);
}
