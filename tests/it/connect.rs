//! Connect links as a person's browser sees them: an HTTP client that keeps cookies as browsers do, and no script.

use std::collections::BTreeMap;
use std::sync::Mutex;

use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use crate::support::token_server::TokenServer;
use crate::support::world::PUBLIC_URL;
use crate::support::{Answer, Client, PUBLIC, Script, Stage, Tenant, World};

mod consent;
mod form;
mod framed;
mod links;
mod named;
mod settings;

const KEY: &str = "sk-live-0123456789abcdef";
/// A connector with a key and a test.
const CRM: &str = "crm";
/// The path of its test.
const CHECK: &str = "/v1/check";
/// A connector that asks for consent.
const SAAS: &str = "saas";
const LOGIN: &str = "login.salesforce.com";
const SECRET: &str = "s3cr3t+/=&of client";

fn crm() -> Value {
    json!({
        "connector_id": CRM, "display_name": "CRM <b>& co</b>", "auth_type": "api_key",
        "description": "Contacts <script>alert(1)</script>",
        "auth_schema": { "fields": [
            { "name": "api_key", "label": "API <i>key</i>", "type": "password", "required": true,
              "pattern": "sk-.*", "help": "In your \"profile\" <img src=x>" },
        ] },
        "config_fields": [
            { "name": "domain", "label": "Domain", "required": true, "suffix": ".salesforce.com",
              "format": "hostname_label", "group": "Place" },
            { "name": "region", "label": "Region", "type": "select", "group": "Place",
              "enum": [{ "value": "eu", "label": "Europe" }, { "value": "us", "label": "America" }] },
        ],
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "retry": { "base_ms": 1, "max_attempts": 1 },
        "errors": [{ "when": { "status": [401] }, "class": "auth", "message_path": "/message" }],
        "actions": [{
            "action_id": "list", "http_method": "GET", "url_template": "https://api.salesforce.com/v1/things",
        }],
        "test": {
            "request": {
                "action_id": "check", "http_method": "GET",
                "url_template": format!("https://api.salesforce.com{CHECK}"),
            },
            "label": "/name",
        },
    })
}

fn saas() -> Value {
    json!({
        "connector_id": SAAS, "display_name": "Saas", "auth_type": "oauth2_authorization_code",
        "auth": {
            "authorize_url": format!("https://{LOGIN}/authorize"),
            "token_url": format!("https://{LOGIN}/oauth/token"),
        },
        "auth_schema": { "fields": [
            { "name": "client_id", "label": "Client id", "type": "password", "required": true },
            { "name": "client_secret", "label": "Client secret", "type": "password", "required": true },
        ] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true, "retry": { "base_ms": 1 },
        "actions": [{
            "action_id": "list", "http_method": "GET", "url_template": "https://api.salesforce.com/v1/things",
        }],
    })
}

/// A workspace that is not connected, an org that lists its application, and two connectors.
struct Scene {
    world: World,
    acme: Tenant,
    server: TokenServer,
}

impl Scene {
    async fn start() -> Self {
        Self::with(Stage::default().limits).await
    }

    async fn with(limits: Limits) -> Self {
        let world = Stage { limits, ..Stage::default() }.start().await;
        world.names.tell(LOGIN, &[PUBLIC]);
        for definition in [crm(), saas()] {
            world.platform.post("/admin/connector", &definition).await.is(201);
        }
        let acme = world.tenant("acme", "main").await;
        let server = TokenServer::on(&world.upstream);
        world.upstream.script(CHECK, Script::Json(200, r#"{"name":"ada <ada@example.org>"}"#));
        let settings = json!({ "return_urls": ["https://app.example.com/done"] });
        acme.org.put("/org/acme/settings/connect", &settings).await.is(200);
        Self { world, acme, server }
    }

    /// Makes a link; returns its path.
    async fn link(&self, wish: Value) -> String {
        let made = self.acme.workspace.post("/workspace/acme/main/connect-session", &wish).await.is(201);
        let url = made.json["connect_url"].as_str().unwrap();
        let path = url.strip_prefix(PUBLIC_URL).unwrap();
        assert_eq!(path.len(), "/connect/".len() + 43, "256 bits: {path}");
        path.to_owned()
    }

    /// A browser that has claimed a new link, and the link.
    async fn claimed(&self, wish: Value) -> (Browser, String) {
        let (browser, link) = (self.browser(), self.link(wish).await);
        browser.claim(&link).await;
        (browser, link)
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.world)
    }

    /// The state of a connection.
    async fn state(&self, connector: &str) -> Value {
        self.acme.workspace.get(&self.acme.setting(connector)).await.is(200).json["state"].clone()
    }
}

/// The fields of the connector with a key.
fn filled() -> Vec<(&'static str, &'static str)> {
    vec![("field.api_key", KEY), ("field.domain", "acme"), ("field.region", "eu")]
}

/// A browser: it keeps cookies, sends them where they belong, and runs no script.
pub(crate) struct Browser {
    client: Client,
    /// Value and path of each cookie.
    jar: Mutex<BTreeMap<String, (String, String)>>,
    /// Headers of all its requests.
    more: Vec<(&'static str, &'static str)>,
}

impl Browser {
    pub(crate) fn new(world: &World) -> Self {
        Self { client: world.platform.anonymous(), jar: Mutex::default(), more: Vec::new() }
    }

    /// One whose page stands in a frame.
    pub(crate) fn framed(world: &World) -> Self {
        Self { more: vec![("sec-fetch-dest", "iframe")], ..Self::new(world) }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Vec::new()).await
    }

    /// Sends a form.
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.ask("POST", path, body.into_bytes()).await
    }

    async fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> Answer {
        let bare = path.split('?').next().unwrap();
        let cookies: Vec<String> = {
            let jar = self.jar.lock().unwrap();
            let sent = jar.iter().filter(|(_, (_, scope))| bare.starts_with(scope.as_str()));
            sent.map(|(name, (value, _))| format!("{name}={value}")).collect()
        };
        let cookie = cookies.join("; ");
        let mut headers = vec![("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        headers.extend(self.more.iter().copied());
        if !cookie.is_empty() {
            headers.push(("cookie", cookie.as_str()));
        }
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let answer = self.client.send(method, path, &headers, body).await;
        self.keep(&answer);
        guarded(&answer);
        answer
    }

    fn keep(&self, answer: &Answer) {
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            let path = line.split("; ").find_map(|part| part.strip_prefix("Path=")).unwrap();
            let kept = (value.to_owned(), path.to_owned());
            self.jar.lock().unwrap().insert(name.to_owned(), kept);
        }
    }

    /// Opens a link and goes on in this browser; the first page after that.
    pub(crate) async fn claim(&self, link: &str) -> Answer {
        self.get(link).await.is(200);
        self.follow(self.post(&format!("{link}/claim"), &[]).await.is(303)).await
    }

    /// Goes where an answer leads, as long as that is here.
    async fn follow(&self, mut answer: Answer) -> Answer {
        while let Some(path) = answer.header("location").filter(|to| to.starts_with('/')).map(str::to_owned) {
            answer = self.get(&path).await;
        }
        answer
    }

    /// Fills in the form of a page and sends it.
    pub(crate) async fn fill(&self, link: &str, connector: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(&format!("{link}?connector={connector}")).await.is(200);
        let mut form = vec![("csrf", hidden(&page, "csrf")), ("connector", connector.to_owned())];
        form.push(("method", "default".to_owned()));
        let form: Vec<(&str, &str)> =
            form.iter().map(|(name, value)| (*name, value.as_str())).chain(fields.iter().copied()).collect();
        self.post(&format!("{link}/save"), &form).await
    }
}

/// What every page owes: it runs nothing, loads nothing from elsewhere, is not kept, and says nothing on.
fn guarded(answer: &Answer) {
    let Some(policy) = answer.header("content-security-policy") else {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text);
        return;
    };
    for part in ["default-src 'none'; style-src 'sha256-", "; form-action 'self'; ", "; base-uri 'none'; "] {
        assert!(policy.contains(part), "{policy}");
    }
    for forbidden in ["unsafe", "script-src", "*", "http:"] {
        assert!(!policy.contains(forbidden), "{policy}");
    }
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let text = answer.text.to_lowercase();
    assert!(!text.contains("<script") && !text.contains("onerror="), "{}", answer.text);
}

/// The value of a hidden input.
fn hidden(page: &Answer, name: &str) -> String {
    let at = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.text.split_once(&at).unwrap_or_else(|| panic!("no {name} in {}", page.text));
    rest.split('"').next().unwrap().to_owned()
}

/// Where the link with these words leads.
pub(crate) fn link_of(page: &Answer, words: &str) -> String {
    let (before, _) = page.text.split_once(words).unwrap_or_else(|| panic!("no {words} in {}", page.text));
    let (_, url) = before.rsplit_once("href=\"").unwrap();
    url.split('"').next().unwrap().replace("&amp;", "&")
}
