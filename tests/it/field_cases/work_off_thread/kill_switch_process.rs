//! The kill switch, `/healthz` and SIGTERM of the shipped binary under loads that one tenant makes.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::kill_switch::assert_prompt;
use super::{ID, KEY, MIB, definition, get, post};
use crate::support::Client;
use crate::support::binary::{SERVE, command, init};

/// The longest that the first sign of a stop may take.
const PROMPT: Duration = Duration::from_secs(1);
/// How long a stop may take at most: two seconds without a request, the drain, and some for the rest.
const STOPPED: Duration = Duration::from_secs(25);

/// A serving process. Killed when dropped.
struct Process {
    child: Child,
    platform: Client,
    stop: Arc<AtomicBool>,
    _dir: tempfile::TempDir,
}

impl Process {
    /// Serves; nobody reads its log if `log` is given, which is the level of it.
    fn start(log: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = init(dir.path());
        let limits =
            ["--limit", "drain_ms=3000", "--egress-dns-servers", "127.0.0.1:1", "--limit", "dns_ms=50"];
        let level = log.map(|level| ["--log", level]).unwrap_or(["--log", "error"]);
        let (child, address) = serve(dir.path(), &[&limits[..], &level[..]].concat(), log.is_some());
        let platform = Client::new(address).with_token(token);
        Self { child, platform, stop: Arc::default(), _dir: dir }
    }

    async fn token(&self, role: &str) -> Client {
        let mut spec = json!({ "role": role, "org": "acme" });
        if role != "org" {
            spec["workspace"] = json!("main");
        }
        let made = self.platform.post("/admin/token", &spec).await.is(201);
        self.platform.with_token(made.json["token"].as_str().unwrap())
    }

    /// Org, workspace and a connector; returns clients of the roles org and run.
    async fn tenant(&self, actions: Vec<(&str, Value)>) -> (Client, Client) {
        let platform = &self.platform;
        platform.post("/admin/connector", &definition(actions)).await.is(201);
        platform.post("/admin/org", &json!({ "org": "acme" })).await.is(201);
        platform.post("/admin/org/acme/workspace", &json!({ "workspace": "main" })).await.is(201);
        let saved = json!({ "enabled": true, "config": { "api_key": KEY } });
        let path = format!("/workspace/acme/main/settings/connector/{ID}");
        self.token("workspace").await.put(&path, &saved).await.is(200);
        let mut other = definition(vec![("get", get("/v1/get"))]);
        other["connector_id"] = json!("other");
        platform.post("/admin/connector", &other).await.is(201);
        (self.token("org").await, self.token("run").await)
    }

    /// Sends this request all the time, some at once.
    fn load(&self, client: &Client, method: &str, path: &str, body: &str) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            client.token().unwrap(),
            body.len()
        );
        let request: Arc<[u8]> = [head.as_bytes(), body.as_bytes()].concat().into();
        for _ in 0..6 {
            let (request, stop, address) = (Arc::clone(&request), Arc::clone(&self.stop), client.address());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut connection) = TcpStream::connect(address).await else { return };
                    // Why ignored: a process that stops may close the connection.
                    let _ = connection.write_all(&request).await;
                    let _ = connection.read_to_end(&mut Vec::new()).await;
                }
            });
        }
    }

    /// Asserts that control answers under the load, and that the process stops under it when it is asked to.
    async fn assert_in_control(mut self, what: &str) {
        assert_prompt(&self.platform, "other", what).await;
        let asked = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        loop {
            let Ok(mut connection) = TcpStream::connect(self.platform.address()).await else { break };
            let _ =
                connection.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            let mut answer = String::new();
            let _ = connection.read_to_string(&mut answer).await;
            if answer.contains("503") {
                break;
            }
            assert!(asked.elapsed() <= PROMPT, "{what}: no sign of a stop after {:?}", asked.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(asked.elapsed() <= PROMPT * 2, "{what}: no sign of a stop for {:?}", asked.elapsed());
        while self.child.try_wait().unwrap().is_none() {
            assert!(asked.elapsed() <= STOPPED, "{what}: it does not stop");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{what}");
    }
}

fn serve(dir: &Path, more: &[&str], log_unread: bool) -> (Child, SocketAddr) {
    let mut command = command(dir, &[&SERVE, more].concat());
    let log = if log_unread { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let (_, address) = line.trim().split_once(" listening on http://").expect("it serves");
    (child, address.parse().unwrap())
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Why ignored: it may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn automation(org: &Client, more: Value) -> String {
    let mut automation = json!({
        "entity_name": "contact", "event_name": "contact.created",
        "destination_config": { "connector_id": ID, "action_id": "act", "field_mapping": {} },
    });
    for (name, value) in more.as_object().unwrap() {
        automation[name] = value.clone();
    }
    let made = org.post("/org/acme/automation", &automation).await.is(201);
    format!("/run/acme/main/automation/{}", made.json["automation_id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kill_switch_answers_under_s1_mappings_that_repeat_a_large_source() {
    let process = Process::start(None);
    let (org, run) = process.tenant(vec![("act", post("/v1/act", &[("text", "string")]))]).await;
    let mapping = json!({ "text": "{{source.a}}".repeat(20) });
    let destination = json!({ "connector_id": ID, "action_id": "act", "field_mapping": mapping });
    let fire = automation(&org, json!({ "destination_config": destination })).await;
    process.load(&run, "POST", &fire, &json!({ "source": { "a": "x".repeat(7_000_000) } }).to_string());
    process.assert_in_control("under mappings").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kill_switch_answers_under_s3_conditions_and_patterns() {
    let process = Process::start(None);
    let (org, run) = process.tenant(vec![("act", post("/v1/act", &[("text", "string")]))]).await;
    let condition = json!({ "path": "/l/*", "matches": "(?:[a-z]{1,20}){1,10}b" });
    let conditions = vec![json!({ "any": vec![condition; 60] }); 4];
    let fire = automation(&org, json!({ "entry_conditions": conditions })).await;
    let source = json!({ "source": { "l": vec!["a".repeat(60_000); 40] } });
    process.load(&run, "POST", &fire, &source.to_string());
    let inputs: Vec<Value> = (0..150)
        .map(
            |n| json!({ "name": format!("i{n}"), "pattern": format!("[a-z]{{1,30}}{n}(?:[0-9]{{1,20}}b)?") }),
        )
        .collect();
    let actions: Vec<Value> = (0..20)
        .map(|n| {
            json!({ "action_id": format!("a{n}"), "http_method": "POST", "body_schema": inputs,
                    "url_template": format!("https://api.salesforce.com/v1/{n}") })
        })
        .collect();
    let mut checked = definition(vec![]);
    checked["actions"] = json!(actions);
    process.load(&process.platform, "POST", "/admin/connector/validate", &checked.to_string());
    process.assert_in_control("under conditions and patterns").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kill_switch_answers_under_s4_bodies_of_unknown_names() {
    let process = Process::start(None);
    let names: Vec<String> = (0..200).map(|n| format!("input_number_{n}")).collect();
    let inputs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "string")).collect();
    let (org, run) = process.tenant(vec![("act", post("/v1/act", &inputs))]).await;
    let unknown: serde_json::Map<String, Value> =
        (0..240_000).map(|n| (format!("unknown_number_{n}"), json!(1))).collect();
    let call = format!("/run/acme/main/connector/{ID}/act");
    process.load(&run, "POST", &call, &json!({ "input": unknown }).to_string());
    let list = json!({ "domain_allowlist": vec!["not a host"; 500_000] });
    process.load(&org, "PUT", "/org/acme/settings/integrations", &list.to_string());
    process.assert_in_control("under unknown names").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kill_switch_answers_under_bodies_of_8_mib_from_many_callers() {
    let process = Process::start(None);
    let (org, run) = process.tenant(vec![("act", post("/v1/act", &[("any", "any")]))]).await;
    let body = json!({ "input": { "any": vec![json!([]); 8 * MIB / 3 - 20] } }).to_string();
    let call = format!("/run/acme/main/connector/{ID}/act");
    for _ in 0..3 {
        process.load(&run, "POST", &call, &body);
    }
    process.load(&org, "POST", "/org/acme/automation", &body);
    process.load(&process.platform, "POST", "/admin/connector", &body);
    process.assert_in_control("under large bodies").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kill_switch_answers_under_h2_a_log_that_nobody_reads() {
    let process = Process::start(Some("debug"));
    let (_org, run) = process.tenant(vec![("act", post("/v1/act", &[("text", "string")]))]).await;
    let call = format!("/run/acme/main/connector/{ID}/act");
    process.load(&run, "POST", &call, &json!({ "input": { "text": "x" } }).to_string());
    process.assert_in_control("under a log that nobody reads").await;
}
