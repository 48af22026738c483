//! The real binary from outside: the three tiers over HTTP, `kill -9` and a restart on the same data,
//! and every command with its exit code.

use std::fs;
use std::path::Path;

use portcullis_core::fault::Code;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::binary::{Ran, SERVE, Server, command_behind, init, run};
use crate::support::client::answer_on;
use crate::support::world::contact_automation;
use crate::support::{Client, SALESFORCE};

/// DNS queries go to an address where no server answers, so that this test contacts no third party.
pub(crate) const NO_NAMES: [&str; 4] = ["--egress-dns-servers", "127.0.0.1:1", "--limit", "dns_ms=300"];
pub(crate) const SETTING: &str = "/workspace/acme/main/settings/connector/salesforce";
pub(crate) const KEY: &str = "sk-live-0123456789abcdef";

pub(crate) async fn token(platform: &Client, body: Value) -> String {
    let made = platform.post("/admin/token", &body).await.is(201);
    made.json["token"].as_str().unwrap().to_owned()
}

/// The token of a caller of workspace `main` of `acme`, which is connected to the connector.
pub(crate) async fn connected(platform: &Client) -> String {
    platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    platform.post("/admin/org", &json!({ "org": "acme" })).await.is(201);
    platform.post("/admin/org/acme/workspace", &json!({ "workspace": "main" })).await.is(201);
    let workspace = json!({ "role": "workspace", "org": "acme", "workspace": "main" });
    let workspace = platform.with_token(token(platform, workspace).await);
    let saved = json!({ "enabled": true, "config": { "api_key": KEY } });
    assert_eq!(workspace.put(SETTING, &saved).await.is(200).json["state"], "connected");
    token(platform, json!({ "role": "run", "org": "acme" })).await
}

#[tokio::test]
async fn three_tiers_over_http_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let platform_token = init(dir.path());
    let server = Server::start(dir.path(), &NO_NAMES);
    let platform = Client::new(server.address).with_token(platform_token.clone());
    let run_token = connected(&platform).await;
    let caller = platform.with_token(run_token.clone());
    let org = platform.with_token(token(&platform, json!({ "role": "org", "org": "acme" })).await);
    let automation = org.post("/org/acme/automation", &contact_automation()).await.is(201);
    let automation = automation.json["automation_id"].as_str().unwrap().to_owned();
    let list = json!({ "domain_allowlist": ["*.salesforce.com"], "mode": "enforce" });
    org.put("/org/acme/settings/integrations", &list).await.is(200);
    let fire = format!("/run/acme/main/automation/{automation}");
    let source = json!({ "source": { "email": "ada@example.org" } });
    let answer = caller.post(&fire, &source).await.problem(Code::DnsFailed);
    assert_eq!(answer.json["run"]["status"], "failed");
    let run_id = answer.json["run"]["run_id"].as_str().unwrap().to_owned();
    let narrow = json!({ "domain_allowlist": ["api.hubapi.com"] });
    org.put("/org/acme/settings/integrations", &narrow).await.is(200);
    caller.post(&fire, &source).await.problem(Code::HostNotInOrg);
    server.kill();

    let server = Server::start(dir.path(), &NO_NAMES);
    let platform = Client::new(server.address).with_token(platform_token);
    let kept = platform.get("/admin/connector/salesforce").await.is(200);
    let uploaded: Value = serde_json::from_str(SALESFORCE).unwrap();
    assert_eq!(kept.json["definition"], uploaded);
    let caller = platform.with_token(run_token);
    assert_eq!(caller.get(&format!("/run/acme/main/{run_id}")).await.is(200).json["code"], "dns_failed");
    let workspace = json!({ "role": "workspace", "org": "acme", "workspace": "main" });
    let workspace = platform.with_token(token(&platform, workspace).await);
    assert_eq!(workspace.get(SETTING).await.is(200).json["state"], "connected");
    caller.post(&fire, &source).await.problem(Code::HostNotInOrg);
    let org = platform.with_token(token(&platform, json!({ "role": "org", "org": "acme" })).await);
    let ledger = org.get("/org/acme/outbound").await.is(200);
    assert_eq!(
        ledger.json["data"].as_array().unwrap().len(),
        5,
        "three tries and a refusal from before, a refusal from after"
    );
    assert_eq!(org.get("/org/acme/outbound/verify").await.is(200).json["intact"], true);
    server.kill();
    verify_offline(dir.path());
}

/// Status line and body of the answer to a call on this connection.
async fn ask(connection: &mut TcpStream, token: &str, path: &str, body: &str) -> (String, Value) {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let (mut head, body) = answer_on(connection).await;
    (head.swap_remove(0), body)
}

#[tokio::test]
async fn a_crowd_of_connections_leaves_calls_their_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let platform_token = init(dir.path());
    let server = Server::start_with_descriptors(dir.path(), 256, 400, &NO_NAMES);
    let platform = Client::new(server.address).with_token(platform_token);
    let run_token = connected(&platform).await;
    let call = "/run/acme/main/connector/salesforce/create-contact";
    let input = r#"{"input":{"Email":"ada@example.org"}}"#;
    let mut mine = TcpStream::connect(server.address).await.unwrap();
    let before = ask(&mut mine, &run_token, call, input).await;
    assert_eq!(before.1["code"], Code::DnsFailed.as_str(), "{before:?}");
    let mut crowd = Vec::new();
    for _ in 0..600 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    let beside = ask(&mut mine, &run_token, call, input).await;
    assert_eq!(beside.0, before.0);
    assert_eq!(beside.1["code"], Code::DnsFailed.as_str(), "{beside:?}");
    drop(crowd);
    platform.get("/admin/connector/salesforce").await.is(200);
}

#[test]
fn too_few_descriptors_to_serve_anybody_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let mut command = command_behind("ulimit -n 100; exec timeout 30", dir.path(), &SERVE);
    let ran = Ran::of(command.output().unwrap()).exits(1);
    assert!(ran.err.contains("100 file descriptors are too few"), "{}", ran.err);
}

/// The ledger is verified without a process, and a changed byte breaks it.
fn verify_offline(dir: &Path) {
    let ran = run(dir, &["ledger", "verify"]).exits(0);
    assert!(ran.out.starts_with("acme: intact, 8 records"), "{}", ran.out);
    let ran = run(dir, &["ledger", "verify", "--org", "acme", "--json"]).exits(0);
    assert_eq!(ran.json_lines()[0]["intact"], true);
    run(dir, &["ledger", "verify", "--org", "globex"]).exits(1);
    let segments = fs::read_dir(dir.join("portcullis-data/ledger/acme")).unwrap();
    let segment = segments.map(|e| e.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "ndjson"));
    let segment = segment.unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    let forged = text.replacen("host_not_in_org", "host_not_in_0rg", 1);
    assert_ne!(text, forged);
    fs::write(&segment, forged).unwrap();
    let ran = run(dir, &["ledger", "verify"]).exits(1);
    assert!(ran.out.starts_with("acme: BROKEN"), "{}", ran.out);
}

#[test]
fn serving_a_directory_that_was_never_initialised_says_so_and_exits_64() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [vec!["serve"], vec!["serve", "--check"]] {
        let ran = run(dir.path(), &arguments).exits(64);
        assert!(ran.err.contains("was never initialised; run: portcullis init"), "{}", ran.err);
        assert!(!dir.path().join("portcullis-data").exists(), "nothing was made");
    }
    init(dir.path());
    let ran = run(dir.path(), &["serve", "--check"]).exits(0);
    assert_eq!(ran.out, "the configuration is valid\n");
}

#[test]
fn initialising_twice_exits_64_and_changes_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let key = dir.path().join("portcullis-data/master.key");
    let before = fs::read(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let ran = run(dir.path(), &["init"]).exits(64);
    assert!(ran.err.contains("is initialised already"), "{}", ran.err);
    assert_eq!(ran.out, "");
    assert_eq!(fs::read(&key).unwrap(), before);
}

#[test]
fn a_bad_configuration_lists_every_error_and_exits_64() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let file = "listn = \"127.0.0.1:1\"\nstore = \"mysql\"\n[limits]\nresponse_bytes = 0\n";
    fs::write(dir.path().join("portcullis.toml"), file).unwrap();
    let arguments =
        ["serve", "--check", "--config", "portcullis.toml", "--listen", "nowhere", "--limit", "no_such=1"];
    let ran = run(dir.path(), &arguments).exits(64);
    for part in ["did you mean listen", "store is", "limits.response_bytes", "listen is", "limits.no_such"] {
        assert!(ran.err.contains(part), "{part} in {}", ran.err);
    }
    assert!(ran.err.lines().count() >= 5 && ran.err.lines().all(|l| l.starts_with("portcullis: ")));
    fs::write(dir.path().join("portcullis.toml"), "listen = \"127.0.0.1:0\"\n").unwrap();
    run(dir.path(), &["serve", "--check", "--config", "portcullis.toml"]).exits(0);
    run(dir.path(), &["serve", "--no-such-flag"]).exits(2);
}

#[test]
fn a_wrong_master_key_refuses_to_start_and_the_right_one_starts() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    init(dir.path());
    init(other.path());
    let wrong = other.path().join("portcullis-data/master.key");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--master-key-file", wrong.to_str().unwrap()];
    let ran = run(dir.path(), &arguments);
    assert!(matches!(ran.code, Some(1 | 64)), "{ran:?}");
    assert!(ran.err.contains("key"), "{}", ran.err);
    assert!(!ran.out.contains("listening"), "{}", ran.out);
    let key = fs::read_to_string(&wrong).unwrap();
    assert!(!ran.err.contains(key.trim()), "the key is not printed");
    let missing = ["serve", "--check", "--master-key-file", "no-such-file"];
    let ran = run(dir.path(), &missing).exits(64);
    assert!(ran.err.contains("no-such-file"), "{}", ran.err);
    let server = Server::start(dir.path(), &NO_NAMES);
    server.kill();
}

#[test]
fn two_processes_cannot_serve_the_same_data() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let server = Server::start(dir.path(), &NO_NAMES);
    run(dir.path(), &["serve", "--listen", "127.0.0.1:0"]).exits(1);
    server.kill();
    Server::start(dir.path(), &NO_NAMES).kill();
}

#[test]
fn the_demo_tells_its_story_in_plain_lines_and_in_json() {
    let dir = tempfile::tempdir().unwrap();
    let plain = run(dir.path(), &["demo"]).exits(0);
    assert!(plain.out.matches(". [ok] ").count() >= 12, "{}", plain.out);
    assert!(!plain.out.contains("[FAILED]") && !plain.out.contains('\x1b'), "{}", plain.out);
    let events = run(dir.path(), &["demo", "--json"]).exits(0).json_lines();
    let steps: Vec<_> = events.iter().filter(|e| e["event"] == "step").collect();
    assert!(steps.len() >= 12 && steps.iter().all(|s| s["ok"] == true), "{events:?}");
    assert_eq!(events.last().unwrap()["event"], "end");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "it leaves nothing behind");
}

#[test]
fn lint_finds_what_an_upload_would_find() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.json"), SALESFORCE).unwrap();
    fs::write(dir.path().join("bad.json"), SALESFORCE.replace("*.salesforce.com", "*.com")).unwrap();
    fs::write(dir.path().join("broken.json"), "{").unwrap();
    assert_eq!(run(dir.path(), &["lint", "good.json"]).exits(0).out, "good.json: ok\n");
    let ran = run(dir.path(), &["lint", "good.json", "bad.json", "broken.json", "missing.json"]).exits(1);
    for part in ["good.json: ok", "[allowed_domain_public_suffix]", "[bad_json]", "[unreadable]"] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    let lines = run(dir.path(), &["lint", "--json", "good.json", "bad.json"]).exits(1).json_lines();
    assert_eq!((&lines[0]["valid"], &lines[1]["valid"]), (&json!(true), &json!(false)));
    assert_eq!(lines[1]["errors"][0]["pointer"], "/allowed_domains/0");
}

#[test]
fn explain_judges_urls_as_raw_bytes_and_as_json_strings() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("d.json"), SALESFORCE).unwrap();
    fs::write(dir.path().join("list.txt"), "api.salesforce.com\n").unwrap();
    let urls = "https://api.salesforce.com/v1\nhttp://api.salesforce.com/\nhttps://evil.example.net/\n\
        \"https://api.salesforce.com/\\tx\"\nhttps://10.0.0.1/\nhttps://eu.salesforce.com/\n\
        https://u@api.salesforce.com/\nhttps://api.salesforce.com:22/\n";
    fs::write(dir.path().join("urls.txt"), urls).unwrap();
    let judge = |more: &[&str]| {
        let arguments = [&["explain", "--definition", "d.json", "--urls", "urls.txt"], more].concat();
        let lines = run(dir.path(), &arguments).exits(0).json_lines();
        lines.iter().map(|l| l["code"].as_str().unwrap_or("allow").to_owned()).collect::<Vec<_>>()
    };
    let expected = |eu: &'static str| {
        [
            "allow",
            "scheme_not_https",
            "host_not_in_connector",
            "url_invalid",
            "ip_literal",
            eu,
            "userinfo_present",
            "port_not_allowed",
        ]
    };
    assert_eq!(judge(&[]), expected("allow"));
    assert_eq!(judge(&["--allowlist", "list.txt"]), expected("host_not_in_org"));
    let one = ["explain", "--definition", "d.json", "--url", "https://api.salesforce.com/v1"];
    let line = &run(dir.path(), &one).exits(0).json_lines()[0];
    assert_eq!((&line["verdict"], &line["matched_connector"]), (&json!("allow"), &json!("*.salesforce.com")));
    assert_eq!(line["host"], "api.salesforce.com");
    run(dir.path(), &["explain", "--definition", "d.json"]).exits(2);
    run(dir.path(), &["explain", "--definition", "none.json", "--url", "https://a/"]).exits(64);
}

#[test]
fn codes_and_limits_are_printed_from_the_code_that_enforces_them() {
    let dir = tempfile::tempdir().unwrap();
    let lines = run(dir.path(), &["codes", "--json"]).exits(0).json_lines();
    let printed: Vec<&str> = lines.iter().map(|l| l["code"].as_str().unwrap()).collect();
    let known: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(printed, known);
    assert!(lines.iter().all(|l| l["status"].as_u64().is_some_and(|s| (400..600).contains(&s))));
    assert_eq!(run(dir.path(), &["codes"]).exits(0).out.lines().count(), known.len());
    let limits = run(dir.path(), &["limits", "--json"]).exits(0).json_lines();
    assert!(limits.iter().any(|l| l["name"] == "response_bytes" && l["default"] == 10 * 1024 * 1024));
    assert_eq!(run(dir.path(), &["limits"]).exits(0).out.lines().count(), limits.len());
}
