//! The call that all benchmarks measure: one contact is created.

use portcullis_core::connector::Connector;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::{BoxFuture, Outbound, OutboundError, OutboundRequest, OutboundResponse};
use portcullis_sandbox::Invocation;
use serde_json::{Value, json};

/// The name in the upstream's certificate; the definition allows it.
pub(crate) const NAME: &str = "api.bench-saas.com";

/// The action of every connector.
pub(crate) const ACTION: &str = "create-contact";

/// What a call sends.
pub(crate) const INPUT: &str =
    r#"{"Email":"ada@example.com","FirstName":"Ada","LastName":"Lovelace","Phone":"+44 20 7946 0958"}"#;

/// An answer of the size that creating one record usually has.
pub(crate) const CREATED: &str = r#"{"id":"003Hs00004GvfRXIAZ","success":true,"errors":[],"attributes":{"type":"Contact","url":"/services/data/v62.0/sobjects/Contact/003Hs00004GvfRXIAZ"},"CreatedDate":"2026-11-22T10:00:00.000+0000","LastModifiedDate":"2026-11-22T10:00:00.000+0000","Email":"ada@example.com","FirstName":"Ada","LastName":"Lovelace","OwnerId":"005Hs00000AbCdEIAV","IsDeleted":false,"Phone":"+44 20 7946 0958","MailingCity":"London","MailingCountry":"United Kingdom"}"#;

/// A definition whose action posts to that path of the upstream.
pub(crate) fn definition(id: &str, path: &str) -> Value {
    let field = |name: &str| json!({ "name": name, "label": name });
    json!({
        "connector_id": id, "display_name": id, "auth_type": "bearer",
        "auth_schema": { "fields": [
            { "name": "token", "label": "Token", "type": "password", "required": true }] },
        "actions": [{ "action_id": ACTION, "http_method": "POST",
            "url_template": format!("https://{NAME}{path}"),
            "body_schema": [field("Email"), field("FirstName"), field("LastName"), field("Phone")] }],
        "allowed_domains": ["*.bench-saas.com"], "enabled": true,
    })
}

/// The definition, checked.
pub(crate) fn connector() -> Result<Connector, String> {
    let checked = Connector::parse(&definition("bench", "/v1/contacts"), &Limits::default());
    checked.connector.ok_or_else(|| format!("the benchmark's definition is not valid: {:?}", checked.errors))
}

/// A call of its action.
pub(crate) fn invocation(connector: &Connector) -> Option<Invocation> {
    let action = connector.actions.first()?;
    Some(Invocation {
        operation: action.id.as_str().to_owned(),
        plan: action.plan_json.clone(),
        input: INPUT.to_owned(),
        config: "{}".to_owned(),
        run_id: "run_1".to_owned(),
        now_ms: 1_795_343_400_000,
        idempotency_key: None,
    })
}

/// A gate that answers at once.
pub(crate) struct Canned;

impl Outbound for Canned {
    fn send(&self, _: OutboundRequest) -> BoxFuture<'_, Result<OutboundResponse, OutboundError>> {
        Box::pin(async {
            Ok(OutboundResponse {
                status: 201,
                headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
                body: CREATED.as_bytes().to_vec(),
                redacted: false,
            })
        })
    }
}
