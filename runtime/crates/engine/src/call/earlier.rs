//! An action as an earlier revision of its connector had it, under everything else that is in force now.
//!
//! A person may run something again "with the same definition". What a call may do is never decided by an old revision:
//! the kill switch, the lists, ports, redirects, authentication, budgets, limits and the rules of repeating are those of
//! now, and so are method, host and path. The earlier revision gives what is left: inputs, headers, query, body, what
//! counts as success, and the output. So the earlier action is put into the definition of now and the whole is checked as
//! if it was uploaded now. Where that is not possible, or where method, URL or a member that other actions share differ,
//! the run is not made: [`Code::DefinitionChanged`].

use std::sync::Arc;

use portcullis_core::connector::{Action, Connector};
use portcullis_core::fault::Code;
use portcullis_core::offload;
use portcullis_store::{ConnectorRecord, ConnectorRevision};
use serde_json::{Map, Value};

use super::prepare::{Named, Pick, name};
use super::request::CallRequest;
use crate::cache::LoadedConnector;
use crate::clock;
use crate::error::Error;
use crate::resources::Resources;

/// The revision that a run is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pinned {
    pub(crate) revision: u64,
    /// When the run ended that was made with it, RFC 3339. A revision that is younger is another one with that number: the
    /// connector was deleted and made again.
    pub(crate) before: String,
}

/// Members of a definition that shape the requests of its actions and that all actions share. Where one differs, an
/// action of then would not make the request of then.
const SHARED: [&str; 5] = ["default_headers", "default_query", "tables", "errors", "pagination"];

/// Members of an action that count as they are now: what bounds its calls and says how they are repeated. Examples are no
/// part of a call.
const OF_NOW: [&str; 8] =
    ["effect", "idempotent", "idempotency", "retry", "rate_limit", "limits", "requires_scopes", "examples"];

/// Finds connector and action, of that revision if one is given.
///
/// # Errors
/// Those of [`name`], `definition_changed`, `store_unavailable`.
pub(crate) async fn named(
    resources: &Resources,
    call: &CallRequest,
    pinned: Option<&Pinned>,
) -> Result<Named, Error> {
    let now = name(resources, call).await?;
    let Some(pinned) = pinned else { return Ok(now) };
    if pinned.revision == now.loaded.revision {
        revision_of(resources, &now.loaded, pinned).await?;
        return Ok(now);
    }
    let action = now.action()?.id.as_str();
    let known = resources.cache.earlier(&now.loaded, pinned.revision, action);
    let loaded = match known {
        Some(known) => known,
        None => {
            let made = Arc::new(earlier(resources, &now.loaded, pinned, action).await?);
            resources.cache.keep_earlier(action, &made);
            made
        }
    };
    let index = loaded.connector.actions.iter().position(|found| found.id.as_str() == action);
    let index = index.ok_or_else(|| Error::plain(Code::ActionNotFound))?;
    Ok(Named { loaded, pick: Pick::Action(index) })
}

fn changed(why: &str) -> Error {
    let detail = format!(
        "{why}, so the run cannot be made as it was; with {{\"definition\": \"newest\"}} it is made as the definition \
         is now"
    );
    Error::new(Code::DefinitionChanged, detail)
}

/// The revision as it was stored.
async fn revision_of(
    resources: &Resources,
    now: &LoadedConnector,
    pinned: &Pinned,
) -> Result<ConnectorRevision, Error> {
    let parts = [now.connector.id.as_str(), &ConnectorRevision::part(pinned.revision)];
    let revision = resources.records.get::<ConnectorRevision>(&parts).await?.map(|(revision, _)| revision);
    let is_older = |revision: &ConnectorRevision| {
        let at = clock::micros(&revision.updated_at);
        at.zip(clock::micros(&pinned.before)).is_some_and(|(at, before)| at <= before)
    };
    revision
        .filter(is_older)
        .ok_or_else(|| changed("the revision of the definition that it was made with is not kept"))
}

async fn earlier(
    resources: &Resources,
    now: &LoadedConnector,
    pinned: &Pinned,
    action: &str,
) -> Result<LoadedConnector, Error> {
    let id = now.connector.id.as_str();
    let found = resources.records.get::<ConnectorRecord>(&[id]).await?;
    // Why no other way: of another process's change this one was not told yet, and is in a moment.
    let (record, _) = found
        .filter(|(_, commit)| *commit == now.commit)
        .ok_or_else(|| Error::new(Code::StoreUnavailable, "the connector is being changed; try again"))?;
    let revision = revision_of(resources, now, pinned).await?;
    offload::to_worker().await;
    let document = composed(&record.definition, &revision.definition, action).map_err(changed)?;
    let checked = Connector::parse(&document, &resources.limits);
    let mut connector =
        checked.connector.ok_or_else(|| changed("its action does not fit the definition of now"))?;
    connector.enabled &= record.enabled;
    let as_now = match (connector.action(action), now.connector.action(action)) {
        (Some(then), Some(now)) => leads_to_the_same(then, now),
        _ => false,
    };
    if !as_now {
        return Err(changed("its action's method or URL is another one now"));
    }
    Ok(LoadedConnector { connector, revision: pinned.revision, commit: now.commit })
}

/// The definition of now with one action as it was then.
fn composed(now: &Value, then: &Value, action: &str) -> Result<Value, &'static str> {
    if SHARED.iter().any(|name| now.get(name) != then.get(name)) {
        return Err("what its action shares with others has changed in the definition");
    }
    let find = |document: &Value| {
        let actions = document.get("actions").and_then(Value::as_array)?;
        actions.iter().position(|one| one.get("action_id").and_then(Value::as_str) == Some(action))
    };
    let missing = "its action was not in that revision of the definition";
    let of_then = find(then).and_then(|at| then.get("actions")?.get(at)?.as_object()).ok_or(missing)?;
    let mut whole = now.clone();
    let at = find(now).and_then(|at| whole.get_mut("actions")?.get_mut(at)).ok_or(missing)?;
    let of_now = at.as_object().ok_or(missing)?;
    let mut made: Map<String, Value> = of_then.clone();
    for name in OF_NOW {
        match of_now.get(name).filter(|_| name != "examples") {
            Some(value) => made.insert(name.to_owned(), value.clone()),
            None => made.remove(name),
        };
    }
    keep_sensitive(of_now, &mut made);
    *at = Value::Object(made);
    Ok(whole)
}

/// Inputs that are sensitive now are so in an earlier form, too.
fn keep_sensitive(now: &Map<String, Value>, then: &mut Map<String, Value>) {
    let inputs = |action: &Map<String, Value>| action.get("body_schema").and_then(Value::as_array).cloned();
    let is_sensitive = |input: &Value| input.get("sensitive").and_then(Value::as_bool) == Some(true);
    let sensitive: Vec<Value> = inputs(now).into_iter().flatten().filter(is_sensitive).collect();
    let Some(inputs) = then.get_mut("body_schema").and_then(Value::as_array_mut) else { return };
    for input in inputs.iter_mut().filter_map(Value::as_object_mut) {
        if sensitive.iter().any(|now| now.get("name") == input.get("name")) {
            input.insert("sensitive".to_owned(), Value::Bool(true));
        }
    }
}

/// Whether two forms of an action may send their requests to the same places, by the product's own handler.
fn leads_to_the_same(then: &Action, now: &Action) -> bool {
    let asks = |action: &Action| action.poll.as_ref().map(|poll| poll.urls.clone());
    !then.is_module
        && !now.is_module
        && (then.method, &then.url) == (now.method, &now.url)
        && then.page_urls == now.page_urls
        && asks(then) == asks(now)
}

#[cfg(test)]
mod tests {
    use portcullis_core::limits::Limits;
    use serde_json::json;

    use super::*;

    fn definition(action: &Value) -> Value {
        json!({
            "connector_id": "saas", "display_name": "Example", "auth_type": "api_key",
            "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
            "allowed_domains": ["*.example.com"], "enabled": true,
            "actions": [
                { "action_id": "other", "http_method": "GET", "url_template": "https://api.example.com/o" },
                action,
            ],
        })
    }

    fn act(more: &Value) -> Value {
        let mut action = json!({
            "action_id": "act", "http_method": "POST", "url_template": "https://api.example.com/v1/{{input.id}}",
            "body_schema": [{ "name": "id", "required": true }],
        });
        for (name, value) in more.as_object().unwrap() {
            action[name] = value.clone();
        }
        action
    }

    /// Whether an action of then can be used now.
    fn fits(now: &Value, then: &Value) -> bool {
        let Ok(document) = composed(now, then, "act") else { return false };
        let parsed = |document: &Value| Connector::parse(document, &Limits::default()).connector;
        let (Some(then), now) = (parsed(&document), parsed(now).unwrap()) else { return false };
        leads_to_the_same(then.action("act").unwrap(), now.action("act").unwrap())
    }

    #[test]
    fn what_the_request_says_is_of_then_and_what_bounds_it_of_now() {
        let then = definition(&act(&json!({
            "headers": { "x-v": "1" }, "idempotent": true, "examples": [], "limits": { "timeout_ms": 9000 },
        })));
        let mut now = definition(&act(&json!({ "headers": { "x-v": "2" }, "retry": { "max_attempts": 1 } })));
        now["enabled"] = json!(false);
        let made = composed(&now, &then, "act").unwrap();
        let action = &made["actions"][1];
        assert_eq!((&action["headers"]["x-v"], &action["retry"]["max_attempts"]), (&json!("1"), &json!(1)));
        for gone in ["idempotent", "examples", "limits"] {
            assert!(action.get(gone).is_none(), "{gone}");
        }
        assert_eq!((&made["enabled"], &made["actions"][0]), (&json!(false), &now["actions"][0]));
        assert!(fits(&now, &then));
        let now = definition(&act(&json!({ "body_schema": [{ "name": "id", "sensitive": true }] })));
        assert_eq!(composed(&now, &then, "act").unwrap()["actions"][1]["body_schema"][0]["sensitive"], true);
    }

    #[test]
    fn an_action_that_leads_elsewhere_or_needs_what_is_gone_does_not_fit() {
        let now = definition(&act(&json!({})));
        assert!(fits(
            &now,
            &definition(&act(&json!({ "body_schema": [{ "name": "id" }, { "name": "note" }] })))
        ));
        for (wrong, why) in [
            (json!({ "http_method": "PUT" }), "another method"),
            (json!({ "url_template": "https://api.example.com/v2/{{input.id}}" }), "another path"),
            (json!({ "url_template": "https://old.example.com/v1/{{input.id}}" }), "another host"),
            (
                json!({ "url_template": "https://api.other.example/v1/{{input.id}}" }),
                "a host that is not allowed",
            ),
            (json!({ "headers": { "x": "{{config.gone}}" } }), "a config field that is not there"),
        ] {
            assert!(!fits(&now, &definition(&act(&wrong))), "{why}");
        }
        let mut shared = definition(&act(&json!({})));
        shared["default_headers"] = json!({ "x-api": "1" });
        assert!(!fits(&now, &shared) && !fits(&shared, &now) && fits(&shared, &shared));
        let mut without = definition(&act(&json!({})));
        without["actions"].as_array_mut().unwrap().pop();
        assert!(!fits(&now, &without), "it was not there then");
        assert!(composed(&without, &now, "act").is_err(), "it is not there now");
    }
}
