//! The catalog: definitions that are part of the product; and the import of API descriptions.
//! Neither needs a definition written by hand.

use std::collections::HashSet;

use portcullis_connectors::CATALOG;
use portcullis_core::fault::Code;
use portcullis_core::offload;
use portcullis_import::import as import_description;
pub use portcullis_import::{ImportOptions, Imported, Report as ImportReport};
use serde_json::Value;

use crate::caller::Caller;
use crate::connectors::{self, Saved};
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};

/// An entry of the catalog.
#[derive(Debug, Clone, Default)]
pub struct CatalogEntry {
    pub connector_id: String,
    /// Name for people.
    pub display_name: String,
    /// Version of the definition.
    pub version: Option<String>,
    /// What the third party is.
    pub description: Option<String>,
    /// Categories of the third party's system.
    pub categories: Vec<String>,
    /// Link to its documentation.
    pub docs_url: Option<String>,
    /// Authentication types, each once, the default first.
    pub auth_types: Vec<String>,
    /// Ids of the further authentication methods, of which a workspace can choose one.
    pub auth_methods: Vec<String>,
    /// Ids of its actions.
    pub actions: Vec<String>,
    /// Hosts that requests may go to.
    pub allowed_domains: Vec<String>,
}

impl CatalogEntry {
    fn of(definition: &Value) -> Self {
        let text = |name: &str| definition.get(name).and_then(Value::as_str).map(str::to_owned);
        let texts = |list: Option<&Value>, member: Option<&str>| -> Vec<String> {
            let items = list.and_then(Value::as_array).into_iter().flatten();
            let items = items.filter_map(|item| member.map_or(Some(item), |member| item.get(member)));
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let mut auth_types: Vec<String> = text("auth_type").into_iter().collect();
        auth_types.extend(texts(definition.get("auth_methods"), Some("auth_type")));
        let mut seen = HashSet::new();
        auth_types.retain(|one| seen.insert(one.clone()));
        Self {
            connector_id: text("connector_id").unwrap_or_default(),
            display_name: text("display_name").unwrap_or_default(),
            version: text("version"),
            description: text("description"),
            categories: texts(definition.get("categories"), None),
            docs_url: text("docs_url"),
            auth_types,
            auth_methods: texts(definition.get("auth_methods"), Some("id")),
            actions: texts(definition.get("actions"), Some("action_id")),
            allowed_domains: texts(definition.get("allowed_domains"), None),
        }
    }
}

/// The definition with that id, as it would be uploaded.
#[must_use]
pub fn definition(id: &str) -> Option<Value> {
    let (_, text) = CATALOG.iter().find(|(own, _)| *own == id)?;
    serde_json::from_str(text).ok()
}

/// Every entry, ordered by id.
#[must_use]
pub fn entries() -> Vec<CatalogEntry> {
    let definitions = CATALOG.iter().filter_map(|(_, text)| serde_json::from_str(text).ok());
    definitions.map(|definition: Value| CatalogEntry::of(&definition)).collect()
}

/// A page of the catalog.
///
/// # Errors
/// `role_not_allowed`.
pub fn list(caller: &Caller, wanted: &PageRequest) -> Result<Page<CatalogEntry>, Error> {
    caller.platform()?;
    let after = wanted.after().unwrap_or_default();
    let rest = entries().into_iter().filter(|entry| entry.connector_id.as_str() > after);
    Ok(wanted.page(rest.take(wanted.wanted()).collect()))
}

/// One entry's definition.
///
/// # Errors
/// `role_not_allowed`, `not_found`.
pub fn show(caller: &Caller, id: &str) -> Result<Value, Error> {
    caller.platform()?;
    definition(id).ok_or_else(|| Error::new(Code::NotFound, "the catalog has no such connector"))
}

/// Creates the connector of an entry, as if its definition were uploaded.
///
/// # Errors
/// Those of [`show`] and of [`connectors::create`].
pub async fn install(engine: &Engine, caller: &Caller, id: &str) -> Result<Saved, Error> {
    connectors::create(engine, caller, show(caller, id)?, None).await
}

/// Makes a draft definition from an API description. Nothing is saved.
///
/// # Errors
/// `role_not_allowed`, `validation_failed` for a description that cannot be imported.
pub async fn import(caller: &Caller, document: Value, options: ImportOptions) -> Result<Imported, Error> {
    caller.platform()?;
    // Why: a whole description takes longer than an async task may compute.
    offload::to_worker().await;
    import_description(&document, &options)
        .map_err(|error| Error::violation("/document", "not_imported", error.to_string()))
}
