//! The shipped binary on a data directory with two orgs, and what it says over HTTP.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::SALESFORCE;
use crate::support::binary::{self, SERVE};
pub(crate) use crate::support::figures::{Random, count};

/// Names are never looked up: the calls of these tests are refused by the org's list.
pub(crate) const NO_NAMES: [&str; 2] = ["--egress-dns-servers", "127.0.0.1:1"];

/// The data directory below the directory in which the binary runs.
pub(crate) fn data(dir: &Path) -> PathBuf {
    dir.join("portcullis-data")
}

/// A serving process, whose log is in a file. Killed when dropped.
pub(crate) struct Product {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl Product {
    /// `portcullis serve` on a free port; the error is what it wrote to standard error before it ended.
    pub(crate) fn try_start(dir: &Path, more: &[&str]) -> Result<Self, String> {
        Self::of(binary::command(dir, &[&SERVE[..], &NO_NAMES, more].concat()), dir)
    }

    #[track_caller]
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        Self::try_start(dir, more).unwrap_or_else(|log| panic!("not serving: {log}"))
    }

    /// The same behind words of a shell.
    pub(crate) fn start_behind(words: &str, dir: &Path, more: &[&str]) -> Self {
        let command = binary::command_behind(words, dir, &[&SERVE[..], &NO_NAMES, more].concat());
        Self::of(command, dir).unwrap_or_else(|log| panic!("not serving: {log}"))
    }

    fn of(mut command: Command, dir: &Path) -> Result<Self, String> {
        let log = dir.join("serve.log");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        match line.trim().split_once(" listening on http://") {
            Some((_, address)) => Ok(Self { child, address: address.parse().unwrap(), log }),
            None => {
                child.wait().unwrap();
                Err(fs::read_to_string(log).unwrap())
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        self.child.wait().unwrap();
    }

    /// Sends a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        crate::support::binary::signal(&self.child, name);
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Reply {
        self.try_ask(token, method, path, body).await.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.ask(token, "GET", path, &Value::Null).await
    }

    /// One request on a new connection; an error if the process ends meanwhile.
    pub(crate) async fn try_ask(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Reply, String> {
        ask(self.address, token, method, path, body).await
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // Why ignored: it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer: status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

/// One request on a new connection. Exports are asked for by a path that ends in `#ndjson`.
pub(crate) async fn ask(
    address: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Reply, String> {
    ask_with(address, token, method, path, body, ("x-request-id", "test")).await
}

/// The same with one more header.
pub(crate) async fn ask_with(
    address: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
    header: (&str, &str),
) -> Result<Reply, String> {
    let (path, accept) = match path.split_once('#') {
        Some((path, _)) => (path, "application/x-ndjson"),
        None => (path, "application/json"),
    };
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address.to_string())
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(ACCEPT, accept)
        .header(CONTENT_TYPE, "application/json")
        .header(header.0, header.1)
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
    Ok(Reply { status, text: String::from_utf8_lossy(&body).into_owned() })
}

/// The tokens of a prepared directory.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) platform: String,
    /// Of orgs `acme` and `other`: the org's own, a workspace's, and a caller's.
    pub(crate) orgs: [OrgTokens; 2],
}

#[derive(Debug, Clone)]
pub(crate) struct OrgTokens {
    pub(crate) org: String,
    pub(crate) workspace: String,
    pub(crate) run: String,
}

/// Path of a call that the org's list refuses.
pub(crate) fn call(org: &str) -> String {
    format!("/run/{org}/main/connector/salesforce/create-contact")
}

pub(crate) fn input() -> Value {
    json!({ "input": { "Email": "ada@example.org" } })
}

/// Two orgs with a connected workspace each, whose calls are refused by the org's list: each leaves a record in the
/// ledger and a run.
pub(crate) async fn prepare(product: &Product, platform: &str) -> Tokens {
    let connector: Value = serde_json::from_str(SALESFORCE).unwrap();
    product.ask(platform, "POST", "/admin/connector", &connector).await.is(201);
    let mut orgs = Vec::new();
    for org in ["acme", "other"] {
        product.ask(platform, "POST", "/admin/org", &json!({ "org": org })).await.is(201);
        let path = format!("/admin/org/{org}/workspace");
        product.ask(platform, "POST", &path, &json!({ "workspace": "main" })).await.is(201);
        let mut made = Vec::new();
        for spec in [
            json!({ "role": "org", "org": org }),
            json!({ "role": "workspace", "org": org, "workspace": "main" }),
            json!({ "role": "run", "org": org }),
        ] {
            let token = product.ask(platform, "POST", "/admin/token", &spec).await.is(201);
            made.push(token.json()["token"].as_str().unwrap().to_owned());
        }
        let list = json!({ "domain_allowlist": ["api.hubapi.com"], "mode": "enforce" });
        let settings = format!("/org/{org}/settings/integrations");
        product.ask(&made[0], "PUT", &settings, &list).await.is(200);
        let setting = format!("/workspace/{org}/main/settings/connector/salesforce");
        let config = json!({ "enabled": true, "config": { "api_key": "sk-live-0123456789abcdef" } });
        product.ask(&made[1], "PUT", &setting, &config).await.is(200);
        let [org, workspace, run] = made.try_into().unwrap();
        orgs.push(OrgTokens { org, workspace, run });
    }
    Tokens { platform: platform.to_owned(), orgs: orgs.try_into().unwrap() }
}

/// Makes a refused call; returns its run id.
pub(crate) async fn refused_call(product: &Product, tokens: &Tokens, nth: usize) -> String {
    let org = ["acme", "other"][nth];
    let reply = product.ask(&tokens.orgs[nth].run, "POST", &call(org), &input()).await;
    let json = reply.json();
    assert_eq!(json["code"], "host_not_in_org", "{}", reply.text);
    json["run"]["run_id"].as_str().unwrap().to_owned()
}

/// A directory with both orgs and these many calls of each; returns it stopped, with the run ids.
pub(crate) async fn populated(dir: &Path, calls: usize) -> (Tokens, [Vec<String>; 2]) {
    let platform = binary::init(dir);
    let product = Product::start(dir, &[]);
    let tokens = prepare(&product, &platform).await;
    let mut ids = [Vec::new(), Vec::new()];
    for _ in 0..calls {
        for (nth, ids) in ids.iter_mut().enumerate() {
            ids.push(refused_call(&product, &tokens, nth).await);
        }
    }
    product.stop();
    (tokens, ids)
}

/// Files of the same name and content, with directories.
pub(crate) fn copied(from: &Path, to: &Path) {
    drop(fs::remove_dir_all(to));
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// All files below a directory, in order, as paths from it.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    fn collect(root: &Path, dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    collect(dir, dir, &mut found);
    found.sort();
    found
}

/// Whether a test that needs root may run here; if not, it says so, and fails where it must run.
pub(crate) fn is_root(what: &str, tools: &[&str]) -> bool {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    let there =
        |tool: &&&str| Command::new("which").arg(tool).stdout(Stdio::null()).status().unwrap().success();
    let missing: Vec<_> = tools.iter().filter(|tool| !there(tool)).collect();
    let unshared = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if id == b"0\n" && missing.is_empty() && unshared.is_ok_and(|status| status.success()) {
        return true;
    }
    let required = std::env::var("PORTCULLIS_REQUIRE_NETNS").is_ok_and(|value| value == "1");
    assert!(!required, "{what} must run here: root, mount namespaces and {tools:?} are needed");
    use std::io::Write as _;
    // Why not `eprintln!`: the test runner would hide it in a test that passes.
    drop(writeln!(std::io::stderr(), "{what} not run: root, mount namespaces and {tools:?} are needed"));
    false
}
