//! `/admin/catalog` and `/admin/connector/import`: definitions that need not be written by hand.

use portcullis_engine::Error;
use portcullis_engine::catalog::{self, CatalogEntry, ImportOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::answer::{Json, List};
use crate::request::{Context, NoParameters, PageParameters, Typed};

/// An entry of the catalog.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CatalogEntry")]
pub(crate) struct Entry {
    connector_id: String,
    /// Name for people.
    display_name: String,
    /// Version of the definition.
    version: Option<String>,
    /// What the third party is.
    description: Option<String>,
    /// Categories of the third party's system.
    categories: Vec<String>,
    /// Link to its documentation.
    docs_url: Option<String>,
    /// Authentication types, each once, the default first.
    auth_types: Vec<String>,
    /// Ids of the further authentication methods, of which a workspace can choose one.
    auth_methods: Vec<String>,
    /// Ids of its actions.
    actions: Vec<String>,
    /// Hosts that requests may go to.
    allowed_domains: Vec<String>,
}

impl From<CatalogEntry> for Entry {
    fn from(entry: CatalogEntry) -> Self {
        Self {
            connector_id: entry.connector_id,
            display_name: entry.display_name,
            version: entry.version,
            description: entry.description,
            categories: entry.categories,
            docs_url: entry.docs_url,
            auth_types: entry.auth_types,
            auth_methods: entry.auth_methods,
            actions: entry.actions,
            allowed_domains: entry.allowed_domains,
        }
    }
}

/// A definition of the catalog.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct CatalogDefinition(Value);

impl JsonSchema for CatalogDefinition {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CatalogDefinition".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::Schema::new_ref("#/components/schemas/Definition".to_owned())
    }
}

/// An API description to import.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportRequest {
    /// OpenAPI 2.0, 3.0 or 3.1.
    document: Map<String, Value>,
    /// The connector's id; made from the title if left out.
    #[serde(default)]
    connector_id: Option<String>,
    /// Base URL of the API, if the description has none.
    #[serde(default)]
    base_url: Option<String>,
    /// Operations to import: operationIds or `METHOD /path`; `*` stands for any text. All if left out.
    // Why a maximum: each is compared with every operation.
    #[serde(default)]
    #[schemars(length(max = 500))]
    only: Option<Vec<String>>,
}

/// A draft definition, and what was not imported.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ImportResult {
    /// The draft: an open object, which may still break rules of definitions.
    definition: Map<String, Value>,
    /// What was left out or changed.
    #[schemars(with = "Map<String, Value>")]
    report: portcullis_engine::catalog::ImportReport,
}

pub(crate) async fn list(context: Context, page: PageParameters, (): ()) -> Result<Json<List<Entry>>, Error> {
    Ok(List::of(catalog::list(context.caller()?, &page.wanted())?, Entry::from))
}

pub(crate) async fn show(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Json<CatalogDefinition>, Error> {
    Ok(Json(CatalogDefinition(catalog::show(context.caller()?, context.path("id"))?)))
}

pub(crate) async fn import(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<ImportRequest>,
) -> Result<Json<ImportResult>, Error> {
    let ImportRequest { document, connector_id, base_url, only } = wish;
    let only = only.unwrap_or_default();
    let limits = context.engine().limits();
    let options = ImportOptions { connector_id, base_url, only, ..ImportOptions::within(limits) };
    let imported = catalog::import(context.caller()?, Value::Object(document), options).await?;
    let definition = match imported.definition {
        Value::Object(definition) => definition,
        _ => Map::new(),
    };
    Ok(Json(ImportResult { definition, report: imported.report }))
}
