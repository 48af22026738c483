//! The sandbox from outside: what the shipped handler can reach, and what hostile components get.

use std::sync::Arc;

use portcullis_connectors::HTTP_HANDLER;
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_sandbox::{LoadError, Sandbox};
use serde_json::json;
use wit_component::{DecodedWasm, decode};

use crate::support::guests::{self, Manner};
use crate::support::{Stage, Tenant, World};

fn sandbox(limits: Limits) -> Sandbox {
    Sandbox::new(Arc::new(Limits { concurrent_calls: 4, ..limits })).unwrap()
}

#[test]
fn the_shipped_handler_imports_the_one_way_out_and_its_types_and_nothing_else() {
    let DecodedWasm::Component(resolve, world) = decode(HTTP_HANDLER).unwrap() else {
        panic!("the built handler is not a component");
    };
    let world = &resolve.worlds[world];
    let name = |key| resolve.name_world_key(key);
    let mut imports: Vec<String> = world.imports.keys().map(name).collect();
    imports.sort();
    assert_eq!(imports, ["portcullis:connector/outbound-http@0.1.0", "portcullis:connector/types@0.1.0"]);
    let exports: Vec<String> = world.exports.keys().map(name).collect();
    assert_eq!(exports, ["portcullis:connector/handler@0.1.0"]);
}

#[test]
fn a_component_that_imports_anything_else_is_refused_by_the_imports_name() {
    let sandbox = sandbox(Limits::default());
    for forbidden in [
        "wasi:cli/environment@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:filesystem/preopens@0.2.0",
        "portcullis:connector/outbound-http@0.2.0",
        "portcullis:connector/vault@0.1.0",
    ] {
        let refused = sandbox.load(&guests::importing(forbidden)).err().unwrap();
        assert_eq!(refused, LoadError::ForbiddenImport(forbidden.to_owned()));
        assert!(refused.to_string().contains(forbidden), "{refused}");
    }
    // The counterpart: the same bytes with an allowed name pass the import check.
    let allowed = guests::importing("portcullis:connector/types@0.1.0");
    assert_eq!(sandbox.load(&allowed).err(), Some(LoadError::NoHandler));
    assert!(sandbox.load(HTTP_HANDLER).is_ok());
}

#[test]
fn bytes_that_are_no_handler_are_refused_and_the_shipped_one_loads() {
    let sandbox = sandbox(Limits::default());
    assert_eq!(sandbox.load(&guests::empty_component()).err(), Some(LoadError::NoHandler));
    let half = &HTTP_HANDLER[..HTTP_HANDLER.len() / 2];
    for nonsense in [b"".as_slice(), b"hello", b"\0asm\x01\0\0\0", half] {
        assert!(matches!(sandbox.load(nonsense).err(), Some(LoadError::Invalid(_))));
    }
    assert!(sandbox.load(HTTP_HANDLER).is_ok());
    assert!(sandbox.load(&guests::handler(Manner::Trap)).is_ok());
}

#[test]
fn a_component_is_held_to_the_size_limit_at_its_border() {
    let bytes = HTTP_HANDLER.len() as u64;
    let of =
        |module_bytes| Sandbox::for_modules(Arc::new(Limits { module_bytes, ..Limits::default() })).unwrap();
    let (exact, short) = (of(bytes), of(bytes - 1));
    assert!(exact.load(HTTP_HANDLER).is_ok());
    let refused = short.load(HTTP_HANDLER).err().unwrap();
    assert_eq!(refused, LoadError::TooLarge { bytes: HTTP_HANDLER.len(), limit: bytes - 1 });
}

async fn with_guest(manner: Manner) -> (World, Tenant) {
    let mut stage = Stage { handler: Some(guests::handler(manner)), ..Stage::default() };
    stage.limits.guest_cpu_ms = 200;
    let (world, tenant) = World::salesforce_on(stage).await;
    tenant.connect("salesforce", json!({ "api_key": "key-0123456789" })).await;
    (world, tenant)
}

#[tokio::test]
async fn a_guest_that_traps_ends_its_run_and_not_the_process() {
    let (world, tenant) = with_guest(Manner::Trap).await;
    let before = world.before().await;
    let answer = tenant.create_contact().await.problem(Code::GuestTrapped);
    assert_eq!(answer.json["run"]["status"], "failed");
    world.assert_nothing_looked_up(&before).await;
    world.platform.get("/readyz").await.is(200);
    tenant.create_contact().await.problem(Code::GuestTrapped);
}

#[tokio::test]
async fn a_guest_that_never_returns_is_ended() {
    let (world, tenant) = with_guest(Manner::Loop).await;
    let before = world.before().await;
    let answer = tenant.create_contact().await.problem(Code::GuestTimeout);
    assert_eq!(answer.json["run"]["usage"]["requests"], 0);
    assert!(answer.json["run"]["usage"]["fuel"].as_u64().unwrap() > 0);
    world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn a_guest_whose_output_is_not_the_document_it_owes_fails_its_run() {
    for nonsense in ["", "[]", "{", r#"{"upstream":{}}"#] {
        let (_world, tenant) = with_guest(Manner::Output(nonsense)).await;
        tenant.create_contact().await.problem(Code::GuestOutputInvalid);
    }
    let (_world, tenant) = with_guest(Manner::Output(r#"{"output":{"n":1}}"#)).await;
    let answer = tenant.create_contact().await.is(200);
    assert_eq!(answer.json["output"], json!({ "n": 1 }));
}

#[tokio::test]
async fn a_guests_own_failure_is_told_as_the_guests() {
    let (_world, tenant) = with_guest(Manner::Fail("made_up", "no\nway")).await;
    let answer = tenant.create_contact().await.problem(Code::GuestFailed);
    assert_eq!(answer.json["detail"], "no way", "control characters are taken out");
    let (_world, tenant) = with_guest(Manner::Fail("input_invalid", "not this")).await;
    tenant.create_contact().await.problem(Code::InputInvalid);
}
