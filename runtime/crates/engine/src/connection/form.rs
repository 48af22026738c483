//! What is saved of a connection's form, as it may be shown: values that are not secret, and of secrets that they are
//! there and since when.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_action::template::scalar_text;
use portcullis_core::connector::{Connector, DEFAULT_METHOD};
use portcullis_core::fault::Code;
use portcullis_core::form::Field;

use super::state::StoredConnection;
use super::{AskedConnection, Subject, asked_fields};
use crate::cache::LoadedConnector;
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::tenants::Tenant;

/// What is saved of the form of the chosen authentication method.
#[derive(Debug, Clone, Default)]
pub struct Filled {
    /// The chosen method, `default` for the connector's own; `None` if nothing is saved.
    pub method: Option<String>,
    /// Values of fields that are not secret.
    pub values: BTreeMap<String, String>,
    /// When a field's value was last given, RFC 3339; also of secrets.
    pub updated_at: BTreeMap<String, String>,
}

impl Filled {
    pub(super) fn of(stored: &StoredConnection, connector: &Connector) -> Self {
        let Some(setting) = &stored.setting else { return Self::default() };
        let chosen = stored.chosen(connector);
        let mut filled = Self {
            method: Some(setting.value.auth_method.clone().unwrap_or_else(|| DEFAULT_METHOD.to_owned())),
            ..Self::default()
        };
        let saved = stored.credential.as_ref();
        for field in &chosen.fields {
            let given = saved.and_then(|saved| saved.fields.get(&field.name));
            if let Some(given) = given {
                filled.updated_at.insert(field.name.clone(), given.updated_at.clone());
            }
            let value = saved.and_then(|saved| saved.config.get(&field.name));
            let value = value.or_else(|| stored.discovered.config.get(&field.name));
            // Why by the definition of now: a field that has become a secret is not shown any more.
            if let Some(text) = value.filter(|_| !field.secret).and_then(scalar_text) {
                filled.values.insert(field.name.clone(), text);
            }
        }
        filled
    }
}

/// The form of an authentication method.
#[derive(Debug, Clone)]
pub struct MethodForm {
    /// What it is a form of.
    pub loaded: Arc<LoadedConnector>,
    /// Its fields, without those that a shared OAuth client has.
    pub fields: Vec<Field>,
}

/// The form of a method, `default` for the connector's own; a named connection need not exist yet.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `not_found` for a text that is no name, `bad_request` if it has
/// no such method.
pub async fn form<'a>(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    asked: impl Into<AskedConnection<'a>>,
    method: &str,
) -> Result<MethodForm, Error> {
    let subject = Subject::find(engine, caller, tenant, asked).await?;
    let connector = &subject.loaded.connector;
    if method != DEFAULT_METHOD && !connector.has_method(method) {
        let ids = connector.methods.iter().map(|method| method.id.as_str());
        let known: Vec<&str> = std::iter::once(DEFAULT_METHOD).chain(ids).collect();
        let detail = format!("method: must be one of {}", known.join(", "));
        return Err(Error::new(Code::BadRequest, detail));
    }
    let method = (method != DEFAULT_METHOD).then_some(method);
    let left_out = subject.left_out_under(engine, method).await?;
    let fields = asked_fields(connector.under(method), &left_out).into_owned();
    Ok(MethodForm { fields, loaded: subject.loaded })
}
