//! Data directories that earlier versions made open with all they had. `tests/golden/make` made them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{World, binary};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Every directory that is kept, with what is in it.
fn kept() -> Vec<(PathBuf, Value)> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let archives = entries.filter(|path| path.to_str().unwrap().ends_with(".tar.gz"));
    let described = archives.map(|archive| {
        let description = PathBuf::from(archive.to_str().unwrap().replace(".tar.gz", ".json"));
        let text = std::fs::read_to_string(description).unwrap();
        (archive, serde_json::from_str(&text).unwrap())
    });
    described.collect()
}

fn unpacked(archive: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar").arg("xzf").arg(archive).current_dir(dir.path()).status().unwrap();
    assert!(unpacked.success(), "{archive:?}");
    dir
}

#[tokio::test]
async fn a_directory_of_every_earlier_version_opens_with_all_it_had() {
    let kept = kept();
    assert!(!kept.is_empty(), "there is a directory to open");
    for (archive, has) in kept {
        let dir = unpacked(&archive);
        let data = dir.path().join("data");
        let text = |pointer: &str| has.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let world = World::on_directory(dir, &data, &text("/tokens/platform")).await;
        let [org, workspace, run] = ["org", "workspace", "run"]
            .map(|role| world.platform.anonymous().with_token(text(&format!("/tokens/{role}"))));
        let connector = world.platform.get("/admin/connector/salesforce").await.is(200);
        assert_eq!(connector.json["definition"]["description"], "The second revision", "{archive:?}");
        world.platform.get("/admin/connector/salesforce/revisions/1").await.is(200);
        let workspaces = world.platform.get("/admin/org/acme/workspace").await.is(200);
        assert_eq!(workspaces.json["data"].as_array().unwrap().len(), 2);
        let list = org.get("/org/acme/settings/integrations").await.is(200);
        assert_eq!(list.json["domain_allowlist"], json!(["*.salesforce.com"]));
        let automation = text("/automation_id");
        org.get(&format!("/org/acme/automation/{automation}")).await.is(200);
        let setting = workspace.get("/workspace/acme/main/settings/connector/salesforce").await.is(200);
        assert_eq!(setting.json["state"], "connected");
        let old = run.get(&format!("/run/acme/main/{}", text("/run_id"))).await.is(200);
        assert_eq!((&old.json["status"], &old.json["code"]), (&json!("failed"), &json!("dns_failed")));
        // Runs of every earlier version are found by what their records say.
        for path in ["/run/acme/main?status=failed", "/run/acme/main?code=dns_failed&order=asc"] {
            let listed = run.get(path).await.is(200);
            assert_eq!(listed.json["data"][0], old.json, "{path}");
        }
        let listed = org.get("/org/acme/run?connector_id=salesforce&workspace=main").await.is(200);
        assert_eq!(listed.json["data"][0]["run_id"], old.json["run_id"]);
        assert_eq!(run.get("/run/acme/main?status=succeeded").await.is(200).json["data"], json!([]));
        let chain = org.get("/org/acme/outbound/verify").await.is(200);
        assert_eq!(chain.json["intact"], true);
        assert!(chain.json["records"].as_u64().unwrap() >= 2, "{}", chain.text);
        let source = json!({ "source": { "email": "ada@example.com" } });
        run.post(&format!("/run/acme/main/automation/{automation}"), &source).await.is(200);
        let received = world.upstream.received();
        let bearer = format!("Bearer {}", text("/key"));
        assert_eq!(received[0].header("authorization"), [bearer.as_str()], "the credential opens");
        // Beside the connection that was there, another one can be made.
        let named = "/workspace/acme/main/settings/connector/salesforce/connection/sales";
        workspace.put(named, &json!({ "config": { "api_key": "sk-of-sales" } })).await.is(200);
        let input = json!({ "Email": "ada@example.com" });
        let path = "/run/acme/main/connector/salesforce/create-contact";
        run.post(path, &json!({ "input": input, "connection": "sales" })).await.is(200);
        run.post(path, &json!({ "input": input })).await.is(200);
        let received = world.upstream.received();
        assert_eq!(received[1].header("authorization"), ["Bearer sk-of-sales"]);
        assert_eq!(received[2].header("authorization"), [bearer.as_str()]);
        let opted_out = run.post(&format!("/run/acme/other/automation/{automation}"), &source).await.is(200);
        assert_eq!(opted_out.json["reason"], "opted_out");
    }
}

#[test]
fn a_directory_of_a_later_version_is_refused_by_name() {
    let (archive, _) = kept().remove(0);
    let dir = unpacked(&archive);
    std::fs::write(dir.path().join("data/format.json"), r#"{"format":999,"version":"99.0.0"}"#).unwrap();
    let serve = ["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"];
    // Why a bound: a binary that takes the directory would serve it for ever.
    let mut bounded = binary::command_behind("exec timeout 60", dir.path(), &serve);
    let ran = binary::Ran::of(bounded.output().unwrap()).exits(1);
    assert!(ran.err.contains("portcullis 99.0.0") && ran.err.contains("format 999"), "{ran:?}");
}
