//! Where the changes are made: a product, perhaps a second one on the same store, and for each change a tenant and a
//! connector that no other has, with a call that waits for its upstream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::fault::Code;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::shared_store::SharedStore;
use crate::support::{Answer, Client, Script, Stage, Tenant, World, salesforce, until};

/// How soon a change takes effect, whoever made it.
pub(super) const PROMISED: Duration = Duration::from_secs(1);

const KEY: &str = "sk-live-0123456789abcdef";

/// Who makes the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// The product in which the calls run.
    Own,
    /// Another product on the same store.
    Other,
    /// Another one, and the feed does not reach back to its changes any more.
    Missed,
}

pub(super) struct Scene {
    pub(super) world: World,
    writer: Writer,
    /// Of the product that makes the changes.
    address: SocketAddr,
    /// The store as the product of the calls sees it, where another one has it open, too.
    shared: Option<Arc<SharedStore>>,
}

/// Whose token a change is made with.
pub(super) enum By {
    Platform,
    Org,
    Workspace,
    /// The other workspace of the org.
    Side,
}

/// One request that changes something.
pub(super) struct Write {
    by: By,
    method: &'static str,
    path: String,
    body: Value,
    status: u16,
}

impl Write {
    pub(super) fn of(by: By, method: &'static str, path: String, body: Value, status: u16) -> Self {
        Self { by, method, path, body, status }
    }

    pub(super) fn deletion(by: By, path: String) -> Self {
        Self::of(by, "DELETE", path, Value::Null, 204)
    }
}

/// A workspace that is connected to a connector, and what is near.
pub(super) struct Place {
    pub(super) tenant: Tenant,
    side: Client,
    pub(super) connector: String,
    pub(super) definition: Value,
    /// Of the token that calls are made with. It is the org's, so that it outlives the workspace.
    pub(super) token_id: String,
    pub(super) other_token_id: String,
    pub(super) automation: String,
}

impl Place {
    pub(super) fn connector_path(&self) -> String {
        format!("/admin/connector/{}", self.connector)
    }

    /// Of a connector that nothing uses.
    pub(super) fn other_path(&self) -> String {
        format!("{}-other", self.connector_path())
    }

    /// Of its action at the third party.
    pub(super) fn path(&self) -> String {
        format!("/v1/{}", self.connector)
    }

    pub(super) async fn create_contact(&self) -> Answer {
        self.tenant.call(&self.connector, "create-contact", json!({ "Email": "ada@example.org" })).await
    }

    async fn connect(&self, address: SocketAddr) {
        if self.definition["auth_type"] != "none" {
            self.tenant.at(address).connect(&self.connector, json!({ "api_key": KEY })).await;
        }
    }
}

/// A call that waits for its upstream.
pub(super) struct Call {
    pub(super) answer: JoinHandle<Answer>,
    upstream: Arc<Semaphore>,
}

/// The Salesforce example as a connector of its own.
pub(super) fn definition(connector: &str) -> Value {
    let mut definition = salesforce();
    definition["connector_id"] = json!(connector);
    definition["actions"][0]["url_template"] = json!(format!("https://api.salesforce.com/v1/{connector}"));
    definition
}

impl Scene {
    pub(super) async fn start(writer: Writer) -> Self {
        if writer == Writer::Own {
            let world = World::start().await;
            let address = world.platform.address();
            return Self { world, writer, address, shared: None };
        }
        let store = SharedStore::new();
        let world = Stage { store: Some(Arc::clone(&store) as _), ..Stage::default() }.start().await;
        let (_, address) = world.another_life(store.another()).await;
        Self { world, writer, address, shared: Some(store) }
    }

    /// As with [`Writer::Other`], but the product of the calls makes its changes itself.
    pub(super) async fn start_alone_on_a_shared_store() -> Self {
        let mut scene = Self::start(Writer::Other).await;
        scene.address = scene.world.platform.address();
        scene
    }

    pub(super) fn shared(&self) -> &SharedStore {
        self.shared.as_deref().unwrap()
    }

    /// The platform at the product that makes the changes.
    pub(super) fn platform(&self) -> Client {
        self.world.platform.at(self.address)
    }

    pub(super) async fn place(&self, name: &str) -> Place {
        self.place_of(name, definition(&format!("salesforce-{name}"))).await
    }

    pub(super) async fn place_of(&self, name: &str, definition: Value) -> Place {
        let connector = definition["connector_id"].as_str().unwrap().to_owned();
        let other = self::definition(&format!("{connector}-other"));
        for definition in [&definition, &other] {
            self.platform().post("/admin/connector", definition).await.is(201);
        }
        let org = format!("org-{name}");
        let mut tenant = self.world.tenant(&org, "main").await;
        let side = self.world.tenant(&org, "side").await.workspace;
        let (run, token_id) = self.run_token(&org).await;
        let (_, other_token_id) = self.run_token(&org).await;
        tenant.run = run;
        let mut automation = crate::support::world::contact_automation();
        automation["destination_config"]["connector_id"] = json!(connector);
        let made = tenant.at(self.address).org.post(&format!("/org/{org}/automation"), &automation).await;
        let automation = made.is(201).json["automation_id"].as_str().unwrap().to_owned();
        let place = Place { tenant, side, connector, definition, token_id, other_token_id, automation };
        place.connect(self.address).await;
        place
    }

    /// An org's token for calls in any of its workspaces, and its id.
    async fn run_token(&self, org: &str) -> (Client, String) {
        let answer = self.world.platform.post("/admin/token", &json!({ "role": "run", "org": org })).await;
        let made = answer.is(201).json;
        let client = self.world.platform.with_token(made["token"].as_str().unwrap());
        (client, made["token_id"].as_str().unwrap().to_owned())
    }

    /// A call that has reached its upstream, which holds the answer back.
    pub(super) async fn call(&self, place: &Place) -> Call {
        let upstream = Arc::new(Semaphore::new(0));
        let held = Script::Held(Arc::clone(&upstream), Box::new(Script::Json(200, r#"{"ok":true}"#)));
        self.world.upstream.script(&place.path(), held);
        let before = self.world.upstream.received_on(&place.path()).len();
        let answer = self.begin(place);
        until("the call has reached its upstream", async || {
            self.world.upstream.received_on(&place.path()).len() > before
        })
        .await;
        Call { answer, upstream }
    }

    /// Begins a call.
    pub(super) fn begin(&self, place: &Place) -> JoinHandle<Answer> {
        let run = place.tenant.run.clone();
        let path = format!("/run/{}/main/connector/{}/create-contact", place.tenant.org_id, place.connector);
        let body = json!({ "input": { "Email": "ada@example.org" } });
        tokio::spawn(async move { run.post(&path, &body).await })
    }

    /// Makes a change.
    pub(super) async fn change(&self, place: &Place, writes: Vec<Write>) {
        let feed = match self.writer {
            Writer::Missed => Some(self.shared().delay_feed().await),
            Writer::Own | Writer::Other => None,
        };
        let tenant = place.tenant.at(self.address);
        for write in writes {
            let client = match write.by {
                By::Platform => self.platform(),
                By::Org => tenant.org.clone(),
                By::Workspace => tenant.workspace.clone(),
                By::Side => place.side.at(self.address),
            };
            let answer = match write.method {
                "DELETE" => client.delete(&write.path).await,
                method => client.write(method, &write.path, write.body.to_string()).await,
            };
            answer.is(write.status);
        }
        if let Some(feed) = feed {
            self.shared().truncate_feed();
            drop(feed);
        }
    }

    /// Forgets the connection, and saves it again.
    pub(super) async fn forget_and_save(&self, place: &mut Place) {
        let workspace = place.tenant.workspace.at(self.address);
        workspace.delete(&place.tenant.setting(&place.connector)).await.is(204);
        place.connect(self.address).await;
    }

    /// Deletes the connector, and makes and connects it again.
    pub(super) async fn delete_and_upload(&self, place: &mut Place) {
        self.platform().delete(&format!("{}?force=true", place.connector_path())).await.is(204);
        self.platform().post("/admin/connector", &place.definition).await.is(201);
        place.connect(self.address).await;
    }

    /// Deletes the workspace, and makes and connects it again.
    pub(super) async fn delete_and_create_workspace(&self, place: &mut Place) {
        let platform = self.platform();
        let org = &place.tenant.org_id;
        platform.delete(&format!("/admin/org/{org}/workspace/main")).await.is(204);
        let workspaces = format!("/admin/org/{org}/workspace");
        platform.post(&workspaces, &json!({ "workspace": "main" })).await.is(201);
        let token = json!({ "role": "workspace", "org": org, "workspace": "main" });
        place.tenant.workspace = self.world.platform.with_token(self.world.token(&token).await);
        place.connect(self.address).await;
    }

    /// Waits until the product of the calls has applied every change, which it does in time.
    pub(super) async fn followed(&self) {
        if let Some(store) = &self.shared {
            timeout(PROMISED, store.followed()).await.expect("a change was not applied within a second");
        }
    }

    /// Whether the call ends in time with this code, and its run and the ledger say so.
    pub(super) async fn ends(&self, place: &Place, call: Call, code: Code) -> Result<(), String> {
        let Ok(answer) = timeout(PROMISED, call.answer).await else {
            return Err("the call still runs after a second".to_owned());
        };
        let answer = answer.unwrap();
        if (answer.status, &answer.json["code"]) != (code.status(), &json!(code.as_str())) {
            return Err(format!("{} instead of {code}: {}", answer.status, answer.text));
        }
        let run = &answer.json["run"];
        if (&run["status"], &run["code"]) != (&json!("refused"), &json!(code.as_str())) {
            return Err(format!("the run does not say {code}: {run}"));
        }
        let org = &place.tenant.org_id;
        // Why created: the ledger of an org that was deleted is read by the next of its name.
        let made = self.world.platform.post("/admin/org", &json!({ "org": org })).await;
        assert!(matches!(made.status, 201 | 409), "{}", made.text);
        let token = self.world.token(&json!({ "role": "org", "org": org })).await;
        let reader = self.world.platform.with_token(token);
        let closed = json!(["complete", code.as_str(), run["run_id"]]);
        until(&format!("the ledger says {closed}"), async || {
            let newest = &reader.get(&format!("/org/{org}/outbound")).await.is(200).json["data"][0];
            json!([newest["phase"], newest["code"], newest["run_id"]]) == closed
        })
        .await;
        let verified = reader.get(&format!("/org/{org}/outbound/verify")).await.is(200);
        if verified.json["intact"] == true { Ok(()) } else { Err(verified.text) }
    }

    /// Whether the call, once every change is applied, still gets its upstream's answer.
    pub(super) async fn goes_on(&self, call: Call) -> Result<(), String> {
        self.followed().await;
        call.upstream.add_permits(1);
        let answer = call.answer.await.unwrap();
        let is_whole = answer.status == 200 && answer.json["output"] == json!({ "ok": true });
        if is_whole { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text)) }
    }
}
