//! The built binary: a key file that grows, SIGHUP, kills, and the commands of a stopped server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use portcullis_store::{KeyRotation, MasterKey, MasterKeyRing, MasterKeys, Records, Vault, open_store};
use serde_json::json;

use super::{finished, key_of, ring};
use crate::support::binary::{SERVE, Server, init, run};
use crate::support::figures::{Random, count, print_line, seed};
use crate::support::{Client, until};

/// Many enough that a kill comes before the end.
const WORKSPACES: usize = 60;
/// A rotation of them takes some seconds.
const SLOWLY: [&str; 2] = ["--limit", "key_rewraps_per_second=20"];

fn key_file(dir: &Path) -> PathBuf {
    dir.join("portcullis-data/master.key")
}

fn keys_in(file: &Path) -> Vec<MasterKey> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| MasterKey::from_text(line).unwrap()).collect()
}

async fn fill(platform: &Client, org: &str, count: usize) {
    platform.post("/admin/org", &json!({ "org": org })).await.is(201);
    for n in 0..count {
        let path = format!("/admin/org/{org}/workspace");
        platform.post(&path, &json!({ "workspace": format!("w{n}") })).await.is(201);
    }
}

#[tokio::test]
async fn a_rotation_survives_kills_and_the_old_line_can_then_be_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let file = key_file(dir.path());
    let (seed, kills) = (seed(), count("PORTCULLIS_ROTATION_KILLS", 2));
    let mut random = Random(seed);
    let mut server = Server::start(dir.path(), &SLOWLY);
    let client = |server: &Server| Client::new(server.address).with_token(token.clone());
    fill(&client(&server), "acme", WORKSPACES).await;
    let added = run(dir.path(), &["key", "new", "--append", file.to_str().unwrap()]).exits(0);
    let [old, new] = keys_in(&file).try_into().unwrap();
    assert!(added.out.contains(new.id().as_str()), "{}", added.out);
    assert!(!added.out.contains(&new.to_text()[6..]) && !added.err.contains(&new.to_text()[6..]));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    server.signal("HUP");
    until("the new key is there", async || !key_of(&ring(&client(&server)).await, &new).is_null()).await;
    let wish = json!({ "key_id": new.id().as_str() });
    client(&server).post("/admin/key/rotate", &wish).await.is(200);
    let mut done = 0;
    for _ in 0..kills {
        let some = random.below(10) as u64 + 1;
        until("some are wrapped anew", async || {
            let rotation = ring(&client(&server)).await["rotation"].clone();
            rotation["rewrapped"].as_u64().unwrap() >= done + some || !rotation["finished_at"].is_null()
        })
        .await;
        done = ring(&client(&server)).await["rotation"]["rewrapped"].as_u64().unwrap();
        server.kill();
        server = Server::start(dir.path(), &SLOWLY);
    }
    let after = finished(&client(&server)).await;
    assert_eq!(key_of(&after, &old)["wrapped"], 0, "seed {seed}: {after}");
    print_line("rotations killed", &json!({ "kills": kills, "workspaces": WORKSPACES, "seed": seed }));
    server.kill();

    fs::write(&file, format!("{}\n", new.to_text().as_str())).unwrap();
    let server = Server::start(dir.path(), &[]);
    let alone = ring(&client(&server)).await;
    assert!(key_of(&alone, &old).is_null() && key_of(&alone, &new)["state"] == "current", "{alone}");
    server.kill();
    // The neighbour: the old key alone does not do any more, and the start says which one is missing.
    fs::write(&file, format!("{}\n", old.to_text().as_str())).unwrap();
    let refused = run(dir.path(), &SERVE).exits(1);
    assert!(refused.err.contains(&format!("master key {} is needed", new.id())), "{}", refused.err);
}

#[tokio::test]
async fn a_stopped_server_is_rotated_by_a_command() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let file = key_file(dir.path());
    let server = Server::start(dir.path(), &[]);
    let platform = Client::new(server.address).with_token(token.clone());
    fill(&platform, "acme", 5).await;
    let busy = run(dir.path(), &["key", "rotate"]).exits(1);
    assert!(busy.err.contains("is in use by `portcullis serve`"), "{}", busy.err);
    server.kill();
    let alone = run(dir.path(), &["key", "rotate"]).exits(1);
    assert!(alone.err.contains("portcullis key new --append"), "{}", alone.err);
    run(dir.path(), &["key", "new", "--append", file.to_str().unwrap()]).exits(0);
    let [old, new] = keys_in(&file).try_into().unwrap();
    let shown = run(dir.path(), &["key", "show", "--json"]).exits(0).json_lines();
    assert_eq!(shown[0]["state"], "current");
    assert_eq!((&shown[1]["state"], &shown[1]["wrapped"]), (&json!("decrypt_only"), &json!(0)));
    let wrong = run(dir.path(), &["key", "rotate", "--to", "0123456789abcdef"]).exits(1);
    assert!(wrong.err.contains("is not in the key ring"), "{}", wrong.err);
    let rotated = run(dir.path(), &["key", "rotate"]).exits(0);
    assert!(rotated.out.contains(new.id().as_str()), "{}", rotated.out);
    let shown = run(dir.path(), &["key", "show"]).exits(0).out;
    assert!(shown.contains("(can be taken out)") && shown.contains(old.id().as_str()), "{shown}");
    assert!(!shown.contains(&old.to_text()[6..]) && !shown.contains(&new.to_text()[6..]), "{shown}");
    fs::write(&file, new.to_text().as_bytes()).unwrap();
    let server = Server::start(dir.path(), &[]);
    let platform = Client::new(server.address).with_token(token);
    let audit = platform.get("/admin/audit?action=rotateMasterKey").await.is(200).json;
    let record = &audit["data"][0];
    assert_eq!(record["target"], format!("master_key/{}", new.id()), "{audit}");
    let shown = ring(&platform).await;
    assert!(shown["rotation"]["finished_at"].is_string(), "{shown}");
    server.kill();
}

/// What `key rotate` leaves that is killed after the commit of its promotion.
async fn promoted_and_killed(dir: &Path, to: &MasterKey) {
    let records = Records::new(open_store(&dir.join("portcullis-data/store")).unwrap());
    let ring = MasterKeys::from_text(&fs::read_to_string(key_file(dir)).unwrap()).unwrap();
    let vault = Vault::open(records.clone(), MasterKeyRing::from(ring)).await.unwrap();
    let writes = vault.promotion(&to.id(), 1).await.unwrap().unwrap();
    let writes = writes.put(&KeyRotation::PARTS, &KeyRotation::begun(to.id().as_str(), 1));
    records.commit(writes).await.unwrap();
}

/// The ids of the keys that wrap something, of which the current one is the first.
fn wrapping(dir: &Path) -> Vec<String> {
    let mut keys = run(dir, &["key", "show", "--json"]).exits(0).json_lines();
    keys.retain(|key| key["wrapped"] != 0);
    keys.sort_by_key(|key| key["state"] != "current");
    keys.iter().map(|key| key["key_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_rotation_by_command_that_is_run_again_never_brings_the_old_key_back() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let file = key_file(dir.path());
    let server = Server::start(dir.path(), &[]);
    fill(&Client::new(server.address).with_token(token), "acme", 5).await;
    server.kill();
    run(dir.path(), &["key", "new", "--append", file.to_str().unwrap()]).exits(0);
    let [old, new] = keys_in(&file).try_into().unwrap();
    promoted_and_killed(dir.path(), &new).await;
    assert!(wrapping(dir.path()).contains(&old.id().to_string()), "most is still to be wrapped anew");
    let again = run(dir.path(), &["key", "rotate"]).exits(0);
    assert!(again.err.contains("going on") && again.out.contains(new.id().as_str()), "{again:?}");
    assert_eq!(wrapping(dir.path()), [new.id().to_string()]);
    for _ in 0..2 {
        let again = run(dir.path(), &["key", "rotate"]).exits(0);
        assert!(again.out.contains("nothing is to be done"), "{again:?}");
        assert_eq!(wrapping(dir.path()), [new.id().to_string()]);
    }
    // The neighbours: who names the old key gets it, and a new one is promoted as before.
    run(dir.path(), &["key", "rotate", "--to", old.id().as_str()]).exits(0);
    assert_eq!(wrapping(dir.path()), [old.id().to_string()]);
    run(dir.path(), &["key", "new", "--append", file.to_str().unwrap()]).exits(0);
    let third = keys_in(&file).pop().unwrap();
    run(dir.path(), &["key", "rotate"]).exits(0);
    assert_eq!(wrapping(dir.path()), [third.id().to_string()]);
}

#[tokio::test]
async fn a_key_file_with_something_wrong_in_it_changes_nothing_while_it_serves() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let file = key_file(dir.path());
    let good = fs::read_to_string(&file).unwrap();
    let server = Server::start(dir.path(), &[]);
    let platform = Client::new(server.address).with_token(token);
    fill(&platform, "acme", 1).await;
    let before = ring(&platform).await["keys"].clone();
    let stranger = MasterKey::generate().unwrap();
    for wrong in [format!("{good}pcmk1_short\n"), stranger.to_text().to_string(), String::new()] {
        fs::write(&file, wrong).unwrap();
        server.signal("HUP");
        platform.post("/admin/org/acme/workspace", &json!({ "workspace": "w9" })).await.is(201);
        platform.delete("/admin/org/acme/workspace/w9").await.is(204);
        assert_eq!(ring(&platform).await["keys"], before);
    }
    // The neighbour: one that is right is taken.
    fs::write(&file, format!("# both\n{good}{}\n", stranger.to_text().as_str())).unwrap();
    MasterKeys::from_text(&fs::read_to_string(&file).unwrap()).unwrap();
    server.signal("HUP");
    until("it is taken", async || !key_of(&ring(&platform).await, &stranger).is_null()).await;
    server.kill();
}

#[test]
fn a_new_key_is_a_line_on_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["key", "new"]).exits(0);
    let key = MasterKey::from_text(&ran.out).unwrap();
    assert!(ran.err.contains(key.id().as_str()), "{}", ran.err);
    let help = run(dir.path(), &["key", "--help"]).exits(0).out;
    assert!(help.contains("rotate") && help.contains("show"), "{help}");
    let other = dir.path().join("notes.txt");
    fs::write(&other, "hello\n").unwrap();
    let refused = run(dir.path(), &["key", "new", "--append", "notes.txt"]).exits(1);
    assert!(refused.err.contains("is no key file"), "{}", refused.err);
    assert_eq!(fs::read_to_string(&other).unwrap(), "hello\n");
}
