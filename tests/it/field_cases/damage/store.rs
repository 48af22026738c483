//! The store: damaged files of sled, and an old copy of everything.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::product::{Product, Tokens, copied, data, files, populated};
use crate::support::binary;

/// Damages `file` below the store in a copy of a sound directory.
fn damaged(dir: &Path, sound: &Path, file: &Path, how: &str) {
    copied(sound, &data(dir));
    let path = data(dir).join("store").join(file);
    let bytes = fs::read(&path).unwrap();
    match how {
        "first bytes changed" => {
            let changed: Vec<u8> =
                bytes.iter().take(6).map(|b| b ^ 0x55).chain(bytes.iter().skip(6).copied()).collect();
            fs::write(&path, changed).unwrap();
        }
        // What sled takes for a file of a version of its own before 0.29.
        "no text any more" => {
            fs::write(&path, bytes.iter().map(|byte| byte ^ 0x80).collect::<Vec<_>>()).unwrap()
        }
        "every byte changed" => {
            fs::write(&path, bytes.iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>()).unwrap();
        }
        "zeroed" => fs::write(&path, vec![0; bytes.len()]).unwrap(),
        "cut in half" => fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
        "emptied" => fs::write(&path, "").unwrap(),
        "deleted" => fs::remove_file(&path).unwrap(),
        "a directory in its place" => {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
        }
        _ => unreachable!(),
    }
}

const WAYS: [&str; 8] = [
    "first bytes changed",
    "no text any more",
    "every byte changed",
    "zeroed",
    "cut in half",
    "emptied",
    "deleted",
    "a directory in its place",
];

/// Whether the product serves what it had.
async fn serves_all(product: &Product, tokens: &Tokens) {
    let orgs = product.get(&tokens.platform, "/admin/org").await.is(200);
    assert_eq!(orgs.json()["data"].as_array().unwrap().len(), 2);
    let setting = "/workspace/acme/main/settings/connector/salesforce";
    assert_eq!(product.get(&tokens.orgs[0].workspace, setting).await.is(200).json()["state"], "connected");
}

#[tokio::test]
async fn h15_a_damaged_file_of_sled_is_refused_in_our_words_that_name_the_repair() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, _) = populated(dir.path(), 1).await;
    let sound = dir.path().join("sound");
    copied(&data(dir.path()), &sound);
    let mut refused = 0;
    for file in files(&sound.join("store")) {
        for how in WAYS {
            damaged(dir.path(), &sound, &file, how);
            match Product::try_start(dir.path(), &[]) {
                Ok(product) => serves_all(&product, &tokens).await,
                Err(log) => {
                    let what = format!("{} {how}: {log}", file.display());
                    let last = log.lines().last().unwrap_or_default();
                    let lock = file.ends_with("lock") && last.contains("lock");
                    assert!(last.contains("portcullis restore") || lock, "{what}");
                    assert!(!last.contains("0.29") && !last.contains("pagecache"), "{what}");
                    assert!(last.contains("store"), "it names where: {what}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 10, "{refused}");
    let conf = Path::new("sled/conf");
    damaged(dir.path(), &sound, conf, "first bytes changed");
    let log = Product::try_start(dir.path(), &[]).map(drop).unwrap_err();
    assert!(log.contains("sled") && log.contains("portcullis restore"), "{log}");
    copied(&sound, &data(dir.path()));
    serves_all(&Product::start(dir.path(), &[]), &tokens).await;
}

/// Revokes a token of acme's callers by deleting it.
async fn revoked(product: &Product, tokens: &Tokens) {
    let listed = product.get(&tokens.platform, "/admin/token?limit=100").await.is(200).json();
    let of_acme = |token: &&serde_json::Value| token["role"] == "run" && token["org"] == "acme";
    let id = listed["data"].as_array().unwrap().iter().find(of_acme).unwrap()["token_id"].clone();
    let path = format!("/admin/token/{}", id.as_str().unwrap());
    let gone = product.ask(&tokens.platform, "DELETE", &path, &json!(null)).await;
    assert!(matches!(gone.status, 200 | 204), "{}", gone.text);
    product.get(&tokens.orgs[0].run, "/run/acme/main").await.is(401);
}

#[tokio::test]
async fn h14_an_old_copy_of_the_whole_store_is_refused_where_an_anchor_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, _) = populated(dir.path(), 1).await;
    let anchor = dir.path().join("anchor.json");
    let anchored = ["--anchor-file", anchor.to_str().unwrap()];
    let store = data(dir.path()).join("store");
    Product::start(dir.path(), &anchored).stop();
    let (old, newest) = (dir.path().join("old"), dir.path().join("newest"));
    copied(&store, &old);
    binary::run(dir.path(), &["backup", "old.backup"]).exits(0);
    let product = Product::start(dir.path(), &anchored);
    revoked(&product, &tokens).await;
    product.stop();
    copied(&store, &newest);

    copied(&old, &store);
    let log = Product::try_start(dir.path(), &anchored).map(drop).expect_err("an old copy");
    for part in ["anchor.json", "portcullis restore", "--accept-older"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    // The anchor's work: without one the old copy agrees with itself, and the token works again.
    let product = Product::start(dir.path(), &[]);
    product.get(&tokens.orgs[0].run, "/run/acme/main").await.is(200);
    product.stop();
    // The neighbour: the newest store, moved away and back, opens.
    copied(&newest, &store);
    let product = Product::start(dir.path(), &anchored);
    product.get(&tokens.orgs[0].run, "/run/acme/main").await.is(401);
    product.stop();

    let restore = [&["old.backup"], &anchored[..]].concat();
    let ran = binary::restore_anew(dir.path(), "before", &restore).exits(1);
    assert!(ran.err.contains("anchor.json") && ran.err.contains("--accept-older"), "{ran:?}");
    binary::run(dir.path(), &[&["restore"][..], &restore, &["--accept-older"]].concat()).exits(0);
    let product = Product::start(dir.path(), &anchored);
    product.get(&tokens.orgs[0].run, "/run/acme/main").await.is(200);
    for org in ["later", "later2", "later3"] {
        product.ask(&tokens.platform, "POST", "/admin/org", &json!({ "org": org })).await.is(201);
    }
    product.stop();
    copied(&newest, &store);
    let log = Product::try_start(dir.path(), &anchored).map(drop).expect_err("another history");
    assert!(log.contains("anchor.json"), "{log}");
}

#[tokio::test]
async fn h14_an_anchor_in_the_data_directory_or_unreadable_is_refused_and_a_failing_one_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    populated(dir.path(), 1).await;
    let inside = data(dir.path()).join("anchor.json");
    let check = ["serve", "--check", "--anchor-file", inside.to_str().unwrap()];
    let ran = binary::run(dir.path(), &check).exits(64);
    assert!(ran.err.contains("anchor_file") && ran.err.contains("in the data directory"), "{ran:?}");
    let nowhere = ["serve", "--check", "--anchor-file", "no-such-directory/anchor.json"];
    assert!(binary::run(dir.path(), &nowhere).exits(64).err.contains("no-such-directory"));
    fs::write(dir.path().join("anchor.json"), "{").unwrap();
    let log =
        Product::try_start(dir.path(), &["--anchor-file", "anchor.json"]).map(drop).expect_err("damaged");
    assert!(log.contains("anchor.json") && log.contains("put it back, or delete it"), "{log}");
    fs::remove_file(dir.path().join("anchor.json")).unwrap();
    let product = Product::start(dir.path(), &["--anchor-file", "anchor.json"]);
    crate::support::until("the anchor is made", async || dir.path().join("anchor.json").is_file()).await;
    assert_eq!(product.get("", "/readyz").await.is(200).json()["anchor"], true);
}
