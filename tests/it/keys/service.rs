//! Master keys that stay in a service: the program of `examples/keys/vault-transit` and a real OpenBao.
//!
//! It is found by `PORTCULLIS_BAO` or on the path; with `PORTCULLIS_REQUIRE_BAO=1` a missing one is a failure. The program
//! also needs curl and jq.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use portcullis_core::fault::Code;
use portcullis_store::MasterKey;
use serde_json::{Value, json};

use super::{finished, key_of, ring};
use crate::support::binary::{Ran, SERVE, Server, command};
use crate::support::{Client, SALESFORCE, until};

const TOKEN: &str = "root-of-a-test";
const KEYS: [&str; 2] = ["portcullis-1", "portcullis-2"];

fn is_there(program: &str, argument: &str) -> bool {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

/// The server's program; `None`, said loudly, where it or something that is used beside it is missing.
#[allow(clippy::print_stderr, reason = "what was not run is said on standard error")]
fn program() -> Option<String> {
    let bao = std::env::var("PORTCULLIS_BAO").unwrap_or_else(|_| "bao".to_owned());
    let needed = [(bao.as_str(), "version"), ("curl", "--version"), ("jq", "--version")];
    let missing: Vec<&str> =
        needed.iter().filter(|(name, argument)| !is_there(name, argument)).map(|(name, _)| *name).collect();
    let required = std::env::var("PORTCULLIS_REQUIRE_BAO").is_ok_and(|value| value == "1");
    assert!(missing.is_empty() || !required, "PORTCULLIS_REQUIRE_BAO=1 needs {missing:?}");
    if !missing.is_empty() {
        eprintln!("NOT RUN: keys in OpenBao; missing: {missing:?}");
        return None;
    }
    Some(bao)
}

/// A server in memory with the transit engine and two keys. Ended when dropped.
struct Bao {
    program: String,
    child: Child,
    address: String,
}

impl Bao {
    async fn start(program: String, dir: &Path) -> Self {
        // Why asked for first: the server says no port of its own choice.
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let listen = free.local_addr().unwrap().to_string();
        drop(free);
        let child = Command::new(&program)
            .args(["server", "-dev", "-dev-no-store-token"])
            .args([format!("-dev-root-token-id={TOKEN}"), format!("-dev-listen-address={listen}")])
            .env("HOME", dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bao = Self { program, child, address: format!("http://{listen}") };
        until("OpenBao is up", async || bao.says(&["status"])).await;
        assert!(bao.says(&["secrets", "enable", "transit"]));
        for key in KEYS {
            assert!(bao.says(&["write", "-f", &format!("transit/keys/{key}"), "type=aes256-gcm96"]));
        }
        bao
    }

    fn says(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("BAO_ADDR", &self.address).env("BAO_TOKEN", TOKEN);
        command.output().unwrap().status.success()
    }

    /// Nothing can be encrypted or decrypted any more, as when it is sealed.
    fn seal(&self) {
        assert!(self.says(&["operator", "seal"]));
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        // Why ignored: it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data directory whose keys are in the service.
struct Place {
    dir: tempfile::TempDir,
    bao: Bao,
}

impl Place {
    async fn new(program: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bao = Bao::start(program, dir.path()).await;
        fs::write(dir.path().join("token"), TOKEN).unwrap();
        let place = Self { dir, bao };
        place.configure("");
        place
    }

    fn configure(&self, more: &str) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/keys/vault-transit");
        let text = format!("master_key_command = [\"/bin/sh\", \"{}\"]\n{more}", script.display());
        fs::write(self.dir.path().join("portcullis.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str], keys: &str) -> Command {
        let mut command = command(self.dir.path(), &[arguments, &["--config", "portcullis.toml"]].concat());
        command
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("VAULT_ADDR", &self.bao.address)
            .env("VAULT_TOKEN_FILE", self.dir.path().join("token"))
            .env("VAULT_KEYS", keys);
        command
    }

    fn run(&self, arguments: &[&str], keys: &str) -> Ran {
        Ran::of(self.command(arguments, keys).output().unwrap())
    }

    fn serve(&self, keys: &str) -> Server {
        Server::of(self.command(&SERVE, keys))
    }
}

fn token_of(ran: &Ran) -> String {
    ran.out.lines().find(|line| line.starts_with("pc_platform_")).expect("no token").to_owned()
}

/// A workspace with a credential.
async fn workspace(platform: &Client, name: &str) {
    platform.post("/admin/org/acme/workspace", &json!({ "workspace": name })).await.is(201);
    save(platform, name).await;
}

/// Saves a credential, for which the workspace's key must be opened.
async fn save(platform: &Client, name: &str) {
    let spec = json!({ "role": "workspace", "org": "acme", "workspace": name });
    let made = platform.post("/admin/token", &spec).await.is(201);
    let own = platform.with_token(made.json["token"].as_str().unwrap());
    let path = format!("/workspace/acme/{name}/settings/connector/salesforce");
    own.put(&path, &json!({ "enabled": true, "config": { "api_key": super::KEY } })).await.is(200);
}

fn named<'a>(ring: &'a Value, name: &str) -> &'a Value {
    ring["keys"].as_array().unwrap().iter().find(|key| key["name"] == name).unwrap()
}

#[tokio::test]
async fn keys_stay_in_openbao_from_the_first_start_through_a_rotation() {
    let Some(program) = program() else { return };
    let place = Place::new(program).await;
    let both = KEYS.join(" ");
    let token = token_of(&place.run(&["init"], KEYS[0]).exits(0));
    assert!(!place.dir.path().join("portcullis-data/master.key").exists(), "no key file is made");
    let server = place.serve(&both);
    let platform = Client::new(server.address).with_token(token.clone());
    platform.post("/admin/org", &json!({ "org": "acme" })).await.is(201);
    platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    for name in ["w1", "w2", "w3"] {
        workspace(&platform, name).await;
    }
    let before = ring(&platform).await;
    assert_eq!(named(&before, KEYS[0])["state"], "current", "{before}");
    let id = named(&before, KEYS[1])["key_id"].clone();
    platform.post("/admin/key/rotate", &json!({ "key_id": id })).await.is(200);
    let after = finished(&platform).await;
    assert_eq!(
        (&named(&after, KEYS[0])["wrapped"], &named(&after, KEYS[1])["state"]),
        (&json!(0), &json!("current"))
    );
    server.kill();

    // Without the old one, and after a start: every key of a workspace is opened by the service.
    let server = place.serve(KEYS[1]);
    let platform = Client::new(server.address).with_token(token);
    for name in ["w1", "w2"] {
        save(&platform, name).await;
    }
    // The service is away: what was opened goes on, what was not does not, and the answer says why.
    place.bao.seal();
    save(&platform, "w1").await;
    platform
        .post("/admin/org/acme/workspace", &json!({ "workspace": "w4" }))
        .await
        .problem(Code::KeyUnavailable);
    server.kill();
    let refused = place.run(&SERVE, KEYS[1]).exits(1);
    assert!(refused.err.contains("key provider failed"), "{}", refused.err);
}

#[tokio::test]
async fn an_operator_moves_from_a_key_file_to_openbao() {
    let Some(program) = program() else { return };
    let place = Place::new(program).await;
    fs::write(place.dir.path().join("portcullis.toml"), "").unwrap();
    let token = token_of(&place.run(&["init"], KEYS[0]).exits(0));
    let file = place.dir.path().join("portcullis-data/master.key");
    let old = MasterKey::from_text(&fs::read_to_string(&file).unwrap()).unwrap();
    // The service alone does not do: it lacks the key of the file.
    place.configure("");
    let refused = place.run(&SERVE, KEYS[0]).exits(1);
    assert!(refused.err.contains("wrong master key"), "{}", refused.err);
    place.configure("master_key_file = \"portcullis-data/master.key\"\n");
    let server = place.serve(KEYS[0]);
    let platform = Client::new(server.address).with_token(token.clone());
    let shown = ring(&platform).await;
    assert_eq!(key_of(&shown, &old)["state"], "current", "{shown}");
    let id = named(&shown, KEYS[0])["key_id"].clone();
    platform.post("/admin/key/rotate", &json!({ "key_id": id })).await.is(200);
    finished(&platform).await;
    server.kill();
    fs::remove_file(file).unwrap();
    place.configure("");
    let server = place.serve(KEYS[0]);
    let platform = Client::new(server.address).with_token(token);
    assert_eq!(named(&ring(&platform).await, KEYS[0])["state"], "current");
    server.kill();
}
