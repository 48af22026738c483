//! The form of a connection for other user interfaces: what is shown of it, changes of parts, and its JSON Schema.

use portcullis_core::fault::Code;
use serde_json::{Map, Value, json};

use crate::support::{Answer, PUBLIC, Tenant, World, lay};

mod tokens;

const ID: &str = "saas";
const SETTING: &str = "/workspace/acme/main/settings/connector/saas";
const FORM: &str = "/workspace/acme/main/settings/connector/saas/form";
const KEY: &str = "sk-live-0123456789abcdef";
const OTHER_KEY: &str = "sk-live-fedcba9876543210";
const NOTE: &str = "a note that is secret";

fn definition(more: &Value) -> Value {
    let mut definition = json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "description": "An example.", "docs_url": "https://example.com/docs",
        "support_url": "https://example.com/help", "icon": "data:image/png;base64,AAAA",
        "auth_schema": { "fields": [
            { "name": "api_key", "label": "API key", "type": "password", "required": true, "help": "Settings > API",
              "pattern": "sk-[a-z]+-[0-9a-f]{16}", "pattern_message": "begins with sk-", "order": 2 },
            { "name": "note", "type": "password" },
        ] },
        "config_fields": [
            { "name": "site", "label": "Site", "required": true, "format": "hostname_label", "order": 1,
              "suffix": ".salesforce.com", "group": "Account", "placeholder": "acme" },
            { "name": "region", "type": "select", "default": "eu",
              "enum": [{ "value": "eu", "label": "Europe" }, { "value": "us" }] },
            { "name": "account", "required": true, "visible_when": { "field": "region", "equals": "us" } },
        ],
        "base_url": "https://{{config.site}}.salesforce.com",
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "actions": [{ "action_id": "list", "http_method": "GET", "url_template": "/v1/things" }],
        "auth_methods": [{
            "id": "oauth", "label": "With your account", "recommended": true,
            "auth_type": "oauth2_authorization_code",
            "auth": { "authorize_url": "https://login.salesforce.com/authorize",
                      "token_url": "https://login.salesforce.com/token" },
            "fields": [
                { "name": "client_id", "required": true, "secret": false },
                { "name": "client_secret", "required": true },
            ],
        }],
    });
    lay(&mut definition, more);
    definition
}

struct Scene {
    world: World,
    acme: Tenant,
}

impl Scene {
    async fn start() -> Self {
        let world = World::start().await;
        for site in ["one", "two"] {
            world.names.tell(&format!("{site}.salesforce.com"), &[PUBLIC]);
        }
        world.platform.post("/admin/connector", &definition(&json!({}))).await.is(201);
        let acme = world.tenant("acme", "main").await;
        Self { world, acme }
    }

    async fn connected() -> Self {
        let scene = Self::start().await;
        scene.acme.connect(ID, json!({ "api_key": KEY, "note": NOTE, "site": "one" })).await;
        scene
    }

    async fn shown(&self) -> Answer {
        self.acme.workspace.get(SETTING).await.is(200)
    }

    async fn patch(&self, body: &Value) -> Answer {
        self.acme.workspace.patch(SETTING, body).await
    }

    /// Host and key of the request that a call makes.
    async fn sent(&self) -> (String, String) {
        self.acme.call(ID, "list", json!({})).await.is(200);
        let sent = self.world.upstream.received_on("/v1/things");
        let last = sent.last().unwrap();
        (last.header("host").join(","), last.header("authorization").join(","))
    }
}

/// The field of a method in an answer.
fn field<'a>(answer: &'a Answer, method: usize, name: &str) -> &'a Value {
    let fields = answer.json["methods"][method]["fields"].as_array().unwrap();
    fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("{name} in {}", answer.text))
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[tokio::test]
async fn a_form_is_shown_with_what_is_saved_and_no_secret() {
    let scene = Scene::connected().await;
    let shown = scene.shown().await;
    assert_eq!(shown.json["description"], "An example.");
    assert_eq!(shown.json["docs_url"], "https://example.com/docs");
    assert_eq!(shown.json["support_url"], "https://example.com/help");
    assert_eq!(shown.json["icon"], "data:image/png;base64,AAAA");
    assert_eq!(shown.json["auth_type"], "api_key");
    let methods = shown.json["methods"].as_array().unwrap();
    let told: Vec<_> = methods.iter().map(|m| (&m["method_id"], &m["label"], &m["kind"])).collect();
    assert_eq!(
        told,
        [
            (&json!("default"), &json!("API key"), &json!("form")),
            (&json!("oauth"), &json!("With your account"), &json!("consent")),
        ]
    );
    assert_eq!((methods[0].get("recommended"), &methods[1]["recommended"]), (None, &json!(true)));
    let order: Vec<_> = methods[0]["fields"].as_array().unwrap().iter().map(|f| f["name"].clone()).collect();
    assert_eq!(order, ["note", "region", "account", "site", "api_key"]);
    let key = field(&shown, 0, "api_key");
    assert_eq!((&key["secret"], &key["set"]), (&json!(true), &json!(true)));
    assert!(key["updated_at"].is_string() && key.get("value").is_none(), "{key}");
    assert_eq!(key["pattern_message"], "begins with sk-");
    assert_eq!(key["help"], "Settings > API");
    let site = field(&shown, 0, "site");
    assert_eq!((&site["value"], site.get("set")), (&json!("one"), None));
    assert_eq!((&site["format"], &site["suffix"]), (&json!("hostname_label"), &json!(".salesforce.com")));
    assert_eq!((&site["group"], &site["placeholder"]), (&json!("Account"), &json!("acme")));
    let account = field(&shown, 0, "account");
    assert_eq!(account["visible_when"], json!({ "field": "region", "in": ["us"] }));
    assert_eq!(account.get("value"), None);
    assert_eq!(field(&shown, 1, "client_secret")["set"], false, "nothing is saved for the other method");
    let list = scene.acme.workspace.get("/workspace/acme/main/settings/connector").await.is(200);
    let offer = list.json["data"].as_array().unwrap().iter().find(|one| one["connector_id"] == ID).unwrap();
    assert_eq!(offer["methods"], shown.json["methods"]);
    assert_eq!(offer["icon"], shown.json["icon"]);
    assert!(offer["form"].is_array() && offer["auth_methods"].is_array(), "the members of before stay");
    let heard = String::from_utf8_lossy(&scene.acme.workspace.heard()).into_owned();
    assert!(!heard.contains(KEY) && !heard.contains(NOTE));
}

#[tokio::test]
async fn a_field_that_becomes_a_secret_is_not_shown_any_more() {
    let scene = Scene::connected().await;
    let mut hidden = definition(&json!({}));
    let site = hidden["config_fields"][0].clone();
    hidden["config_fields"].as_array_mut().unwrap().remove(0);
    hidden["auth_schema"]["fields"].as_array_mut().unwrap().push(site);
    hidden["base_url"] = json!("https://one.salesforce.com");
    scene.world.platform.put("/admin/connector/saas", &hidden).await.is(200);
    let shown = scene.shown().await;
    let site = field(&shown, 0, "site");
    assert_eq!((&site["secret"], &site["set"], site.get("value")), (&json!(true), &json!(true), None));
}

#[tokio::test]
async fn a_patch_keeps_what_it_does_not_name() {
    let scene = Scene::connected().await;
    assert_eq!(scene.sent().await, ("one.salesforce.com".to_owned(), bearer(KEY)));
    let before = scene.shown().await;
    let patched = scene.patch(&json!({ "config": { "site": "two" } })).await.is(200);
    assert_eq!(patched.json["state"], "connected");
    assert_eq!(field(&patched, 0, "site")["value"], "two");
    assert_eq!(field(&patched, 0, "api_key"), field(&before, 0, "api_key"), "set, since the same time");
    assert_eq!(scene.sent().await, ("two.salesforce.com".to_owned(), bearer(KEY)));
    let patched = scene.patch(&json!({ "config": { "api_key": OTHER_KEY } })).await.is(200);
    assert_eq!(field(&patched, 0, "site")["value"], "two");
    assert_eq!(field(&patched, 0, "note"), field(&before, 0, "note"));
    assert_eq!(scene.sent().await, ("two.salesforce.com".to_owned(), bearer(OTHER_KEY)));
    let patched = scene.patch(&json!({ "config": { "note": null, "region": "us", "account": "7" } })).await;
    let patched = patched.is(200);
    assert_eq!(
        (&field(&patched, 0, "note")["set"], field(&patched, 0, "note").get("updated_at")),
        (&json!(false), None)
    );
    assert_eq!(field(&patched, 0, "account")["value"], "7");
    assert_eq!(scene.sent().await, ("two.salesforce.com".to_owned(), bearer(OTHER_KEY)));
    let patched = scene.patch(&json!({ "config": { "region": null, "account": null } })).await.is(200);
    assert_eq!(field(&patched, 0, "region")["value"], "eu", "its default");
    let heard = String::from_utf8_lossy(&scene.acme.workspace.heard()).into_owned();
    assert!(!heard.contains(KEY) && !heard.contains(OTHER_KEY) && !heard.contains(NOTE));
}

#[tokio::test]
async fn a_patched_form_is_checked_as_a_whole() {
    let scene = Scene::connected().await;
    let before = scene.shown().await;
    for (config, pointer, code) in [
        (json!({ "api_key": null }), "/config/api_key", "missing_field"),
        (json!({ "api_key": "" }), "/config/api_key", "missing_field"),
        (json!({ "api_key": "sk-canary-5" }), "/config/api_key", "wrong_form"),
        (json!({ "region": "us" }), "/config/account", "missing_field"),
        (json!({ "site": "a.b" }), "/config/site", "wrong_form"),
        (json!({ "site": 5 }), "/config/site", "wrong_type"),
        (json!({ "stie": "two" }), "/config/stie", "unknown_field"),
    ] {
        let refused = scene.patch(&json!({ "config": config })).await.problem(Code::ValidationFailed);
        assert_eq!(refused.violations(), [(pointer, code)], "{config}");
        assert!(!refused.text.contains("canary"), "{}", refused.text);
    }
    assert_eq!(scene.shown().await.json, before.json, "nothing was saved");
    assert_eq!(scene.sent().await, ("one.salesforce.com".to_owned(), bearer(KEY)));
}

#[tokio::test]
async fn a_patch_says_which_revision_it_changes() {
    let scene = Scene::connected().await;
    let path = SETTING;
    let read = scene.shown().await;
    let tag = read.header("etag").unwrap().to_owned();
    let body = |site: &str| json!({ "config": { "site": site } }).to_string().into_bytes();
    let json_with = |tag: &'static str| [("if-match", tag), ("content-type", "application/json")];
    let workspace = &scene.acme.workspace;
    workspace.send("PATCH", path, &json_with("\"0\""), body("two")).await.problem(Code::RevisionMismatch);
    let current = [("if-match", tag.as_str()), ("content-type", "application/json")];
    let patched = workspace.send("PATCH", path, &current, body("two")).await.is(200);
    assert_ne!(patched.header("etag"), Some(tag.as_str()));
    workspace.send("PATCH", path, &current, body("one")).await.problem(Code::RevisionMismatch);
    let whole = json!({ "config": { "api_key": KEY, "site": "one" } }).to_string().into_bytes();
    workspace.send("PUT", path, &current, whole).await.problem(Code::RevisionMismatch);
    let same = scene.patch(&json!({ "config": { "site": "two" } })).await.is(200);
    assert_eq!(same.header("etag"), patched.header("etag"), "nothing changed, nothing is written");
    assert_eq!(scene.patch(&json!({})).await.is(200).header("etag"), patched.header("etag"));
}

#[tokio::test]
async fn a_patch_of_nothing_saved_needs_the_whole_form_and_opting_out_keeps_it() {
    let scene = Scene::start().await;
    let refused = scene.patch(&json!({ "config": { "site": "one" } })).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/config/api_key", "missing_field")]);
    scene.patch(&json!({ "config": { "api_key": KEY, "site": "one" } })).await.is(200);
    assert_eq!(scene.patch(&json!({ "enabled": false })).await.is(200).json["state"], "opted_out");
    let patched = scene.patch(&json!({ "config": { "site": "two" } })).await.is(200);
    assert_eq!(patched.json["state"], "opted_out", "as it was");
    assert_eq!(scene.patch(&json!({ "enabled": true })).await.is(200).json["state"], "connected");
    assert_eq!(scene.sent().await, ("two.salesforce.com".to_owned(), bearer(KEY)));
    let refused = scene.patch(&json!({ "auth_method": "oauth" })).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/config", "missing_field")]);
    let other = json!({ "auth_method": "oauth", "config": { "client_id": "a", "site": "one" } });
    let refused = scene.patch(&other).await.problem(Code::ValidationFailed);
    assert_eq!(
        refused.violations(),
        [("/config/client_secret", "missing_field")],
        "nothing of another method stays"
    );
    let refused = scene.patch(&json!({ "auth_method": "nope", "config": {} })).await;
    assert_eq!(refused.problem(Code::ValidationFailed).violations(), [("/auth_method", "not_in_list")]);
    let own = json!({ "auth_method": "default", "config": { "site": "one" } });
    assert_eq!(scene.patch(&own).await.is(200).json["state"], "connected", "the one that is chosen");
}

/// A key that nobody gives again is not sent to hosts that were added after it was saved.
#[tokio::test]
async fn a_kept_secret_stays_sealed_for_the_hosts_that_it_was_saved_for() {
    let scene = Scene::connected().await;
    let action = json!({ "action_id": "far", "http_method": "GET", "url_template": "https://api.example-saas.com/v1/far" });
    let mut wider = definition(&json!({ "allowed_domains": ["*.salesforce.com", "api.example-saas.com"] }));
    wider["actions"].as_array_mut().unwrap().push(action);
    scene.world.names.tell("api.example-saas.com", &[PUBLIC]);
    scene.world.platform.put("/admin/connector/saas", &wider).await.is(200);
    for config in [json!({ "site": "two" }), json!({ "note": "another" })] {
        scene.patch(&json!({ "config": config })).await.is(200);
        assert_eq!(scene.shown().await.json["state"], "needs_attention", "{config}");
        let before = scene.world.before().await;
        scene.acme.call(ID, "far", json!({})).await.problem(Code::CredentialNeedsAttention);
        scene.world.assert_nothing_left(&before).await;
    }
    assert_eq!(scene.sent().await, ("two.salesforce.com".to_owned(), bearer(KEY)));
    scene.acme.connect(ID, json!({ "api_key": KEY, "site": "two" })).await;
    scene.acme.call(ID, "far", json!({})).await.is(200);
}

#[tokio::test]
async fn the_schema_of_a_form_compiles_and_judges_as_the_product_does() {
    let scene = Scene::start().await;
    let form = scene.acme.workspace.get(FORM).await.is(200);
    assert_eq!((&form.json["method_id"], &form.json["kind"]), (&json!("default"), &json!("form")));
    let validator = jsonschema::draft202012::new(&form.json["schema"]).unwrap();
    assert_eq!(form.json["schema"]["properties"]["api_key"]["writeOnly"], true);
    let hints: Map<String, Value> = form.json["ui"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hint| (hint["name"].as_str().unwrap().to_owned(), hint.clone()))
        .collect();
    assert_eq!(hints["api_key"]["widget"], "password");
    assert_eq!(hints["region"]["options"][0], json!({ "value": "eu", "label": "Europe" }));
    assert_eq!(hints["site"]["suffix"], ".salesforce.com");
    for (change, accepted) in [
        (json!({}), true),
        (json!({ "note": "a\nb" }), false),
        (json!({ "api_key": "sk-live-xyz" }), false),
        (json!({ "api_key": [KEY] }), false),
        (json!({ "region": "us" }), false),
        (json!({ "region": "us", "account": "7" }), true),
        (json!({ "region": "de" }), false),
        (json!({ "site": "a_b" }), false),
        (json!({ "site": "a".repeat(63) }), true),
        (json!({ "site": "a".repeat(64) }), false),
        (json!({ "nope": "x" }), false),
    ] {
        let mut config = json!({ "api_key": KEY, "site": "one" });
        lay(&mut config, &change);
        let saved = scene.acme.workspace.put(SETTING, &json!({ "config": config })).await;
        assert_eq!(saved.status == 200, accepted, "{change} {}", saved.text);
        assert_eq!(validator.is_valid(&config), accepted, "{change}");
    }
    let oauth = scene.acme.workspace.get(&format!("{FORM}?method=oauth")).await.is(200);
    assert_eq!((&oauth.json["kind"], &oauth.json["label"]), (&json!("consent"), &json!("With your account")));
    let refused = scene.acme.workspace.get(&format!("{FORM}?method=nope")).await.problem(Code::BadRequest);
    assert_eq!(refused.json["detail"], "method: must be one of default, oauth");
}

#[tokio::test]
async fn default_is_no_id_of_a_further_method() {
    let scene = Scene::start().await;
    let mut wrong = definition(&json!({ "connector_id": "other" }));
    wrong["auth_methods"][0]["id"] = json!("default");
    let refused = scene.world.platform.post("/admin/connector", &wrong).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/auth_methods/0/id", "reserved_name")]);
    let own = json!({ "auth_method": "default", "config": { "api_key": KEY, "site": "one" } });
    scene.acme.workspace.put(SETTING, &own).await.is(200);
}
