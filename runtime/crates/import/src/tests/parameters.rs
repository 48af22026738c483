//! Parameters, rule by rule.

use super::*;

fn with(path: &str, parameters: Value) -> (Value, Vec<&'static str>) {
    let document = document(&json!({ path: { "get": { "parameters": parameters } } }));
    let imported = run(&document);
    check_pointers(&document, &imported);
    (imported.definition["actions"][0].clone(), codes(&imported))
}

fn query(style: Value, schema: Value) -> Value {
    let mut parameter = json!({ "name": "q", "in": "query", "schema": schema });
    parameter.as_object_mut().unwrap().extend(style.as_object().cloned().unwrap());
    json!([parameter])
}

#[test]
fn arrays_are_written_as_their_style_says() {
    let array = json!({ "type": "array", "items": { "type": "string" } });
    for (style, expected) in [
        (json!({}), "repeat"),
        (json!({ "explode": false }), "comma"),
        (json!({ "style": "form" }), "repeat"),
        (json!({ "style": "pipeDelimited" }), "pipe"),
        (json!({ "style": "deepObject" }), "brackets"),
    ] {
        let (action, codes) = with("/a", query(style.clone(), array.clone()));
        assert_eq!(action["body_schema"][0]["array_format"], expected, "{style}");
        assert_eq!(codes, ["nested_not_checked"]);
    }
    let (action, codes) = with("/a", query(json!({ "style": "spaceDelimited" }), array));
    assert_eq!((action["body_schema"].clone(), codes[0]), (json!([]), "parameter_style"));
}

#[test]
fn objects_go_to_the_query_in_brackets_only() {
    let object = json!({ "type": "object" });
    let (action, codes) = with("/a", query(json!({ "style": "deepObject" }), object.clone()));
    assert_eq!((action["body_schema"][0]["array_format"].clone(), codes), (json!("brackets"), vec![]));
    assert_eq!(with("/a", query(json!({}), object)).1, ["parameter_style"]);
    let content = json!([{ "name": "q", "in": "query", "content": { "application/json": {} } }]);
    assert_eq!(with("/a", content).1, ["parameter_style"]);
}

#[test]
fn swagger_collection_formats_are_known() {
    for (format, expected) in [
        (None, Some("comma")),
        (Some("csv"), Some("comma")),
        (Some("multi"), Some("repeat")),
        (Some("pipes"), Some("pipe")),
        (Some("ssv"), None),
        (Some("tsv"), None),
    ] {
        let mut parameter =
            json!({ "name": "q", "in": "query", "type": "array", "items": { "type": "string" } });
        if let Some(format) = format {
            parameter["collectionFormat"] = json!(format);
        }
        let (action, _) = action(&swagger(&json!({ "/a": { "get": { "parameters": [parameter] } } })));
        assert_eq!(action["body_schema"][0]["array_format"].as_str(), expected, "{format:?}");
    }
}

#[test]
fn path_parameters_stand_in_the_url() {
    let parameters = json!([
        { "name": "a|b", "in": "path", "required": true, "schema": { "type": "string" } },
        { "name": "m", "in": "path", "required": true, "style": "matrix", "schema": { "type": "integer" } },
        { "name": "gone", "in": "path", "required": true, "schema": { "type": "string" } },
        { "name": "list", "in": "path", "required": true, "schema": { "type": "array" } },
    ]);
    let (action, codes) = with("/x/{a|b}.json/{m}/{list}/{new}", parameters);
    let url = "https://api.example.com/v1/x/{{input.a_b}}.json/;m={{input.m}}/{{input.list}}/{{input.new}}";
    assert_eq!(action["url_template"], url);
    let types: Vec<_> = action["body_schema"].as_array().unwrap().iter().map(|i| i["type"].clone()).collect();
    assert_eq!(types, ["string", "integer", "string", "string"]);
    let expected =
        ["input_renamed", "path_parameter_unused", "parameter_as_text", "path_parameter_undeclared"];
    assert_eq!(codes, expected);
}

#[test]
fn headers_of_the_host_are_no_inputs_and_others_are() {
    for name in ["Host", "content-length", "Accept", "Content-Type", "User-Agent", "Connection"] {
        let (action, codes) = with("/a", json!([{ "name": name, "in": "header", "schema": {} }]));
        assert_eq!((action["body_schema"].clone(), codes), (json!([]), vec!["header_owned"]), "{name}");
    }
    for name in
        ["Accept-Encoding", "Transfer-Encoding", "Cookie", "Proxy-X", "Sec-X", "X-Forwarded-For", "a b"]
    {
        let (_, codes) = with("/a", json!([{ "name": name, "in": "header", "schema": {} }]));
        assert_eq!(codes, ["header_owned"], "{name}");
    }
    let schema = json!({ "type": "string" });
    let (action, codes) = with("/a", json!([{ "name": "X-Version", "in": "header", "schema": schema }]));
    assert_eq!((action["body_schema"][0]["in"].clone(), codes), (json!("header"), vec![]));
}

#[test]
fn cookies_are_not_sent() {
    let (action, codes) = with("/a", json!([{ "name": "s", "in": "cookie", "schema": {} }]));
    assert_eq!((action["body_schema"].clone(), codes), (json!([]), vec!["cookie_parameter"]));
    let required = json!([{ "name": "s", "in": "cookie", "required": true, "schema": {} }]);
    assert_eq!(left_out(&json!({ "parameters": required })), ["cookie_parameter"]);
}

#[test]
fn an_operations_parameter_wins_over_its_paths() {
    let document = document(&json!({ "/a": {
        "parameters": [
            { "name": "q", "in": "query", "schema": { "type": "string" } },
            { "$ref": "#/components/parameters/P" },
        ],
        "get": { "parameters": [
            { "name": "q", "in": "query", "required": true, "schema": { "type": "integer" } },
        ] },
    } }));
    let mut document = document;
    document["components"] = json!({ "parameters": { "P": { "name": "p", "in": "query", "schema": {} } } });
    let (action, _) = action(&document);
    assert_eq!(
        action["body_schema"],
        json!([
            { "name": "q", "label": "q", "type": "integer", "required": true, "in": "query" },
            { "name": "p", "label": "p", "type": "any", "in": "query" },
        ])
    );
}

/// Codes of an import whose one other operation is left out.
fn left_out(operation: &Value) -> Vec<&'static str> {
    let document = document(&json!({ "/a": { "get": operation }, "/b": { "get": {} } }));
    let imported = run(&document);
    check_pointers(&document, &imported);
    assert_eq!(imported.report.operations.left_out, 1, "{operation}");
    codes(&imported)
}

#[test]
fn an_operation_that_cannot_be_called_is_left_out() {
    let parameter = |change: Value| {
        let mut parameter = json!({ "name": "p", "in": "query", "required": true, "schema": {} });
        parameter.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
        json!({ "parameters": [parameter] })
    };
    for (operation, code) in [
        (parameter(json!({ "schema": { "type": "object" } })), "parameter_style"),
        (parameter(json!({ "in": "header", "name": "Range" })), "header_owned"),
        (parameter(json!({ "in": "matrix" })), "parameter_not_read"),
        (parameter(json!({ "name": "x".repeat(201) })), "name_not_usable"),
    ] {
        let codes = left_out(&operation);
        assert_eq!(codes.last(), Some(&code), "{operation}");
    }
    let list = parameter(json!({ "style": "spaceDelimited", "schema": { "type": "array" } }));
    let (action, codes) = with("/a", list["parameters"].clone());
    assert_eq!((&action["body_schema"][0]["type"], codes), (&json!("string"), vec!["parameter_as_text"]));
    let content = json!({ "application/json": { "schema": { "type": "object" } } });
    let (action, _) = with("/a", parameter(json!({ "content": content }))["parameters"].clone());
    assert_eq!(action["body_schema"][0]["array_format"], "json");
}

#[test]
fn a_pair_of_the_path_is_no_second_input() {
    let parameters = json!([
        { "name": "view", "in": "query", "required": true, "schema": { "type": "string" } },
        { "name": "q", "in": "query", "schema": { "type": "string" } },
    ]);
    let (action, codes) = with("/a?view=all&q={q}", parameters);
    assert_eq!(action["url_template"], "https://api.example.com/v1/a?view=all&q={{input.q}}");
    let names: Vec<_> = action["body_schema"].as_array().unwrap().iter().map(|i| i["name"].clone()).collect();
    assert_eq!((names, codes), (vec![json!("q")], vec!["query_pair_fixed"]));
}

#[test]
fn inputs_over_the_limit_are_cut_the_needed_ones_last() {
    let parameters: Vec<Value> = (0..5)
        .map(|i| json!({ "name": format!("p{i}"), "in": "query", "required": i == 4, "schema": {} }))
        .collect();
    let document =
        document(&json!({ "/a/{id}": { "get": { "parameters": parameters } }, "/b": { "get": {} } }));
    let with = |inputs_max: usize| {
        import(&document, &ImportOptions { inputs_max, ..ImportOptions::default() }).unwrap()
    };
    let imported = with(3);
    let names: Vec<_> = imported.definition["actions"][0]["body_schema"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["name"].clone())
        .collect();
    assert_eq!(names, ["id", "p0", "p4"]);
    assert!(codes(&imported).contains(&"inputs_cut"));
    assert_eq!(codes(&with(0)), ["inputs_over_limit"]);
    assert_eq!(codes(&with(6)), ["path_parameter_undeclared"]);
}

#[test]
fn what_a_parameter_says_beyond_an_input_is_told() {
    let reserved = json!({ "allowReserved": true });
    assert_eq!(with("/a", query(reserved, json!({ "type": "string" }))).1, ["allow_reserved_not_carried"]);
    assert_eq!(with("/a", json!([{ "name": "q", "in": "matrix" }])).1, ["parameter_not_read"]);
    let many: Vec<Value> =
        (0..1001).map(|i| json!({ "name": format!("p{i}"), "in": "cookie", "schema": {} })).collect();
    let (_, codes) = with("/a", json!(many));
    assert_eq!(codes.iter().filter(|code| **code == "parameters_cut").count(), 1);
}
