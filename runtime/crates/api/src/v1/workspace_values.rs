//! `/workspace/{org}/{ws}/settings/values`: values of a workspace for mappings and conditions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use portcullis_engine::Error;
use portcullis_engine::workspace_values::{self, WorkspaceValuesRecord};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::answer::Json;
use crate::request::{Context, NoParameters, Typed};

/// A text, a number or a boolean.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum PlainValue {
    Text(String),
    Number(Number),
    Flag(bool),
}

impl JsonSchema for PlainValue {
    fn schema_name() -> Cow<'static, str> {
        "PlainValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "A text, a number or a boolean",
        })
    }
}

impl From<PlainValue> for Value {
    fn from(value: PlainValue) -> Self {
        match value {
            PlainValue::Text(text) => Self::String(text),
            PlainValue::Number(number) => Self::Number(number),
            PlainValue::Flag(flag) => Self::Bool(flag),
        }
    }
}

impl PlainValue {
    /// A stored value; nothing else is ever stored.
    fn of(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text)),
            Value::Number(number) => Some(Self::Number(number)),
            Value::Bool(flag) => Some(Self::Flag(flag)),
            _ => None,
        }
    }
}

/// Values of a workspace to set: all of them. One that is not named is gone.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetWorkspaceValues {
    /// By name. Not secret: they are shown, and sent where a mapping puts them.
    values: BTreeMap<String, PlainValue>,
}

/// Values of a workspace, which mappings and conditions use as `{{workspace.values.<name>}}`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WorkspaceValues {
    /// By name.
    values: BTreeMap<String, PlainValue>,
    /// When they were last set, RFC 3339; absent if they never were.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

impl WorkspaceValues {
    fn of(record: Option<WorkspaceValuesRecord>) -> Json<Self> {
        let updated_at = record.as_ref().map(|record| record.updated_at.clone());
        let values = record.map(|record| record.values).unwrap_or_default().into_iter();
        let values = values.filter_map(|(name, value)| Some((name, PlainValue::of(value)?)));
        Json(Self { values: values.collect(), updated_at })
    }
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Json<WorkspaceValues>, Error> {
    let tenant = context.tenant().await?;
    let record = workspace_values::show(context.engine(), context.caller()?, &tenant).await?;
    Ok(WorkspaceValues::of(record))
}

pub(crate) async fn replace(
    context: Context,
    _: NoParameters,
    Typed(SetWorkspaceValues { values }): Typed<SetWorkspaceValues>,
) -> Result<Json<WorkspaceValues>, Error> {
    let tenant = context.tenant().await?;
    let values: Map<String, Value> = values.into_iter().map(|(name, value)| (name, value.into())).collect();
    let record = workspace_values::replace(context.engine(), context.caller()?, &tenant, values).await?;
    Ok(WorkspaceValues::of(Some(record)))
}
