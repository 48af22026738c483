//! What an automation calls: connector, connection, action and mapping, read from its document without the rest.

use portcullis_core::id::ConnectionName;
use serde_json::{Map, Value};

use super::CONNECTION;
use crate::connection::checked_names;
use crate::error::Error;

/// The destination in a stored automation, read without the rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub(crate) connector_id: &'a str,
    /// As it is written.
    connection: Option<&'a str>,
    pub(crate) action_id: &'a str,
    /// Input name to template.
    pub(crate) field_mapping: Option<&'a Map<String, Value>>,
}

impl<'a> Destination<'a> {
    /// The name of the connection; none for the default one.
    ///
    /// # Errors
    /// `validation_failed` for a text that is no name: another connection must not stand for it.
    pub(crate) fn connection(&self) -> Result<Option<ConnectionName>, Error> {
        checked_names(self.connection, CONNECTION)
    }

    /// The destination in an automation's document; empty if the document has none.
    pub(crate) fn of(document: &'a Value) -> Self {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        Self {
            connector_id: text("/destination_config/connector_id"),
            connection: document.pointer(CONNECTION).and_then(Value::as_str),
            action_id: text("/destination_config/action_id"),
            field_mapping: document.pointer("/destination_config/field_mapping").and_then(Value::as_object),
        }
    }
}
