//! What the page of a connector asks: its methods with their fields, and what is saved of them. The one place in which
//! the page learns of a connector's form.

use std::collections::BTreeMap;

use portcullis_core::connector::{Connector, DEFAULT_METHOD};
use portcullis_core::form::Field;
use portcullis_core::id::{ConnectionName, ConnectorId};
use serde_json::Value;

use super::{Session, doing};
use crate::connection::{ConnectionState, LeftOut, StoredConnection, Subject, asked_fields};
use crate::engine::Engine;
use crate::error::Error;

/// The form of a connector as one workspace sees it.
#[derive(Debug, Clone)]
pub struct ConnectForm {
    pub connector_id: ConnectorId,
    /// The connection's name; none for the default one.
    pub connection: Option<ConnectionName>,
    pub display_name: String,
    pub description: Option<String>,
    pub docs_url: Option<String>,
    /// The state of the connection.
    pub state: ConnectionState,
    /// The ways to authenticate, at least one.
    pub methods: Vec<FormMethod>,
    /// Whether what is saved can be tried.
    pub has_test: bool,
}

/// A way to authenticate.
#[derive(Debug, Clone)]
pub struct FormMethod {
    /// `default` for the connector's own.
    pub id: String,
    /// Name for people, if the definition has one.
    pub label: Option<String>,
    pub recommended: bool,
    /// Whether a person consents at the third party, after what the form asks.
    pub consent: bool,
    /// The fields that a person fills in, in their order; none that a shared OAuth client has.
    pub fields: Vec<Field>,
    /// Whether all that the form asks is saved under this method.
    pub is_saved: bool,
    /// Whether saving it replaces what is saved under another method, or opts in again.
    pub replaces: bool,
    /// Saved values that are not secret, by field.
    pub values: BTreeMap<String, String>,
    /// When each saved field was last given, RFC 3339, by field.
    pub saved_at: BTreeMap<String, String>,
}

/// The form of a connector.
///
/// # Errors
/// `not_found` for another connector than the session's, `connector_not_found`, `connector_disabled`,
/// `connector_not_allowed`, `action_not_allowed`, `store_unavailable`.
pub async fn form(engine: &Engine, session: &Session, connector: &str) -> Result<ConnectForm, Error> {
    let loaded = doing::usable_in(engine, session, connector).await?;
    let connector = &loaded.connector;
    let asked = session.asked(connector.id.as_str());
    let subject = Subject::find(engine, &session.caller(), &session.tenant, asked).await?;
    let stored = StoredConnection::load(&engine.resources.records, &subject.key, connector).await?;
    let left_out = subject.left_out(engine).await?;
    let own = method(connector, DEFAULT_METHOD, &left_out, &stored);
    let further = connector.methods.iter().map(|one| FormMethod {
        label: one.label.clone(),
        recommended: one.recommended,
        ..method(&one.connector, &one.id, &left_out, &stored)
    });
    Ok(ConnectForm {
        connector_id: connector.id.clone(),
        connection: session.connection().cloned(),
        display_name: connector.display_name.clone(),
        description: connector.description.clone(),
        docs_url: connector.docs_url.clone(),
        state: stored.state(connector),
        methods: std::iter::once(own).chain(further).collect(),
        has_test: connector.test.is_some(),
    })
}

/// A method, by the connector that it makes.
fn method(connector: &Connector, id: &str, left_out: &LeftOut, stored: &StoredConnection) -> FormMethod {
    let unasked = left_out.get(id).map(Vec::as_slice).unwrap_or_default();
    let mut fields: Vec<Field> = asked_fields(connector, unasked).into_owned();
    fields.retain(|field| !field.is_filled_by_itself());
    // Why a stable sort: fields without an order keep theirs.
    fields.sort_by_key(|field| field.order.unwrap_or_default());
    let setting = stored.setting.as_ref().map(|setting| &setting.value);
    let is_chosen = setting.is_some_and(|value| value.auth_method.as_deref().unwrap_or(DEFAULT_METHOD) == id);
    let credential = stored.credential.as_ref().filter(|_| is_chosen);
    let is_saved = credential.is_some()
        && setting.is_some_and(|value| value.enabled)
        && stored.missing_fields(connector).next().is_none();
    let plain = |name: &String| fields.iter().any(|field| field.name == *name && !field.secret);
    let values = credential.iter().flat_map(|saved| &saved.config).filter(|(name, _)| plain(name));
    let values = values.filter_map(|(name, value)| Some((name.clone(), Value::as_str(value)?.to_owned())));
    let saved_at = credential.iter().flat_map(|saved| &saved.fields);
    FormMethod {
        id: id.to_owned(),
        label: None,
        recommended: false,
        consent: connector.asks_for_consent(),
        values: values.collect(),
        saved_at: saved_at.map(|(name, state)| (name.clone(), state.updated_at.clone())).collect(),
        fields,
        is_saved,
        replaces: setting.is_some() && !is_saved,
    }
}
