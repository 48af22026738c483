//! The stage of one test: the shipped binary on one side, name server and third party on the other.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::certificate::Authority;
use super::inside::Inside;
use super::namespaces::{Namespaces, OUTSIDE, Side};
use crate::support::binary;

/// The domain of the connector on this stage.
pub(super) const DOMAIN: &str = "example-saas.com";
/// The workspace's key. It is valid nowhere.
pub(super) const KEY: &str = "netns-key-61f0b7c2d94e48a5";
/// The product's log file, in the stage's directory.
const LOG: &str = "product.log";
/// File with the CA of `--egress-ca-file`.
const CA_FILE: &str = "ca.pem";

/// The certificate that the upstream presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Its own, signed by the CA of `--egress-ca-file`.
    Own,
    /// Signed by that CA, for another name.
    OfAnotherName,
    /// For its own name, signed by a CA that the product does not know.
    OfUnknownCa,
}

/// What differs between stages.
pub(super) struct Plan {
    /// Names below [`DOMAIN`], each an action with the same id, and the name server's answers.
    pub(super) hosts: Vec<(&'static str, Value)>,
    /// Names outside the connector's domains, to which aliases may lead.
    pub(super) elsewhere: Vec<(&'static str, Value)>,
    /// The upstream's certificate.
    pub(super) shown: Shown,
    /// Whether the upstream keeps connections open.
    pub(super) keep_alive: bool,
    /// Whether the product uses the system's resolver configuration.
    pub(super) system_resolver: bool,
    /// Environment of the product.
    pub(super) environment: Vec<(&'static str, String)>,
    /// The connector's `auth_type`, `auth` and `auth_schema`, and the saved config, instead of an API key.
    pub(super) auth: Option<(Value, Value)>,
    /// The upstream's answers, by path.
    pub(super) replies: Value,
    /// Each of the upstream's answers waits for less than this.
    pub(super) pause_ms: u64,
    /// The connector's actions, instead of one for each host.
    pub(super) actions: Option<Value>,
}

impl Plan {
    /// Hosts and their answers; everything else normal.
    pub(super) fn new(hosts: Vec<(&'static str, Value)>) -> Self {
        Self {
            hosts,
            elsewhere: Vec::new(),
            shown: Shown::Own,
            keep_alive: true,
            system_resolver: false,
            environment: Vec::new(),
            auth: None,
            replies: json!({}),
            pause_ms: 0,
            actions: None,
        }
    }

    /// The config to save.
    fn config(&self) -> Value {
        self.auth.as_ref().map_or_else(|| json!({ "api_key": KEY }), |(_, config)| config.clone())
    }
}

/// The answer to one run.
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) took: Duration,
}

/// Everything, running. Fields are dropped in this order.
pub(super) struct Stage {
    client: Inside,
    product: Inside,
    outside: Inside,
    told: Vec<Value>,
    address: String,
    org: String,
    workspace: String,
    run: String,
    config: Value,
    dir: TempDir,
    pub(super) net: Namespaces,
}

impl Stage {
    /// Builds the stage and connects one workspace.
    pub(super) fn set(net: Namespaces, plan: &Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ours = Authority::new("Throwaway CA");
        std::fs::write(dir.path().join(CA_FILE), ours.pem()).unwrap();
        let script = script(plan, &ours);
        let outside = start_peer(&net, Side::Outside, dir.path(), &script);
        let platform = initialise(&net, dir.path());
        let (address, product) = serve(&net, plan, dir.path());
        let client = Inside::start(net.command(Side::Product, peer()).arg("client"));
        let (org, workspace, run) = (String::new(), String::new(), String::new());
        let (told, config) = (Vec::new(), plan.config());
        let mut stage =
            Self { client, product, outside, told, address, org, workspace, run, config, dir, net };
        stage.furnish(&platform, plan);
        stage
    }

    /// Org, workspace, connector, tokens, credential.
    fn furnish(&mut self, platform: &str, plan: &Plan) {
        let made = |answer: (u16, Value)| {
            assert_eq!(answer.0, 201, "{}", answer.1);
            answer.1["token"].as_str().unwrap_or_default().to_owned()
        };
        made(self.api("POST", "/admin/connector", platform, &definition(plan)));
        made(self.api("POST", "/admin/org", platform, &json!({ "org": "acme" })));
        made(self.api("POST", "/admin/org/acme/workspace", platform, &json!({ "workspace": "main" })));
        let token = |role: &str| json!({ "role": role, "org": "acme" });
        self.org = made(self.api("POST", "/admin/token", platform, &token("org")));
        self.run = made(self.api("POST", "/admin/token", platform, &token("run")));
        let token = json!({ "role": "workspace", "org": "acme", "workspace": "main" });
        self.workspace = made(self.api("POST", "/admin/token", platform, &token));
        self.save_key();
    }

    /// Saves the workspace's key, which makes a new version of its credential.
    pub(super) fn save_key(&mut self) {
        let path = "/workspace/acme/main/settings/connector/saas";
        let token = self.workspace.clone();
        let body = json!({ "enabled": true, "config": self.config });
        let (status, answer) = self.api("PUT", path, &token, &body);
        assert_eq!((status, &answer["state"]), (200, &json!("connected")), "{answer}");
    }

    /// Sets the org's list of domains.
    pub(super) fn allow_for_org(&mut self, domains: &[&str]) {
        let token = self.org.clone();
        let body = json!({ "domain_allowlist": domains, "mode": "enforce" });
        let (status, answer) = self.api("PUT", "/org/acme/settings/integrations", &token, &body);
        assert_eq!(status, 200, "{answer}");
    }

    /// Runs the action that calls that host.
    pub(super) fn call(&mut self, host: &str) -> Outcome {
        let token = self.run.clone();
        let path = format!("/run/acme/main/connector/saas/{host}");
        let started = Instant::now();
        let (status, body) = self.api("POST", &path, &token, &json!({ "input": { "Name": "Ada" } }));
        Outcome { status, body, took: started.elapsed() }
    }

    /// Starts such a run and does not wait for its end.
    pub(super) fn begin(&mut self, host: &str) {
        let request = json!({
            "address": self.address, "method": "POST", "token": self.run,
            "path": format!("/run/acme/main/connector/saas/{host}"), "body": { "input": { "Name": "Ada" } },
        });
        self.client.say(&request.to_string());
    }

    /// Stops the product with SIGSTOP.
    pub(super) fn freeze(&self) {
        self.product.signal("-STOP");
    }

    /// Releases one held answer of the upstream, and waits until it is sent.
    pub(super) fn release(&mut self) {
        let sent = |stage: &Self| stage.net.counter(Side::Outside, "Tcp", "OutSegs");
        let before = sent(self);
        self.outside.say("release");
        let deadline = Instant::now() + Duration::from_secs(10);
        while sent(self) == before {
            assert!(Instant::now() < deadline, "nothing was answered");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `kill -9`, and the product started again with its data. The started run is lost.
    pub(super) fn kill_and_restart(&mut self, plan: &Plan) {
        self.product.kill();
        let lost = self.client.json();
        assert!(lost["error"].is_string(), "{lost}");
        (self.address, self.product) = serve(&self.net, plan, self.dir.path());
    }

    /// Asks for a call that is executed later, as a caller with a run token; [`Self::heard`] has the answer.
    pub(super) fn ask_later(&mut self, path: &str, body: &Value) {
        let request = json!({
            "address": self.address, "method": "POST", "path": path, "token": self.run, "body": body,
            "headers": { "prefer": "respond-async" },
        });
        self.client.say(&request.to_string());
    }

    /// The next answer to what was asked; `None` if there was none, as from a product that was killed.
    pub(super) fn heard(&mut self) -> Option<(u64, Value)> {
        let mut answer = self.client.json();
        answer["status"].as_u64().map(|status| (status, answer["body"].take()))
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        self.product.kill();
    }

    /// The product started again with its data.
    pub(super) fn restart(&mut self, plan: &Plan) {
        (self.address, self.product) = serve(&self.net, plan, self.dir.path());
    }

    /// A request as the org's admin, which must have this status.
    pub(super) fn as_org(&mut self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let token = self.org.clone();
        let (found, answer) = self.api(method, path, &token, body);
        assert_eq!(found, status, "{method} {path}: {answer}");
        answer
    }

    /// The newest entry of the org's ledger.
    pub(super) fn last_entry(&mut self) -> Value {
        let token = self.org.clone();
        let (status, mut answer) = self.api("GET", "/org/acme/outbound?limit=1", &token, &Value::Null);
        assert_eq!(status, 200, "{answer}");
        answer["data"][0].take()
    }

    /// Every event of that kind that the outside has seen so far.
    pub(super) fn seen(&mut self, kind: &str) -> Vec<Value> {
        // Why this is complete: the peer reports each event before it answers, and `sync` after them.
        self.outside.say("sync");
        loop {
            let event = self.outside.json();
            if event["event"] == "sync" {
                break;
            }
            self.told.push(event);
        }
        self.told.iter().filter(|e| e["event"] == kind).cloned().collect()
    }

    /// Waits until the outside has seen `count` events of that kind.
    pub(super) fn await_seen(&mut self, kind: &str, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let seen = self.seen(kind);
            if seen.len() >= count {
                return seen;
            }
            assert!(Instant::now() < deadline, "only {} of {count} {kind}: {:?}", seen.len(), self.told);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// DNS queries for a name, both kinds together.
    pub(super) fn questions(&mut self, name: &str) -> usize {
        self.seen("query").iter().filter(|q| q["name"] == name).count()
    }

    /// TCP segments that reached the outside, connection attempts included.
    pub(super) fn segments(&self) -> u64 {
        self.net.counter(Side::Outside, "Tcp", "InSegs")
    }

    /// Opens and closes a plain TCP connection from the product's side, to show whether the route is open.
    pub(super) fn plain_connect(&mut self, address: &str) -> Value {
        self.client.say(&json!({ "connect": address }).to_string());
        self.client.json()
    }

    /// A second third party, on the product's own side.
    pub(super) fn neighbour(&self) -> Inside {
        let certified = Authority::new("Neighbour").certify(DOMAIN);
        let upstream = json!({
            "addresses": ["[::]:443"], "keep_alive": true,
            "certificate": certified.certificate, "key": certified.key,
        });
        let dir = self.dir.path().join("neighbour");
        std::fs::create_dir(&dir).unwrap();
        start_peer(&self.net, Side::Product, &dir, &json!({ "dns": null, "upstream": upstream }))
    }

    fn api(&mut self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let request = json!({
            "address": self.address, "method": method, "path": path, "token": token, "body": body,
        });
        self.client.say(&request.to_string());
        let mut answer = self.client.json();
        let status = answer["status"].as_u64().unwrap_or_else(|| panic!("{method} {path}: {answer}"));
        (u16::try_from(status).unwrap(), answer["body"].take())
    }
}

impl Drop for Stage {
    #[allow(clippy::print_stderr, reason = "the harness shows it with the failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the outside saw {:#?}\nthe product logged\n{}", self.told, logged(self.dir.path()));
        }
    }
}

impl Outcome {
    /// The upstream answered.
    #[track_caller]
    pub(super) fn succeeded(&self) {
        assert_eq!((self.status, &self.body["status"]), (200, &json!("succeeded")), "{}", self.body);
    }

    /// The guard refused.
    #[track_caller]
    pub(super) fn refused(&self, code: &str) {
        assert_eq!((self.status, &self.body["code"]), (403, &json!(code)), "{}", self.body);
        assert_eq!(self.body["run"]["status"], "refused", "{}", self.body);
    }

    /// The network failed.
    #[track_caller]
    pub(super) fn failed(&self, code: &str) {
        assert_eq!((self.status, &self.body["code"]), (502, &json!(code)), "{}", self.body);
        assert_eq!(self.body["run"]["status"], "failed", "{}", self.body);
    }
}

/// The name server's answers: IPv4 answers in order, then IPv6 answers in order.
pub(super) fn answers(a: &[Value], aaaa: &[Value]) -> Value {
    json!({ "a": a, "aaaa": aaaa })
}

/// The same answer to queries of either kind, always.
pub(super) fn both(answer: &Value) -> Value {
    json!({ "a": [answer], "aaaa": [answer] })
}

/// These addresses, not to be cached.
pub(super) fn addresses(addresses: &[&str]) -> Value {
    json!({ "addresses": addresses, "ttl": 0 })
}

/// A name that resolves to the upstream's address.
pub(super) fn public() -> Value {
    answers(&[addresses(&[OUTSIDE])], &[])
}

fn definition(plan: &Plan) -> Value {
    let actions = plan.hosts.iter().map(|(host, _)| {
        json!({
            "action_id": host, "http_method": "POST",
            "url_template": format!("https://{host}.{DOMAIN}/v1/things"),
            "body_schema": [{ "name": "Name", "label": "Name" }],
        })
    });
    let mut definition = json!({
        "connector_id": "saas", "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [
            { "name": "api_key", "label": "API key", "type": "password", "required": true },
        ] },
        "actions": actions.collect::<Vec<_>>(), "allowed_domains": [format!("*.{DOMAIN}")], "enabled": true,
    });
    if let Some(actions) = &plan.actions {
        definition["actions"] = actions.clone();
    }
    for (name, value) in plan.auth.iter().flat_map(|(auth, _)| auth.as_object().unwrap()) {
        definition[name] = value.clone();
    }
    definition
}

fn script(plan: &Plan, ours: &Authority) -> Value {
    let certified = match plan.shown {
        Shown::Own => ours.certify(&format!("*.{DOMAIN}")),
        Shown::OfAnotherName => ours.certify("*.example-other.com"),
        Shown::OfUnknownCa => Authority::new("Unknown CA").certify(&format!("*.{DOMAIN}")),
    };
    let mut names = Map::new();
    for (host, said) in &plan.hosts {
        names.insert(format!("{host}.{DOMAIN}"), said.clone());
    }
    for (name, said) in &plan.elsewhere {
        names.insert((*name).to_owned(), said.clone());
    }
    json!({
        "dns": format!("{OUTSIDE}:53"), "names": names,
        "upstream": {
            "addresses": ["[::]:443"], "keep_alive": plan.keep_alive, "answers": plan.replies,
            "pause_ms": plan.pause_ms,
            "certificate": certified.certificate, "key": certified.key,
        },
    })
}

fn start_peer(net: &Namespaces, side: Side, dir: &Path, script: &Value) -> Inside {
    let path = dir.join("script.json");
    std::fs::write(&path, script.to_string()).unwrap();
    let peer = Inside::start(net.command(side, peer()).arg("serve").arg(&path));
    assert_eq!(peer.json()["event"], "ready");
    peer
}

/// A command of the shipped binary, with nothing from this process's environment.
fn command(net: &Namespaces, dir: &Path, verb: &str) -> Command {
    let mut command = net.command(Side::Product, binary::path());
    command.arg(verb).arg("--data-dir").arg(dir.join("data"));
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// Initialises the product; returns the first token.
fn initialise(net: &Namespaces, dir: &Path) -> String {
    let init = command(net, dir, "init").output().unwrap();
    let printed = String::from_utf8_lossy(&init.stdout).into_owned();
    let token = printed.lines().find(|line| line.starts_with("pc_platform_"));
    token.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&init.stderr))).to_owned()
}

/// Starts the product; returns its address and the process.
fn serve(net: &Namespaces, plan: &Plan, dir: &Path) -> (String, Inside) {
    let mut serve = command(net, dir, "serve");
    serve.args(["--listen", "127.0.0.1:0", "--log", "info,portcullis_egress=debug"]);
    serve.arg("--egress-ca-file").arg(dir.join(CA_FILE)).envs(plan.environment.iter().cloned());
    if !plan.system_resolver {
        serve.args(["--egress-dns-servers", OUTSIDE]);
    }
    let log = File::options().create(true).append(true).open(dir.join(LOG)).unwrap();
    let product = Inside::start(serve.stderr(log));
    let line = product.try_line().unwrap_or_else(|| panic!("it did not start: {}", logged(dir)));
    let address = line.split_once("listening on http://").expect(&line).1.to_owned();
    (address, product)
}

fn logged(dir: &Path) -> String {
    std::fs::read_to_string(dir.join(LOG)).unwrap_or_default()
}

fn peer() -> &'static str {
    env!("CARGO_BIN_EXE_netns-peer")
}
