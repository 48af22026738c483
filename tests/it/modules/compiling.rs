//! Compilation in a process of its own: one that takes too long or is killed leaves nothing, and the next one works.

use std::process::Command;

use portcullis_core::fault::Code;
use serde_json::json;

use super::guests;
use super::harness::{WASM, act, codes, hostile, installed, quick, upload};
use crate::support::{Stage, World, until};

/// Files in the folder of modules.
fn kept(world: &World) -> usize {
    std::fs::read_dir(world.data_dir().join("modules")).map_or(0, Iterator::count)
}

/// The process that compiles for a server with this limit of memory.
fn compiler_of(memory_bytes: u64) -> Option<u32> {
    let wanted = memory_bytes.to_string();
    let processes = std::fs::read_dir("/proc").unwrap();
    let mut ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.contains(&b"compile-module".as_slice()) && words.contains(&wanted.as_bytes())
    })
}

#[tokio::test]
async fn a_module_that_takes_too_long_to_compile_is_refused_and_the_next_one_is_not() {
    let mut stage = Stage::default();
    // Why not a whole second: the process's own limit of processor time is the next one.
    stage.limits.module_compile_ms = 1200;
    stage.limits.module_memory_bytes = 64 * 1024 * 1024 - 2 * 65_536;
    let memory_bytes = stage.limits.module_memory_bytes;
    let world = stage.start().await;
    let refused = upload(&world.platform, &guests::huge_function(200_000)).await.problem(Code::ModuleRefused);
    assert_eq!(codes(&refused), ["compile_timeout"], "{}", refused.text);
    assert!(refused.text.contains("limits.module_compile_ms"), "{}", refused.text);
    assert_eq!(kept(&world), 0);
    assert_eq!(world.platform.get("/admin/module").await.is(200).json["data"], json!([]));
    until("the compiler is gone", async || compiler_of(memory_bytes).is_none()).await;
    // Why several times: the machine may be busy with other tests.
    until("a good module is compiled", async || {
        matches!(upload(&world.platform, &guests::good()).await.status, 200 | 201)
    })
    .await;
    assert_eq!(kept(&world), 1);
}

#[tokio::test]
async fn a_compiler_that_is_killed_is_told_and_the_next_one_works() {
    let mut stage = Stage::default();
    // Why such a number: the processes of other tests are children of this one as well.
    stage.limits.module_memory_bytes = 64 * 1024 * 1024 - 3 * 65_536;
    let memory_bytes = stage.limits.module_memory_bytes;
    let world = stage.start().await;
    let client = world.platform.clone();
    let sent = tokio::spawn(async move {
        client.send("POST", "/admin/module", &[WASM], guests::huge_function(200_000)).await
    });
    until("the compiler runs", async || compiler_of(memory_bytes).is_some()).await;
    let id = compiler_of(memory_bytes).unwrap();
    let killed = Command::new("/bin/sh").arg("-c").arg(format!("kill -9 {id}")).status().unwrap();
    assert!(killed.success());
    let refused = sent.await.unwrap().problem(Code::ModuleRefused);
    assert_eq!(codes(&refused), ["compile_failed"], "{}", refused.text);
    assert_eq!(kept(&world), 0);
    upload(&world.platform, &guests::good()).await.is(201);
}

#[tokio::test]
async fn while_a_module_is_compiled_calls_are_served() {
    let mut stage = quick();
    stage.limits.module_memory_bytes = 64 * 1024 * 1024 - 4 * 65_536;
    let memory_bytes = stage.limits.module_memory_bytes;
    let (world, acme) = installed(stage, hostile(), &json!({})).await;
    let client = world.platform.clone();
    let sent = tokio::spawn(async move {
        client.send("POST", "/admin/module", &[WASM], guests::huge_function(200_000)).await
    });
    until("the compiler runs", async || compiler_of(memory_bytes).is_some()).await;
    act(&acme, json!({ "do": "echo" })).await.is(200);
    super::harness::assert_others_are_served(&world).await;
    assert!(!sent.is_finished(), "it is still compiled");
    // Its end belongs to this test.
    let id = compiler_of(memory_bytes).unwrap();
    Command::new("/bin/sh").arg("-c").arg(format!("kill -9 {id}")).status().unwrap();
    sent.await.unwrap().problem(Code::ModuleRefused);
}

#[tokio::test]
async fn what_is_compiled_is_not_compiled_again_and_a_changed_file_is_not_used() {
    let world = World::start().await;
    let first = upload(&world.platform, &guests::good()).await.is(201);
    let path = format!("/admin/module/{}", first.json["digest"].as_str().unwrap());
    world.platform.delete(&path).await.is(204);
    let second = upload(&world.platform, &guests::good()).await.is(201);
    assert_eq!(second.json["report"]["compile_ms"], json!(null), "its machine code was kept");
    world.platform.delete(&path).await.is(204);
    for entry in std::fs::read_dir(world.data_dir().join("compiled/modules")).unwrap() {
        let file = entry.unwrap().path();
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    let third = upload(&world.platform, &guests::good()).await.is(201);
    assert!(third.json["report"]["compile_ms"].is_u64(), "it is compiled again: {}", third.text);
}
