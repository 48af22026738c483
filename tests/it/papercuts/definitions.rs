//! Mistakes in definitions: one message each, at its place, in the author's own words.

use serde_json::{Value, json};

use crate::support::{World, lay};

fn sound() -> Value {
    json!({
        "connector_id": "demo", "display_name": "Demo", "auth_type": "none",
        "base_url": "https://api.example.com/v1", "allowed_domains": ["api.example.com"],
        "config_fields": [{ "name": "domain_name" }],
        "actions": [{
            "action_id": "make", "http_method": "POST", "url_template": "/users/{{input.id}}/posts",
            "body_schema": [{ "name": "id", "required": true }, { "name": "title" }, { "name": "text" }],
            "examples": [{ "name": "e", "input": { "id": "7", "title": "a", "text": "b" },
                "expect_request": { "method": "POST", "url": "https://api.example.com/v1/users/7/posts",
                                    "body": { "title": "a", "text": "b" } } }],
        }],
    })
}

/// The errors of a definition with this change, as `pointer: message`.
async fn errors(world: &World, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut definition = sound();
    change(&mut definition);
    let report = world.platform.post("/admin/connector/validate", &definition).await.is(200);
    let errors = report.json["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|e| format!("{}: {}", e["pointer"].as_str().unwrap(), e["message"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn each_mistake_in_a_definition_is_one_message_that_says_how_to_mend_it() {
    let world = World::start().await;
    assert_eq!(errors(&world, |_| {}).await, [""; 0], "the neighbour of all of them");
    let told = errors(&world, |d| {
        let action = d["actions"][0].as_object_mut().unwrap();
        let id = action.remove("action_id").unwrap();
        action.insert("actionId".to_owned(), id);
    });
    assert!(told.await.iter().any(|line| line.contains("did you mean \"action_id\"?")));
    let told = errors(&world, |d| d["actions"][0]["url_template"] = json!("/users/{{input.id/posts")).await;
    let place = "/actions/0/url_template: unbalanced braces at \"{{input.id/posts\"; write {{scope.name}}";
    assert!(told.contains(&place.to_owned()), "{told:?}");
    let told = errors(&world, |d| d["base_url"] = json!("http://api.example.com/v1")).await;
    let scheme = "/base_url: must begin with https:// (the scheme cannot be a variable)";
    assert!(told.contains(&scheme.to_owned()), "{told:?}");
    let told = errors(&world, |d| d["base_url"] = json!("https://{{config.domain_nam}}.example.com")).await;
    let field = "/base_url: there is no config field \"domain_nam\"; add it to config_fields; did you mean \"domain_name\"?";
    assert!(told.contains(&field.to_owned()), "{told:?}");
    let rule = json!({ "errors": [{ "when": { "status": 429 }, "class": "rate_limit" }] });
    let told = errors(&world, |d| lay(d, &rule)).await;
    assert_eq!(told, ["/errors/0/when/status: must be array, is number"]);
    let empty = json!({ "errors": [{ "when": {}, "class": "rate_limit" }] });
    assert_eq!(
        errors(&world, |d| lay(d, &empty)).await,
        ["/errors/0/when: needs status, predicate or header"],
        "the rule itself is still there"
    );
}

#[tokio::test]
async fn an_example_that_differs_is_told_where() {
    let world = World::start().await;
    let told = errors(&world, |d| {
        d["actions"][0]["examples"][0]["expect_request"]["body"]["text"] = json!("c");
        d["actions"][0]["examples"][0]["expect_request"]["body"]["more"] = json!(1);
    });
    let at = "/actions/0/examples/0/expect_request/body";
    let body = "the action's body differs: /text is \"b\", the example says \"c\"; /more is absent, the example says 1";
    assert_eq!(told.await, [format!("{at}: {body}")]);
    let told = errors(&world, |d| {
        d["actions"][0]["examples"][0]["expect_request"]["url"] =
            json!("https://api.example.com/v1/users/7/post");
    });
    let told = told.await;
    assert!(told[0].contains("/expect_request/url: the action's URL is https://api.example.com/v1/users/7/posts; they differ at"), "{told:?}");
}

#[tokio::test]
async fn the_wrapper_of_custom_is_shown_and_a_schema_may_be_named() {
    let world = World::start().await;
    let told = errors(&world, |d| {
        lay(d, &json!({ "auth_type": "custom", "auth": { "headers": { "X-Key": "{{cred.key}}" } } }));
        d["auth_schema"] = json!({ "fields": [{ "name": "key", "required": true }] });
    });
    let told = told.await;
    let example = r#"write "auth": {"custom": {"headers": {"X-Key": "{{cred.key}}"}}}"#;
    assert!(
        told.iter().any(|line| line.starts_with("/auth/headers: ") && line.contains(example)),
        "{told:?}"
    );
    let told = errors(&world, |d| {
        lay(
            d,
            &json!({ "auth_type": "custom", "auth": { "custom": { "headers": { "X-Key": "{{cred.key}}" } } } }),
        );
        d["auth_schema"] = json!({ "fields": [{ "name": "key", "required": true }] });
        d["$schema"] = json!("https://example.com/definition.schema.json");
    });
    assert_eq!(told.await, [""; 0]);
}
