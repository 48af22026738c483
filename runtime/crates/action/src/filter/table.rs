//! The filter that looks a value up in a table.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Filter, Filtered, unfit};
use crate::budget::Budget;
use crate::scalar::scalar_cow;

/// The tables of a definition or an automation: by name, an object whose members are looked up.
pub type Tables = Map<String, Value>;

/// The tables that filters of a chain look into.
pub fn tables_of(filters: &[Filter]) -> impl Iterator<Item = &str> {
    filters.iter().filter_map(|filter| match filter {
        Filter::Lookup(table) => Some(table.as_str()),
        _ => None,
    })
}

/// What a table has for a value. Why no pass-through of what it does not have: a status that the vendor does not know
/// would be sent as if it did; a `default` says what is meant instead.
pub(super) fn lookup<'v>(table: &str, value: &Value, tables: &Tables, budget: &Budget) -> Filtered<'v> {
    let Some(key) = scalar_cow(value) else { return Err(unfit("lookup", value, "")) };
    budget.step(key.len() as u64)?;
    let entry = tables.get(table).and_then(|table| table.get(key.as_ref()));
    let Some(entry) = entry else {
        let but = if value.is_boolean() { "" } else { " that its table does not have" };
        return Err(unfit("lookup", value, but));
    };
    budget.copy(entry)?;
    Ok(Some(Cow::Owned(entry.clone())))
}
