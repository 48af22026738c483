//! What a request costs: no more than its budget, whatever templates and values it has.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{object, plan};
use crate::budget::Budget;
use crate::render::{Values, render_request};

/// A template of a few variables with filters.
fn any_template() -> impl Strategy<Value = String> {
    let filter = prop::sample::select(vec![
        "",
        "|json",
        "|hex",
        "|urlencode|base64",
        "|replace:'a','aaaa'|replace:'a','aaaa'",
        "|upper",
        "|default:'d'",
    ]);
    let variable = (prop::sample::select(vec!["a", "b", "c"]), filter)
        .prop_map(|(name, filter)| format!("{{{{input.{name}{filter}}}}}"));
    prop::collection::vec(prop_oneof!["[a-z ]{0,20}", variable], 0..12).prop_map(|parts| parts.concat())
}

fn any_body() -> impl Strategy<Value = Value> {
    any_template().prop_flat_map(|text| {
        prop::sample::select(vec![
            json!({ "type": "json", "template": { "x": [text, "{{input.c}}", "{{input.b}}"] } }),
            json!({ "type": "text", "template": text }),
            json!({ "type": "xml", "template": text }),
            json!({ "type": "form", "template": { "x": text } }),
            json!({ "type": "multipart" }),
        ])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn s1_a_request_makes_no_more_than_its_budget(
        header in any_template(),
        query in any_template(),
        body in any_body(),
        texts in prop::collection::vec("[a<&%\"é]{0,300}", 2),
        list in prop::collection::vec("[a ]{0,9}", 0..60),
        bytes in 0_u64..30_000,
    ) {
        let input = object(json!({ "a": texts[0], "b": texts[1], "c": list, "d": list }));
        let named = |name: &str, place: &str| json!({ "name": name, "place": place });
        let wide = json!({ "name": "d", "place": "body", "wire": "w".repeat(100), "array_format": "repeat" });
        let plan = plan(json!({
            "headers": [["x-a", header]], "query": [["q", query]], "body": body,
            "inputs": [named("a", "path"), named("b", "path"), named("c", "query"), wide],
        }));
        let budget = Budget::rendering(bytes);
        let none = Map::new();
        let values =
            Values { input: (&input).into(), budget: Some(&budget), ..Values::config_only(&none) };
        let rendered = render_request(&plan, &values);
        prop_assert!(budget.made() <= bytes);
        let Ok(request) = rendered else { return Ok(()) };
        // What the plan and the input are passes without being paid for: they are there already.
        let given = plan_size(&plan) + Value::Object(input.clone()).to_string().len() * 6;
        let headers: usize = request.headers.iter().map(|(_, value)| value.len()).sum();
        let made = request.url.len() + headers + request.body.map_or(0, |body| body.len());
        prop_assert!(made as u64 <= bytes + given as u64 + 200, "{made} of {bytes}");
    }
}

fn plan_size(plan: &crate::ActionPlan) -> usize {
    serde_json::to_string(plan).unwrap().len()
}
