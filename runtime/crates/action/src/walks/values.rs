//! Numbers, null and absence: digit for digit through every place, what is missing is left out and nothing else, and a
//! filter gives a value or says why not.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{End, document, follow, get, number_text, pair};
use crate::budget::Budget;
use crate::filter::{FILTER_LIST, Tables, Unfiltered, apply_filters, parse_filters};
use crate::json::Members;
use crate::mapping::Mapping;
use crate::render::render_request;
use crate::scalar::kind_of;
use crate::{ActionPlan, RenderedRequest, Values};

fn plan(of: Value) -> ActionPlan {
    serde_json::from_value(of).unwrap()
}

fn map_of(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A request rendered from an input, given as a map and as text: both must be the same.
fn render(plan: &ActionPlan, input: &Value) -> RenderedRequest {
    let (map, config) = (map_of(input), Map::new());
    let values = Values { tables: &plan.tables, ..Values::config_only(&config) };
    let by_map = render_request(plan, &Values { input: (&map).into(), ..values }).unwrap();
    let text = input.to_string();
    if let Some(members) = Members::read(&text) {
        let by_text = render_request(plan, &Values { input: (&members).into(), ..values }).unwrap();
        assert_eq!(by_map, by_text);
    }
    by_map
}

fn run(mapping: &Value, source: &Value) -> Map<String, Value> {
    Mapping::parse(&map_of(mapping)).unwrap().resolve(source, &Budget::rendering(1 << 20)).unwrap()
}

proptest! {
    #[test]
    fn digits_are_kept_in_every_place_of_a_request(text in number_text(), transform: bool) {
        let transform = if transform { json!("number") } else { Value::Null };
        let input = |name: &str, place: &str| json!({ "name": name, "place": place, "transform": transform });
        let all = plan(json!({
            "method": "POST", "url": "https://h.example/n/{{input.p}}/x{{input.t}}?u={{input.t}}",
            "query": [["s", "{{input.t}}"]], "headers": [["x-s", "v {{input.t}}"]],
            "inputs": [input("p", "path"), input("q", "query"), input("h", "header"), input("b", "body"),
                       { "name": "deep", "place": "body", "path": ["a", "0", "b"] }, input("t", "body")],
            "body": { "type": "json", "template": { "w": "{{input.t}}", "e": "n{{input.t}}" } },
        }));
        let n = number(&text);
        let request = render(&all, &json!({ "p": n, "q": n, "h": n, "b": n, "t": n, "deep": { "c": [n] } }));
        let path = super::percent_decoded(request.url.split('?').next().unwrap());
        prop_assert_eq!(path, format!("https://h.example/n/{text}/x{text}"));
        for name in ["u", "s", "q"] {
            prop_assert_eq!(pair(&request.url, name), Some(text.clone()));
        }
        let header = |name: &str| request.headers.iter().find(|(own, _)| own == name).unwrap().1.clone();
        prop_assert_eq!(header("x-s"), format!("v {text}"));
        prop_assert_eq!(header("h"), text.clone());
        let body = String::from_utf8(request.body.unwrap()).unwrap();
        let expected = format!(
            "{{\"w\":{text},\"e\":\"n{text}\",\"b\":{text},\"a\":[{{\"b\":{{\"c\":[{text}]}}}}],\"t\":{text}}}");
        prop_assert_eq!(body, expected);
    }

    #[test]
    fn digits_are_kept_in_every_other_body(text in number_text()) {
        let n = number(&text);
        for (body, expected) in [
            (json!({ "type": "form" }), format!("n={}", text.replace('+', "%2B"))),
            (json!({ "type": "xml", "template": "<n>{{input.n}}</n>" }), format!("<n>{text}</n>")),
            (json!({ "type": "text", "template": "n: {{input.n}}" }), format!("n: {text}")),
            (json!({ "type": "graphql", "query": "q" }), format!("{{\"query\":\"q\",\"variables\":{{\"n\":{text}}}}}")),
            (json!({ "type": "json", "root": "n" }), text.clone()),
            (json!({ "type": "json", "wrap": "w" }), format!("{{\"w\":{{\"n\":{text}}}}}")),
        ] {
            let inputs = if body["type"] == "xml" || body["type"] == "text" { json!([]) } else { json!([{ "name": "n", "place": "body" }]) };
            let plan = plan(json!({ "method": "POST", "url": "https://h.example/", "inputs": inputs, "body": body }));
            let sent = render(&plan, &json!({ "n": n })).body.unwrap();
            prop_assert_eq!(String::from_utf8(sent).unwrap(), expected);
        }
    }

    #[test]
    fn digits_are_kept_in_mappings_answers_cursors_and_tables(text in number_text()) {
        let n = number(&text);
        let mapped = run(
            &json!({ "a": "{{source.n}}", "b": { "c": ["{{source.l.*.n}}"] }, "t": "#{{source.n}}", "f": "{{source.s|number}}",
                     "j": "{{source.l|json}}", "i": "{{source.l.*.n|join:' '}}",
                     "e": { "each": "source.l", "as": "line", "value": { "n": "{{line.n}}" } } }),
            &json!({ "n": n, "s": format!(" {text} "), "l": [{ "n": n }] }),
        );
        let expected = format!(
            "{{\"a\":{text},\"b\":{{\"c\":[[{text}]]}},\"t\":\"#{text}\",\"f\":{text},\
             \"j\":\"[{{\\\"n\\\":{text}}}]\",\"i\":\"{text}\",\"e\":[{{\"n\":{text}}}]}}");
        prop_assert_eq!(Value::Object(mapped).to_string(), expected);

        let body = format!("{{\"data\":[{{\"id\":{text}}}],\"next\":{text}}}");
        let reply = |body: String| (200, super::labelled("application/json"), body.into_bytes());
        for (response, expected) in [
            (json!({}), body.clone()),
            (json!({ "root": "/next" }), text.clone()),
            (json!({ "map": [["n", "/data/0/id"]] }), format!("{{\"n\":{text}}}")),
        ] {
            let plan = plan(json!({ "response": response }));
            let (end, _) = follow(&plan, get("https://h.example/l"), |_| reply(body.clone()));
            let End::Output(output) = end else { panic!("{end:?}") };
            prop_assert_eq!(output.to_string(), expected);
        }
        let judge_plan = plan(json!({}));
        let as_it_is = crate::Judge::new(&judge_plan).unwrap();
        let direct = as_it_is.as_it_is(200, &super::labelled("application/json"), body.as_bytes()).map(Cow::into_owned);
        prop_assert!(direct.is_none() || direct == Some(body.clone()));

        for kind in [json!({ "type": "cursor", "cursor_path": "/next", "param": { "in": "query", "name": "c" } }),
                     json!({ "type": "last_id", "id_path": "/id", "param": { "in": "query", "name": "c" } })] {
            let list = plan(json!({ "pagination": { "kind": kind, "items": "/data", "max_pages": 10, "max_items": 100 } }));
            let (end, sent) = follow(&list, get("https://h.example/l"), |request| match pair(&request.url, "c") {
                None => reply(body.clone()),
                Some(_) => reply("{\"data\":[],\"next\":null}".to_owned()),
            });
            let End::Rows { rows, truncated: false } = end else { panic!("{end:?}") };
            prop_assert_eq!(json!(rows).to_string(), format!("[{{\"id\":{text}}}]"));
            prop_assert_eq!(pair(&sent[1].url, "c"), Some(text.clone()));
        }

        let tables: Tables = map_of(&json!({ "t": { text.as_str(): "hit" }, "back": { "hit": n } }));
        let chain = parse_filters("lookup:'t'|lookup:'back'").unwrap();
        let found = apply_filters(Some(Cow::Owned(n)), &chain, &tables, &Budget::unlimited()).unwrap().unwrap();
        prop_assert_eq!(found.to_string(), text);
    }
}

/// A mapping, and what must come of it for a source, by a model that is told which paths there are.
#[derive(Debug, Clone)]
enum Shape {
    Fixed(Value),
    /// `{{source.k<n>}}`
    Whole(usize),
    /// `{{source.k<n>|string|lower}}`: filters keep a null and an absence.
    Filtered(usize),
    /// `{{source.k<n>|default:'d'}}`
    Default(usize),
    List(Vec<Shape>),
    Object(Vec<(String, Shape)>),
    /// Left out unless the source has that flag.
    When(usize, Box<Shape>),
    /// For each of two entries: one has the member, the other has not.
    Each(Box<Shape>),
}

const KEYS: usize = 5;

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        document()
            .prop_filter("no leaf", |value| !value.is_object() && !value.is_array())
            .prop_filter("a template", |value| !value.to_string().contains(['{', '}']))
            .prop_map(Shape::Fixed),
        (0..KEYS).prop_map(Shape::Whole),
        (0..KEYS).prop_map(Shape::Whole),
        (0..KEYS).prop_map(Shape::Filtered),
        (0..KEYS).prop_map(Shape::Default),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Shape::List),
            prop::collection::btree_map("[m-q]{1,2}", inner.clone(), 0..4)
                .prop_map(|members| Shape::Object(members.into_iter().collect())),
            (0..KEYS, inner.clone()).prop_map(|(flag, inner)| Shape::When(flag, Box::new(inner))),
            inner.prop_map(|inner| Shape::Each(Box::new(inner))),
        ]
    })
}

impl Shape {
    fn written(&self, depth: usize) -> Value {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Whole(key) => json!(format!("{{{{source.k{key}}}}}")),
            Self::Filtered(key) => json!(format!("{{{{source.k{key}|string|lower}}}}")),
            Self::Default(key) => json!(format!("{{{{source.k{key}|default:'d'}}}}")),
            Self::List(items) => items.iter().map(|item| item.written(depth)).collect(),
            Self::Object(members) => members
                .iter()
                .map(|(name, item)| (name.clone(), item.written(depth)))
                .collect::<Map<_, _>>()
                .into(),
            Self::When(flag, inner) => {
                let condition = json!({ "path": format!("/k{flag}"), "exists": true });
                json!({ "when": condition, "value": inner.written(depth) })
            }
            Self::Each(inner) => {
                let entry = format!("e{depth}");
                let value = json!([inner.written(depth + 1), format!("{{{{{entry}.id}}}}")]);
                json!({ "each": "source.lines", "as": entry, "value": value })
            }
        }
    }

    fn expected(&self, source: &Map<String, Value>) -> Option<Value> {
        let of = |key: &usize| source.get(&format!("k{key}")).cloned();
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Whole(key) => of(key),
            Self::Filtered(key) => of(key).map(|value| match value {
                Value::Null => Value::Null,
                Value::String(text) => json!(text.to_lowercase()),
                other => json!(other.to_string().to_lowercase()),
            }),
            Self::Default(key) => of(key).filter(|value| !value.is_null()).or_else(|| Some(json!("d"))),
            Self::List(items) => Some(items.iter().filter_map(|item| item.expected(source)).collect()),
            Self::Object(members) => {
                let members =
                    members.iter().filter_map(|(name, item)| Some((name.clone(), item.expected(source)?)));
                Some(members.collect::<Map<_, _>>().into())
            }
            Self::When(flag, inner) => {
                of(flag).filter(|value| !value.is_null()).and_then(|_| inner.expected(source))
            }
            Self::Each(inner) => {
                let entry =
                    |id: Option<Value>| inner.expected(source).into_iter().chain(id).collect::<Value>();
                Some(json!([entry(Some(json!(1))), entry(None), entry(Some(Value::Null))]))
            }
        }
    }
}

/// How many nulls a value has.
fn nulls(value: &Value) -> usize {
    match value {
        Value::Null => 1,
        Value::Array(items) => items.iter().map(nulls).sum(),
        Value::Object(members) => members.values().map(nulls).sum(),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn what_is_missing_is_left_out_and_nothing_else(
        shapes in prop::collection::vec(shape(), 1..5),
        given in prop::collection::vec(prop::option::of(document()), KEYS),
    ) {
        let mut source: Map<String, Value> = given
            .iter()
            .enumerate()
            .filter_map(|(key, value)| Some((format!("k{key}"), value.clone()?)))
            .collect();
        source.insert("lines".to_owned(), json!([{ "id": 1 }, {}, { "id": null }]));
        let named = |value: &dyn Fn(&Shape) -> Option<Value>| -> Map<String, Value> {
            shapes.iter().enumerate().filter_map(|(i, shape)| Some((format!("i{i}"), value(shape)?))).collect()
        };
        let mapping = Value::Object(named(&|shape| Some(shape.written(0))));
        let made = run(&mapping, &Value::Object(source.clone()));
        prop_assert_eq!(&made, &named(&|shape| shape.expected(&source)));
        // With no null said there is none.
        let silent: Map<String, Value> = source.iter().filter(|(_, value)| nulls(value) == 0).map(|(name, value)| (name.clone(), value.clone())).collect();
        let fixed = nulls(&mapping);
        if fixed == 0 {
            prop_assert_eq!(nulls(&Value::Object(run(&mapping, &Value::Object(silent)))), 0);
        }
    }

    /// An input in a template of the body: absent, null and with a value, nullable or not.
    #[test]
    fn a_null_is_sent_where_it_may_be_and_only_if_it_was_given(
        given in prop::option::of(document()), nullable: bool, never: bool, chain in prop::option::of(prop::sample::select(vec!["trim", "number|default:'0'", "string"])),
    ) {
        let transforms = chain.is_some();
        let default = chain.is_some_and(|chain| chain.contains("default"));
        let omit_if = if never { "never" } else { "null" };
        let own = |name: &str, place: &str| json!({ "name": name, "place": place, "nullable": nullable, "omit_if": omit_if,
            "transform": chain });
        let plan = plan(json!({ "method": "POST", "url": "https://h.example/", "inputs": [own("n", "body")],
            "body": { "type": "json", "template": { "in": { "t": ["{{input.n}}"], "m": "{{input.n}}" } } } }));
        let mut input = Map::new();
        if let Some(given) = &given {
            input.insert("n".to_owned(), given.clone());
        }
        let request = render(&plan, &Value::Object(input));
        let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
        match &given {
            _ if default && given.as_ref().is_none_or(Value::is_null) => {
                prop_assert_eq!(body, json!({ "in": { "t": ["0"], "m": "0" }, "n": "0" }));
            }
            None => prop_assert_eq!(body, json!({ "in": { "t": [] } })),
            Some(Value::Null) if nullable || never => {
                prop_assert_eq!(body, json!({ "in": { "t": [null], "m": null }, "n": null }));
            }
            Some(Value::Null) => prop_assert_eq!(body, json!({ "in": { "t": [] } })),
            Some(value) if !transforms => prop_assert_eq!(body, json!({ "in": { "t": [value], "m": value }, "n": value })),
            Some(_) => {
                prop_assert!(!body["n"].is_null());
                prop_assert_eq!(&body["n"], &body["in"]["m"]);
                prop_assert_eq!(&body["n"], &body["in"]["t"][0]);
            }
        }
    }
}

/// Every filter, with arguments that are as good as any.
fn filter() -> impl Strategy<Value = String> {
    let list = FILTER_LIST
        .replace("datetime:'…'", "datetime:'Europe/Berlin'")
        .replace("date:'…'", "date:'%F'")
        .replace("lookup:'…'", "lookup:'status'")
        .replace('…', "a");
    let names: Vec<String> = list.split(", ").map(|name| name.trim().to_owned()).collect();
    assert_eq!(names.len(), 26);
    prop::sample::select(names)
}

fn tables() -> Tables {
    map_of(&json!({ "status": { "open": "1", "5": true, "-0": null } }))
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => document(),
        1 => prop::sample::select(vec!["open", "5", "2026-03-10T14:30:00", "2026-03-10", "1773099000", "yes", "-1.5", " ", "a-a"]).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_gives_a_value_or_says_why_not(filter in filter(), given in any_value()) {
        let name = filter.split(':').next().unwrap().to_owned();
        let chain = parse_filters(&filter).unwrap();
        let made = apply_filters(Some(Cow::Borrowed(&given)), &chain, &tables(), &Budget::unlimited());
        match made {
            Ok(Some(_)) => {}
            // The one filter that says by an absence that a text has no such part.
            Ok(None) => prop_assert!(name == "after_last" && given.is_string(), "{} of {} is lost", name, given),
            Err(Unfiltered::Unfit { filter, found }) => {
                prop_assert_eq!(filter, name.as_str());
                prop_assert!(found.starts_with(kind_of(&given)), "{}", found);
                let Value::String(text) = &given else { return Ok(()) };
                prop_assert!(text.chars().count() < 24 || !found.contains(text.as_str()), "it quotes the value");
            }
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    /// In a mapping the error names the place, too; nothing is left out.
    #[test]
    fn a_mapping_whose_filter_cannot_read_its_value_fails_with_the_place(filter in filter(), given in any_value(), depth in 0_usize..3) {
        let leaf = json!(format!("{{{{source.x.0|{filter}}}}}"));
        let value = (0..depth).fold(leaf, |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "m": inner }) });
        let mapping = Mapping::compiled(&map_of(&json!({ "in": value })), tables(), &mut crate::predicate::Predicate::parse).unwrap();
        let source = json!({ "x": [given] });
        match mapping.resolve(&source, &Budget::rendering(1 << 20)) {
            Ok(made) => {
                let mut found = made.get("in");
                for level in (0..depth).rev() {
                    found = found.and_then(|outer| if level % 2 == 0 { outer.get(0) } else { outer.get("m") });
                }
                let lost = found.is_none() && !(filter.starts_with("after_last") && given.is_string());
                prop_assert!(!lost, "{} of {} is lost", filter, given);
            }
            Err(error) => {
                prop_assert_eq!(error.input.as_str(), "in");
                let name = filter.split(':').next().unwrap();
                let text = error.to_string();
                prop_assert!(text.contains(&format!("source.x.0 cannot be read by the filter {name}: it is {}", kind_of(&given))), "{}", text);
            }
        }
    }
}
