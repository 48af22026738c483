//! Random damage to every file of a populated directory: what is then read is what was written, or an error.
//!
//! Silent is a read over the product that gives other than what was acknowledged. Whole directories that are put back
//! from an older time are the anchor's (`store.rs`); what is tried here is one file at a time, or two that change
//! places.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_store::{FileRuns, RunRecord, Runs as _};
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::kills::print_line;
use super::ledger::grown;
use super::product::{Product, Random, Reply, Tokens, copied, count, data, files, populated, refused_call};
use crate::support::binary;

/// The list of tokens.
const TOKENS: &str = "/admin/token?limit=100";

/// What kind of file a path of the data directory is.
fn kind(path: &Path) -> &'static str {
    let text = path.to_str().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    match text.split('/').next().unwrap() {
        "store" if name == "db" => "store/sled/db",
        "store" if name == "conf" => "store/sled/conf",
        "store" if name.starts_with("snap") => "store/sled/snap",
        "store" if name == "watermark" => "store/watermark",
        "ledger" if text.contains(".heads") => "ledger/.heads",
        "ledger" if name.ends_with(".ndjson") => "ledger segment",
        "ledger" if name == "head.json" => "ledger head",
        "runs" if text.contains(".heads") => "runs/.heads",
        "runs" => "runs file",
        "compiled" => "compiled",
        "format.json" => "format.json",
        "master.key" => "master.key",
        _ => "locks",
    }
}

const DAMAGE: [&str; 7] = ["flip", "cut", "delete", "swap", "zero", "repeat", "old copy"];

/// Damages one file, or two; `None` if that changes nothing here.
fn damage(random: &mut Random, root: &Path, old: &Path, all: &[PathBuf], file: &Path) -> Option<String> {
    let how = DAMAGE[random.below(DAMAGE.len())];
    let path = root.join(file);
    let good = fs::read(&path).unwrap();
    let (mut bytes, length) = (good.clone(), good.len());
    let block = 1 + random.below(512.min(length.max(1)));
    match how {
        "delete" => {
            fs::remove_file(&path).unwrap();
            return Some(format!("{how} {}", file.display()));
        }
        "swap" => {
            let mine: Vec<_> =
                all.iter().filter(|other| kind(other) == kind(file) && *other != file).collect();
            let other = mine.get(random.below(mine.len()))?;
            let theirs = fs::read(root.join(other)).unwrap();
            fs::write(root.join(other), &good).unwrap();
            fs::write(&path, &theirs).unwrap();
            return (theirs != good).then(|| format!("{how} {} and {}", file.display(), other.display()));
        }
        "old copy" => bytes = fs::read(old.join(file)).ok()?,
        _ if length == 0 => return None,
        "flip" => bytes[random.below(length)] ^= 1 << random.below(8),
        "cut" => bytes.truncate(random.below(length)),
        "zero" => {
            let at = random.below(length);
            bytes[at..(at + block).min(length)].fill(0);
        }
        _ => {
            let (from, to) = (random.below(length - block + 1), random.below(length));
            let piece = bytes[from..from + block].to_vec();
            bytes.splice(to..to, piece);
        }
    }
    fs::write(&path, &bytes).unwrap();
    (bytes != good).then(|| format!("{how} {}", file.display()))
}

/// Everything that is read over the product: token, path.
fn reads(tokens: &Tokens, runs: &[String], all_runs: &[String]) -> Vec<(String, String)> {
    let platform = |path: &str| (tokens.platform.clone(), path.to_owned());
    let mut all: Vec<(String, String)> = [
        "/admin/connector",
        "/admin/connector/salesforce",
        "/admin/org?limit=100",
        "/admin/org/acme/workspace",
        TOKENS,
    ]
    .map(platform)
    .to_vec();
    for (nth, org) in ["acme", "other"].into_iter().enumerate() {
        let OrgPaths { org: of_org, workspace, run } = OrgPaths::of(org);
        let mine = &tokens.orgs[nth];
        all.extend(of_org.map(|path| (mine.org.clone(), path)));
        all.push((mine.workspace.clone(), workspace));
        all.push((mine.run.clone(), run));
    }
    all.extend(runs.iter().map(|id| (tokens.orgs[0].run.clone(), format!("/run/acme/main/{id}"))));
    // Pages: after every hundredth run.
    let after = all_runs.iter().skip(99).step_by(100);
    let page = |id: &String| format!("/run/acme/main?limit=100&starting_after={id}");
    all.extend(after.map(|id| (tokens.orgs[0].run.clone(), page(id))));
    all
}

struct OrgPaths {
    org: [String; 5],
    workspace: String,
    run: String,
}

impl OrgPaths {
    fn of(org: &str) -> Self {
        Self {
            org: [
                format!("/org/{org}/settings/integrations"),
                format!("/org/{org}/settings/integrations/usage"),
                format!("/org/{org}/outbound#ndjson"),
                format!("/org/{org}/outbound?limit=100"),
                format!("/org/{org}/outbound/verify"),
            ],
            workspace: format!("/workspace/{org}/main/settings/connector/salesforce"),
            run: format!("/run/{org}/main?limit=100"),
        }
    }
}

/// What became of one damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    RefusedAtStart,
    Detected,
    Healed,
    Unaffected,
    Silent,
}

fn is_error(path: &str, reply: &Reply) -> bool {
    (500..600).contains(&reply.status) || (path.ends_with("/verify") && reply.json()["intact"] == false)
}

/// Whether two answers to a path say the same. When a token was last used changes with the reading itself.
fn is_same(path: &str, reply: &Reply, good: &Reply) -> bool {
    if path != TOKENS {
        return reply == good;
    }
    let settled = |reply: &Reply| {
        let mut entries = reply.json();
        for entry in entries.as_array_mut().into_iter().flatten() {
            entry.as_object_mut().map(|entry| entry.remove("last_used_at"));
        }
        (reply.status, entries)
    };
    settled(reply) == settled(good)
}

/// Reads a path; of a list its first hundred entries, over as many pages as they take. A page may be short and go on,
/// and where it ends depends on what had to be read for it.
async fn read(product: &Product, token: &str, path: &str) -> Result<Reply, String> {
    let mut page = product.try_ask(token, "GET", path, &Value::Null).await?;
    let Some((list, _)) = path.split_once("limit=100") else { return Ok(page) };
    let mut entries = Vec::new();
    loop {
        let mut told = page.json();
        let Some(more) = told["data"].as_array_mut().filter(|_| page.status == 200) else { return Ok(page) };
        entries.append(more);
        if entries.len() >= 100 || told["has_more"] == false {
            entries.truncate(100);
            return Ok(Reply { status: 200, text: Value::from(entries).to_string() });
        }
        let next = told["next"].as_str().unwrap_or_else(|| panic!("{path} goes on and does not say where"));
        let path = format!("{list}limit=100&starting_after={next}");
        page = product.try_ask(token, "GET", &path, &Value::Null).await?;
    }
}

/// Starts the product on a damaged directory and reads everything.
async fn judged(dir: &Path, expected: &[((String, String), Reply)]) -> (Outcome, String) {
    let product = match Product::try_start(dir, &[]) {
        Ok(product) => product,
        Err(log) if log.trim().is_empty() => return (Outcome::Silent, "it says nothing".to_owned()),
        Err(log) => return (Outcome::RefusedAtStart, log),
    };
    let mut detected = false;
    for ((token, path), good) in expected {
        let reply = match read(&product, token, path).await {
            Ok(reply) => reply,
            // An answer that breaks off is not taken for a whole one.
            Err(_) => {
                detected = true;
                continue;
            }
        };
        if is_error(path, &reply) {
            detected = true;
        } else if !is_same(path, &reply, good) {
            let shown: String = reply.text.chars().take(200).collect();
            return (Outcome::Silent, format!("{path}: {} {shown}\n{}", reply.status, product.log()));
        }
    }
    let log = product.log();
    let outcome = match (detected, log.contains("WARN") || log.contains("ERROR")) {
        (true, _) => Outcome::Detected,
        (false, true) => Outcome::Healed,
        (false, false) => Outcome::Unaffected,
    };
    (outcome, log)
}

/// Whether `fsck` names damage, in a copy: what it looks at is opened.
fn found_by_fsck(dir: &Path) -> bool {
    let checked = dir.join("checked");
    copied(&data(dir), &checked);
    let ran = binary::run(dir, &["fsck", "--data-dir", "checked", "--json"]);
    // One flipped bit can make it a directory of a later version, which is refused as a whole.
    if ran.code == Some(1) && ran.err.contains("has data format") {
        return true;
    }
    let told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    let findings = told["report"]["findings"].as_array().unwrap();
    assert_eq!(ran.code, Some(i32::from(!findings.is_empty())), "{ran:?}");
    let is_named = |one: &Value| {
        !one["file"].as_str().unwrap().is_empty() && !one["reason"].as_str().unwrap().is_empty()
    };
    assert!(findings.iter().all(is_named), "{ran:?}");
    !findings.is_empty()
}

/// Run records like the last one of acme until there are three files of them; returns all ids, oldest first.
async fn more_runs(dir: &Path, ids: &[String]) -> Vec<String> {
    let runs = FileRuns::open(&data(dir).join("runs")).unwrap();
    let (org, main) = (OrgId::parse("acme").unwrap(), WorkspaceId::parse("main").unwrap());
    let like = runs.get(&org, &main, &RunId::parse(&ids[0]).unwrap()).await.unwrap().unwrap();
    let mut body: Value = serde_json::from_str(like.body.get()).unwrap();
    body["message"] = Value::from("m".repeat(40_000));
    let mut all = ids.to_vec();
    let folder = data(dir).join("runs/acme/main");
    for nth in 0.. {
        if fs::read_dir(&folder).unwrap().count() >= 3 {
            break;
        }
        let id = format!("run_0193{nth:08x}7abc8def0123456789ab");
        body["run_id"] = Value::from(id.clone());
        let (run_id, body) = (RunId::parse(&id).unwrap(), to_raw_value(&body).unwrap());
        runs.append(&RunRecord { run_id, body, ..like.clone() }).await.unwrap();
        all.push(id);
    }
    all
}

#[tokio::test]
async fn no_damage_to_any_file_is_served_as_truth() {
    let tries = count("PORTCULLIS_DAMAGES", 40);
    let seed = count("PORTCULLIS_SEED", 7);
    let dir = tempfile::tempdir().unwrap();
    let (tokens, [ids, _]) = populated(dir.path(), 10).await;
    grown(dir.path(), "acme", 3).await;
    let mut ids = more_runs(dir.path(), &ids).await;
    // What each file was at an earlier time.
    let (old, sound) = (dir.path().join("old"), dir.path().join("sound"));
    copied(&data(dir.path()), &old);
    let product = Product::start(dir.path(), &[]);
    for _ in 0..5 {
        ids.push(refused_call(&product, &tokens, 0).await);
        refused_call(&product, &tokens, 1).await;
    }
    let list =
        serde_json::json!({ "domain_allowlist": ["api.hubapi.com", "api.example.com"], "mode": "enforce" });
    product.ask(&tokens.orgs[0].org, "PUT", "/org/acme/settings/integrations", &list).await.is(200);
    let sampled: Vec<String> = ids.iter().step_by((ids.len() / 20).max(1)).cloned().collect();
    let mut expected = Vec::new();
    for (token, path) in reads(&tokens, &sampled, &ids) {
        let reply = read(&product, &token, &path).await.unwrap().is(200);
        expected.push(((token, path), reply));
    }
    product.stop();
    copied(&data(dir.path()), &sound);
    let all = files(&sound);
    let mut kinds: BTreeMap<&str, Vec<&PathBuf>> = BTreeMap::new();
    for file in &all {
        kinds.entry(kind(file)).or_default().push(file);
    }
    let names: Vec<&str> = kinds.keys().copied().collect();
    let mut random = Random(seed as u64);
    let mut table: BTreeMap<(&str, Outcome), usize> = BTreeMap::new();
    let (mut silent, mut tried, mut found) = (Vec::new(), 0, 0);
    copied(&sound, &data(dir.path()));
    assert!(!found_by_fsck(dir.path()), "no damage, and none is found");
    while tried < tries {
        copied(&sound, &data(dir.path()));
        let name = names[random.below(names.len())];
        let file = kinds[name][random.below(kinds[name].len())];
        let Some(what) = damage(&mut random, &data(dir.path()), &old, &all, file) else { continue };
        tried += 1;
        let is_found = found_by_fsck(dir.path());
        let (outcome, why) = judged(dir.path(), &expected).await;
        *table.entry((name, outcome)).or_default() += 1;
        if outcome == Outcome::Silent {
            silent.push(format!("{what}: {why}"));
        }
        // Without the key, and of what is made anew, a check knows nothing.
        let is_checked = !["master.key", "compiled"].contains(&name);
        let changes = matches!(outcome, Outcome::RefusedAtStart | Outcome::Detected | Outcome::Silent);
        if is_checked && changes && !is_found {
            silent.push(format!("{what}: fsck does not find it: {why}"));
        }
        found += usize::from(is_found);
    }
    print_line("fsck", &serde_json::json!({ "damages": tries, "found": found }));
    for name in names {
        let of = |outcome| table.get(&(name, outcome)).copied().unwrap_or_default();
        let row = serde_json::json!({
            "refused_at_start": of(Outcome::RefusedAtStart),
            "detected": of(Outcome::Detected),
            "healed": of(Outcome::Healed),
            "unaffected": of(Outcome::Unaffected),
            "silent": of(Outcome::Silent),
        });
        print_line(name, &row);
    }
    assert!(silent.is_empty(), "seed {seed}: {silent:#?}");
}
