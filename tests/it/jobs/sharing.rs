//! Workspaces beside each other: the backlog of one delays no other.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use super::{ID, KEY, PATH, Scene, accept, definition, ended, quick};
use crate::support::{Script, until};

#[tokio::test]
async fn a_backlog_of_one_workspace_delays_no_other() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let side = world.tenant("acme", "side").await;
    side.connect(ID, json!({ "api_key": KEY })).await;
    for number in 0..40 {
        accept(acme, &number.to_string()).await;
    }
    let run = accept(&side, "side").await;
    // The vendor answers nobody but the other workspace.
    let held = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&held);
    world.upstream.script(
        PATH,
        Script::made(move |request| {
            let answer = Script::Json(200, "{}");
            let is_other = request.text().contains("side");
            if is_other { answer } else { Script::Held(Arc::clone(&gate), Box::new(answer)) }
        }),
    );
    world.engine.start_jobs();
    assert_eq!(ended(&side, &run).await["status"], "succeeded");
    let at_once = usize::try_from(quick().workspace_jobs).unwrap();
    until("the other one has as many as it may", async || {
        world.upstream.received_on(PATH).len() == at_once + 1
    })
    .await;
    held.add_permits(40);
    until("and in the end all", async || world.upstream.received_on(PATH).len() == 41).await;
}
