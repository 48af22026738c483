//! A product with content: connectors uploaded, credentials saved and tokens created through its API.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::Failure;
use crate::children::Process;
use crate::load::{Connection, Plan, request, request_with};
use crate::sample::{ACTION, INPUT, definition};

/// The org of every call.
const ORG: &str = "acme";

/// A product's API and a token for it.
pub(crate) struct Api {
    address: SocketAddr,
    connection: Connection,
    token: String,
}

impl Api {
    /// As the platform.
    pub(crate) async fn of(product: &Process) -> Result<Self, Failure> {
        Self::with(product.text("address")?.parse()?, product.text("token")?.to_owned()).await
    }

    async fn with(address: SocketAddr, token: String) -> Result<Self, Failure> {
        Ok(Self { address, connection: Connection::open(address).await?, token })
    }

    /// One request that must succeed.
    async fn must(&mut self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = request(method, path, Some(&self.token), &body.to_string());
        let (status, body) = self.exchange(&request).await?;
        if status >= 300 {
            return Err(format!("{method} {path}: {status} {body}").into());
        }
        Ok(body)
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, Value), Failure> {
        let (status, body) = self.connection.exchange(request).await?;
        Ok((status, if body.is_empty() { Value::Null } else { serde_json::from_slice(body)? }))
    }

    /// Uploads a module; returns its digest.
    pub(crate) async fn module(&mut self, component: &[u8]) -> Result<String, Failure> {
        let head = "content-type: application/wasm\r\n";
        let upload = request_with("POST", "/admin/module", Some(&self.token), head, component);
        let (status, report) = self.exchange(&upload).await?;
        let digest = report.get("digest").and_then(Value::as_str).filter(|_| status < 300);
        Ok(digest.ok_or_else(|| format!("the module was not admitted: {status} {report}"))?.to_owned())
    }

    /// A connector that uses a module, and all that the module may do.
    pub(crate) async fn module_connector(&mut self, definition: &Value) -> Result<(), Failure> {
        let body = definition.to_string();
        let asked = request("POST", "/admin/connector", Some(&self.token), &body);
        let (status, answer) = self.exchange(&asked).await?;
        let Some(digest) = answer.get("digest").and_then(Value::as_str).filter(|_| status == 409) else {
            return if status < 300 {
                Ok(())
            } else {
                Err(format!("the connector: {status} {answer}").into())
            };
        };
        self.must("POST", &format!("/admin/connector?accept={digest}"), definition).await?;
        Ok(())
    }

    /// A token, as its text.
    async fn make_token(&mut self, spec: &Value) -> Result<String, Failure> {
        let made = self.must("POST", "/admin/token", spec).await?;
        Ok(made.get("token").and_then(Value::as_str).ok_or("no token was made")?.to_owned())
    }

    /// The org with an allowlist, and a token that may run everything in it.
    pub(crate) async fn org(&mut self) -> Result<String, Failure> {
        self.must("POST", "/admin/org", &json!({ "org": ORG })).await?;
        let token = self.make_token(&json!({ "role": "org", "org": ORG })).await?;
        let list = json!({ "domain_allowlist": ["*.bench-saas.com"], "mode": "enforce" });
        let mut admin = Self::with(self.address, token).await?;
        admin.must("PUT", &format!("/org/{ORG}/settings/integrations"), &list).await?;
        self.make_token(&json!({ "role": "run", "org": ORG })).await
    }

    /// A workspace, and the API as its admin.
    pub(crate) async fn workspace(&mut self, id: &str) -> Result<Workspace, Failure> {
        self.must("POST", &format!("/admin/org/{ORG}/workspace"), &json!({ "workspace": id })).await?;
        let token = self.make_token(&json!({ "role": "workspace", "org": ORG, "workspace": id })).await?;
        Ok(Workspace { id: id.to_owned(), api: Self::with(self.address, token).await? })
    }

    /// A connector whose action posts to that path of the upstream.
    pub(crate) async fn connector(&mut self, id: &str, path: &str) -> Result<(), Failure> {
        self.must("POST", "/admin/connector", &definition(id, path)).await?;
        Ok(())
    }

    /// The same whose vendor knows repeats by a key.
    pub(crate) async fn keyed_connector(&mut self, id: &str, path: &str) -> Result<(), Failure> {
        let mut definition = definition(id, path);
        if let Some(action) = definition.pointer_mut("/actions/0") {
            lay_key(action);
        }
        self.must("POST", "/admin/connector", &definition).await?;
        Ok(())
    }

    /// The load of calling these pairs of workspace and connector in turn.
    pub(crate) fn calls(&self, token: &str, pairs: &[(String, String)]) -> Plan {
        let body = format!(r#"{{"input":{INPUT}}}"#);
        let call = |(workspace, connector): &(String, String)| {
            let path = format!("/run/{ORG}/{workspace}/connector/{connector}/{ACTION}");
            request("POST", &path, Some(token), &body)
        };
        self.plan(pairs.iter().map(call).collect())
    }

    /// The same calls, each accepted and executed later.
    pub(crate) fn later(&self, token: &str, pairs: &[(String, String)]) -> Plan {
        let body = format!(r#"{{"input":{INPUT}}}"#);
        let head = "content-type: application/json\r\nprefer: respond-async\r\n";
        let call = |(workspace, connector): &(String, String)| {
            let path = format!("/run/{ORG}/{workspace}/connector/{connector}/{ACTION}");
            request_with("POST", &path, Some(token), head, body.as_bytes())
        };
        self.plan(pairs.iter().map(call).collect())
    }

    /// One call of an action with this input, again and again.
    pub(crate) fn call(&self, token: &str, workspace: &str, action: &str, input: &Value) -> Plan {
        let path = format!("/run/{ORG}/{workspace}/connector/{action}");
        self.plan(vec![request("POST", &path, Some(token), &json!({ "input": input }).to_string())])
    }

    /// These requests.
    pub(crate) fn plan(&self, requests: Vec<Vec<u8>>) -> Plan {
        Plan { address: self.address, requests: Arc::new(requests) }
    }

    /// Its token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

/// A workspace and its admin.
pub(crate) struct Workspace {
    id: String,
    api: Api,
}

impl Workspace {
    /// Saves a credential.
    pub(crate) async fn connect(&mut self, connector: &str) -> Result<(), Failure> {
        self.api.must("PUT", &self.setting(connector), &credential()).await?;
        Ok(())
    }

    /// The request that saves one.
    pub(crate) fn save(&self, connector: &str) -> Vec<u8> {
        let body = credential().to_string();
        request("PUT", &self.setting(connector), Some(&self.api.token), &body)
    }

    fn setting(&self, connector: &str) -> String {
        format!("/workspace/{ORG}/{}/settings/connector/{connector}", self.id)
    }
}

/// A key for the vendor, in the header that most of them read.
fn lay_key(action: &mut Value) {
    if let Some(action) = action.as_object_mut() {
        let key = json!({ "in": "header", "name": "Idempotency-Key" });
        action.insert("idempotency".to_owned(), key);
    }
}

fn credential() -> Value {
    json!({ "enabled": true, "config": { "token": "bench-key-3c1d5a7788e94f20" } })
}
