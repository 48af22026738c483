//! Disks that fail for a while: the parts that cannot be used are named, and heal when the disk does.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::product::{Product, Reply, Tokens, call, copied, data, input, is_root, populated, refused_call};
use crate::support::binary;
use crate::support::until;

async fn ready(product: &Product) -> (u16, Value) {
    let reply = product.get("", "/readyz").await;
    (reply.status, reply.json())
}

async fn called(product: &Product, tokens: &Tokens) -> Reply {
    product.ask(&tokens.orgs[0].run, "POST", &call("acme"), &input()).await
}

/// Asserts that nothing is lost of these runs, and that both chains and the offline check agree.
async fn assert_whole(product: Product, dir: &Path, tokens: &Tokens, runs: &[String]) {
    for id in runs {
        product.get(&tokens.orgs[0].run, &format!("/run/acme/main/{id}")).await.is(200);
    }
    let verify = product.get(&tokens.orgs[0].org, "/org/acme/outbound/verify").await.is(200).json();
    assert_eq!(verify["intact"], true, "{verify}");
    product.stop();
    let product = Product::start(dir, &[]);
    for id in runs {
        product.get(&tokens.orgs[0].run, &format!("/run/acme/main/{id}")).await.is(200);
    }
    product.get(&tokens.orgs[0].run, "/run/acme/main?limit=100").await.is(200);
    let export = product.get(&tokens.orgs[0].org, "/org/acme/outbound#ndjson").await.is(200);
    for id in runs {
        assert!(export.text.contains(id.as_str()), "{id} is not in the ledger");
    }
    product.stop();
    binary::run(dir, &["ledger", "verify"]).exits(0);
}

/// Moves a directory away, leaves a file in its place, and puts it back.
async fn unwritable_for_a_while(part: &str, member: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, mut ids) = populated(dir.path(), 2).await;
    let product = Product::start(dir.path(), &[]);
    ids[0].push(refused_call(&product, &tokens, 0).await);
    let (there, aside) = (data(dir.path()).join(part), dir.path().join("aside"));
    fs::rename(&there, &aside).unwrap();
    fs::write(&there, "in its place").unwrap();
    until("it is not ready", async || {
        called(&product, &tokens).await;
        ready(&product).await.0 == 503
    })
    .await;
    let (_, said) = ready(&product).await;
    assert_eq!(said[member], false, "{said}");
    for other in ["store", "ledger", "runs"].iter().filter(|other| **other != member) {
        assert_eq!(said[*other], true, "only {member} is broken: {said}");
    }
    product.get(&tokens.platform, "/admin/org").await.is(200);
    if member == "ledger" {
        assert_eq!(called(&product, &tokens).await.json()["code"], "ledger_unavailable");
        refused_call(&product, &tokens, 1).await;
    }
    fs::remove_file(&there).unwrap();
    fs::rename(&aside, &there).unwrap();
    until("it is ready without a call or a restart", async || ready(&product).await.0 == 200).await;
    ids[0].push(refused_call(&product, &tokens, 0).await);
    assert_whole(product, dir.path(), &tokens, &ids[0]).await;
}

#[tokio::test]
async fn h3_a_ledger_that_is_unwritable_for_a_second_heals_and_readyz_names_it() {
    unwritable_for_a_while("ledger/acme", "ledger").await;
}

#[tokio::test]
async fn h3_runs_that_are_unwritable_for_a_second_heal_and_readyz_names_them() {
    unwritable_for_a_while("runs/acme/main", "runs").await;
}

/// A product whose data directory is a small file system of its own, which only it sees.
struct Small {
    dir: tempfile::TempDir,
    tokens: Tokens,
    ids: Vec<String>,
    product: Product,
}

impl Small {
    async fn start(mib: usize, behind: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (tokens, [ids, _]) = populated(dir.path(), 2).await;
        let prepared = dir.path().join("prepared");
        copied(&data(dir.path()), &prepared);
        let words = format!(
            "exec unshare -m sh -c 'mount -t tmpfs -o size={mib}m tmpfs portcullis-data && \
             cp -a prepared/. portcullis-data/ && {behind} exec \"$0\" \"$@\"'"
        );
        let product = Product::start_behind(&words, dir.path(), &[]);
        Self { dir, tokens, ids, product }
    }

    /// The data directory as the process sees it.
    fn inside(&self) -> PathBuf {
        let seen = data(self.dir.path()).canonicalize().unwrap();
        PathBuf::from(format!("/proc/{}/root", self.product.id())).join(seen.strip_prefix("/").unwrap())
    }

    fn fill(&self) {
        let filler = self.inside().join("filler");
        for block in [1 << 20, 4096, 1] {
            let mut file = fs::File::options().create(true).append(true).open(&filler).unwrap();
            while std::io::Write::write_all(&mut file, &vec![0; block]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.inside().join("filler")).unwrap();
    }

    /// Takes what the process sees to where a next one finds it.
    fn keep(&self) {
        copied(&self.inside(), &self.dir.path().join("kept"));
    }
}

#[tokio::test]
async fn h3_a_full_disk_refuses_is_named_and_heals_with_nothing_lost() {
    if !is_root("a full disk", &["mount"]) {
        return;
    }
    let mut small = Small::start(32, "").await;
    small.fill();
    let (product, tokens) = (&small.product, &small.tokens);
    let mut refused = 0;
    until("the ledger is named", async || {
        let reply = called(product, tokens).await;
        match reply.json()["code"].as_str() {
            Some("ledger_unavailable") => refused += 1,
            Some("host_not_in_org") => {
                // Whether its run could be stored is not said to the caller.
                assert!(reply.json()["run"]["run_id"].is_string());
            }
            _ => panic!("{}", reply.text),
        }
        ready(product).await.1["ledger"] == false
    })
    .await;
    assert!(refused > 0, "calls without a record of them are refused");
    assert_eq!(ready(product).await.0, 503);
    // An admin's write fails as well, or had its place already.
    let org = |nth: usize| json!({ "org": format!("full{nth}") });
    let mut made = Vec::new();
    for nth in 0..20 {
        let reply = product.ask(&tokens.platform, "POST", "/admin/org", &org(nth)).await;
        assert!(matches!(reply.status, 201 | 503), "{}", reply.text);
        made.extend((reply.status == 201).then_some(nth));
    }
    small.free();
    let (product, tokens) = (&small.product, &small.tokens);
    until("it heals", async || ready(product).await.0 == 200).await;
    small.ids.push(refused_call(product, tokens, 0).await);
    product.ask(&tokens.platform, "POST", "/admin/org", &json!({ "org": "later" })).await.is(201);
    for nth in made {
        product.get(&tokens.platform, &format!("/admin/org/full{nth}")).await.is(200);
    }
    product.get(&tokens.platform, "/admin/org/later").await.is(200);
    small.keep();
    let Small { dir, tokens, ids, product } = small;
    product.kill();
    fs::remove_dir_all(data(dir.path())).unwrap();
    fs::rename(dir.path().join("kept"), data(dir.path())).unwrap();
    let product = Product::start(dir.path(), &[]);
    product.get(&tokens.platform, "/admin/org/later").await.is(200);
    assert_whole(product, dir.path(), &tokens, &ids).await;
}

#[tokio::test]
async fn h3_a_store_that_cannot_be_written_says_so_and_heals() {
    if !is_root("a full disk", &["mount"]) {
        return;
    }
    let small = Small::start(32, "").await;
    let (product, tokens) = (&small.product, &small.tokens);
    small.fill();
    let mut nth = 0;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut made = Vec::new();
    // sled takes room in steps: until its next step commits have their place.
    while ready(product).await.1["store"] == true {
        assert!(std::time::Instant::now() < deadline, "{} orgs fit into a full disk", made.len());
        nth += 1;
        let body = json!({ "org": format!("full{nth}") });
        let reply = product.ask(&tokens.platform, "POST", "/admin/org", &body).await;
        made.extend((reply.status == 201).then_some(nth));
    }
    assert_eq!(ready(product).await.0, 503);
    small.free();
    until("it heals", async || ready(product).await.0 == 200).await;
    product.ask(&tokens.platform, "POST", "/admin/org", &json!({ "org": "later" })).await.is(201);
    for nth in made {
        product.get(&tokens.platform, &format!("/admin/org/full{nth}")).await.is(200);
    }
}

#[tokio::test]
async fn h3_a_limit_of_file_size_fails_writes_and_does_not_end_the_process() {
    if !is_root("a limit of file size", &["prlimit"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tokens, mut ids) = populated(dir.path(), 30).await;
    // Little is logged: the log is a file, too.
    let product = Product::start(dir.path(), &["--log", "error"]);
    ids[0].push(refused_call(&product, &tokens, 0).await);
    let limit = |bytes: &str| {
        let pid = product.id().to_string();
        let arguments = ["--pid", &pid, &format!("--fsize={bytes}:unlimited")];
        assert!(std::process::Command::new("prlimit").args(arguments).status().unwrap().success());
    };
    limit("20000");
    until("the ledger is named", async || {
        called(&product, &tokens).await;
        ready(&product).await.1["ledger"] == false
    })
    .await;
    assert_eq!(called(&product, &tokens).await.json()["code"], "ledger_unavailable");
    limit("unlimited");
    until("it heals", async || ready(&product).await.0 == 200).await;
    ids[0].push(refused_call(&product, &tokens, 0).await);
    assert_whole(product, dir.path(), &tokens, &ids[0]).await;
}

/// Lets every sync of a process fail with EIO until it is dropped.
struct FailingSyncs(std::process::Child);

impl FailingSyncs {
    fn of(product: &Product) -> Self {
        let pid = product.id().to_string();
        let calls = "fsync,fdatasync";
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error=EIO"));
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, "-p", &pid]);
        Self(strace.spawn().unwrap())
    }
}

impl Drop for FailingSyncs {
    fn drop(&mut self) {
        // Asked, not killed: it has to let go of the process.
        let asked = std::process::Command::new("kill").arg(self.0.id().to_string()).status();
        drop((asked, self.0.wait()));
    }
}

#[tokio::test]
async fn h3_a_sync_that_fails_is_made_good_with_nothing_lost() {
    if !is_root("failing syncs", &["strace"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tokens, mut ids) = populated(dir.path(), 2).await;
    let product = Product::start(dir.path(), &[]);
    ids[0].push(refused_call(&product, &tokens, 0).await);
    let failing = FailingSyncs::of(&product);
    let mut made = Vec::new();
    let mut nth = 0;
    until("all three are named", async || {
        nth += 1;
        let reply = called(&product, &tokens).await;
        // What was handed to the operating system before the sync failed was answered, and must stay.
        if reply.json()["code"] == "host_not_in_org" && ready(&product).await.1["runs"] == true {
            ids[0].extend(reply.json()["run"]["run_id"].as_str().map(str::to_owned));
        }
        let org = format!("synced{nth}");
        let reply = product.ask(&tokens.platform, "POST", "/admin/org", &json!({ "org": org })).await;
        made.extend((reply.status == 201).then_some(org));
        let said = ready(&product).await.1;
        ["store", "ledger", "runs"].iter().all(|part| said[*part] == false)
    })
    .await;
    assert_eq!(called(&product, &tokens).await.json()["code"], "store_unavailable");
    drop(failing);
    until("it heals", async || ready(&product).await.0 == 200).await;
    ids[0].push(refused_call(&product, &tokens, 0).await);
    product.ask(&tokens.platform, "POST", "/admin/org", &json!({ "org": "later" })).await.is(201);
    for org in made.iter().map(String::as_str).chain(["later"]) {
        product.get(&tokens.platform, &format!("/admin/org/{org}")).await.is(200);
    }
    assert_whole(product, dir.path(), &tokens, &ids[0]).await;
}
