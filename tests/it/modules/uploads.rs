//! Modules on their own: uploaded, listed, shown and deleted, and by whom.

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::guests;
use super::harness::{
    CONNECTOR, WASM, accepting, admitted, answering, codes, definition, hostile, put_module, upload,
};
use crate::support::{Stage, World};

#[tokio::test]
async fn a_module_is_admitted_once_listed_shown_and_deleted_when_nothing_uses_it() {
    let world = World::start().await;
    let bytes = guests::good();
    let first = upload(&world.platform, &bytes).await.is(201);
    let own = format!("sha256:{}", hex::encode(digest(&SHA256, &bytes)));
    let at = format!("/admin/module/{own}");
    assert_eq!(first.json["digest"], own);
    assert_eq!(first.header("location"), Some(at.as_str()));
    let report = &first.json["report"];
    assert_eq!(report["digest"], own);
    assert_eq!(report["bytes"], bytes.len());
    assert_eq!(report["profile"], "pure");
    assert_eq!(report["problems"], json!([]));
    assert_eq!(report["exports"], json!(["portcullis:connector/handler@0.1.0"]));
    assert_eq!(report["memory_min_bytes"], 4 * 65_536);
    assert!(report["compile_ms"].is_u64() && report["native_bytes"].as_u64().unwrap() > 0, "{report}");
    let again = upload(&world.platform, &bytes).await.is(200);
    assert_eq!(again.json, first.json, "the same bytes are the same module");

    let listed = world.platform.get("/admin/module").await.is(200);
    assert_eq!(listed.json["data"].as_array().unwrap().len(), 1);
    assert_eq!(listed.json["data"][0]["digest"], own);
    let shown = world.platform.get(&at).await.is(200);
    assert_eq!(shown.json["report"], *report);

    accepting(&world.platform, "POST", "/admin/connector", &definition(&own)).await.is(201);
    world.platform.delete(&at).await.problem(Code::InUse);
    world.platform.get(&at).await.is(200);
    world.platform.delete(CONNECTOR).await.is(204);
    world.platform.delete(&at).await.is(204);
    world.platform.get(&at).await.problem(Code::NotFound);
    world.platform.delete(&at).await.problem(Code::NotFound);
    assert_eq!(world.platform.get("/admin/module").await.is(200).json["data"], json!([]));
    // And it can come back.
    upload(&world.platform, &bytes).await.is(201);
}

#[tokio::test]
async fn what_is_no_digest_is_not_found() {
    let world = World::start().await;
    let known = admitted(&world, &guests::good()).await;
    let hex = known.strip_prefix("sha256:").unwrap();
    for other in [hex, "sha256:", "x", known.to_uppercase().as_str(), &known[..known.len() - 1]] {
        world.platform.get(&format!("/admin/module/{other}")).await.problem(Code::NotFound);
        world.platform.delete(&format!("/admin/module/{other}")).await.problem(Code::NotFound);
    }
    world.platform.get(&format!("/admin/module/{known}")).await.is(200);
}

#[tokio::test]
async fn modules_are_listed_by_digest_page_by_page() {
    let world = World::start().await;
    let mut digests = Vec::new();
    for number in 0..3 {
        digests.push(admitted(&world, &answering(&format!(r#"{{"output":{number}}}"#))).await);
    }
    digests.sort();
    let mut seen = Vec::new();
    let mut path = "/admin/module?limit=1".to_owned();
    loop {
        let page = world.platform.get(&path).await.is(200);
        let last = page.json["data"][0]["digest"].as_str().unwrap().to_owned();
        path = format!("/admin/module?limit=1&starting_after={last}");
        seen.push(last);
        if page.json["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, digests);
}

#[tokio::test]
async fn only_a_component_is_taken_as_the_body_of_an_upload() {
    let world = World::start().await;
    let bytes = guests::good();
    for media in ["text/plain", "application/json", "application/octet-stream", "multipart/form-data"] {
        let sent =
            world.platform.send("POST", "/admin/module", &[("content-type", media)], bytes.clone()).await;
        sent.problem(Code::UnsupportedMediaType);
    }
    // The counterparts: with its type, in any case, and with none.
    upload(&world.platform, &bytes).await.is(201);
    let large = [("content-type", "Application/WASM; charset=binary")];
    world.platform.send("POST", "/admin/module", &large, bytes.clone()).await.is(200);
    world.platform.send("POST", "/admin/module", &[], bytes).await.is(200);
}

#[tokio::test]
async fn no_role_but_the_platforms_touches_modules() {
    let world = World::start().await;
    let acme = world.tenant("acme", "main").await;
    let digest = admitted(&world, &guests::good()).await;
    accepting(&world.platform, "POST", "/admin/connector", &definition(&digest)).await.is(201);
    let at = format!("/admin/module/{digest}");
    let before = world.before().await;
    for client in [&acme.org, &acme.workspace, &acme.run] {
        upload(client, &answering(r#"{"output":1}"#)).await.problem(Code::RoleNotAllowed);
        client.get("/admin/module").await.problem(Code::RoleNotAllowed);
        client.get(&at).await.problem(Code::RoleNotAllowed);
        client.delete(&at).await.problem(Code::RoleNotAllowed);
        put_module(client, &guests::good(), "").await.problem(Code::RoleNotAllowed);
    }
    upload(&world.platform.anonymous(), &guests::good()).await.problem(Code::Unauthorized);
    world.assert_untouched(&before).await;
}

#[tokio::test]
async fn a_module_is_held_to_the_size_limit_at_its_border_and_not_to_that_of_other_bodies() {
    let bytes = guests::good();
    let mut stage = Stage::default();
    stage.limits.module_bytes = bytes.len() as u64;
    stage.limits.api_body_bytes = 512;
    let world = stage.start().await;
    upload(&world.platform, &bytes).await.is(201);
    let mut longer = bytes;
    longer.push(0);
    upload(&world.platform, &longer).await.problem(Code::BodyTooLarge);
    let folder = std::fs::read_dir(world.data_dir().join("modules")).unwrap();
    assert_eq!(folder.count(), 1, "nothing is kept of it");
}

#[tokio::test]
async fn no_more_modules_are_kept_than_the_limit() {
    let mut stage = Stage::default();
    stage.limits.modules = 1;
    let world = stage.start().await;
    let digest = admitted(&world, &guests::good()).await;
    upload(&world.platform, &answering(r#"{"output":1}"#)).await.problem(Code::InUse);
    // A known one is none more, and a refused one is told why.
    upload(&world.platform, &guests::good()).await.is(200);
    let refused = upload(&world.platform, &guests::core_module()).await.problem(Code::ModuleRefused);
    assert_eq!(codes(&refused), ["not_a_component"]);
    world.platform.delete(&format!("/admin/module/{digest}")).await.is(204);
    upload(&world.platform, &answering(r#"{"output":1}"#)).await.is(201);
}

#[tokio::test]
async fn two_uploads_of_the_same_bytes_at_once_are_one_module() {
    let world = World::start().await;
    let send = |_| {
        let client = world.platform.clone();
        tokio::spawn(async move { client.send("POST", "/admin/module", &[WASM], guests::good()).await })
    };
    let all: Vec<_> = (0..4).map(send).collect();
    for one in all {
        let answer = one.await.unwrap();
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    }
    assert_eq!(world.platform.get("/admin/module").await.is(200).json["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_bytes_are_kept_under_their_digest_and_the_report_tells_the_imports() {
    let world = World::start().await;
    let first = upload(&world.platform, hostile()).await.is(201);
    let imports: Vec<&str> =
        first.json["report"]["imports"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(imports.iter().all(|import| import.starts_with("portcullis:connector/")), "{imports:?}");
    assert!(imports.contains(&"portcullis:connector/log@0.1.0"), "{imports:?}");
    let own = std::fs::read_dir(world.data_dir().join("modules")).unwrap().next().unwrap().unwrap();
    assert_eq!(std::fs::read(own.path()).unwrap(), hostile());
    let name = own.file_name().into_string().unwrap();
    assert_eq!(first.json["digest"], format!("sha256:{}", name.trim_end_matches(".wasm")));
}
