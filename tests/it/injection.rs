//! Values from events in every position of a request: each stays in its place, byte for byte as the table says, or the
//! call is refused and nothing is sent. Through a mapping, the guest, the guard and TLS; what arrived is compared whole.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use crate::support::{PUBLIC, Tenant, World};

const ID: &str = "places";

/// A value, and how it stands where something is escaped.
struct Row {
    value: String,
    /// In a URL or a form.
    percent: String,
    /// Inside a JSON text.
    json: String,
    /// In XML; `None` where XML cannot write it.
    xml: Option<String>,
    /// Whether it can stand in a header.
    in_header: bool,
    /// Why it cannot be a path segment, if it cannot.
    in_path: Option<Code>,
    /// Whether a URL with it is longer than any may be.
    too_long_for_url: bool,
}

/// Values that differ from their escaped forms as given: percent, JSON, XML.
fn row(value: &str, percent: &str, json: &str, xml: &str) -> Row {
    Row {
        value: value.to_owned(),
        percent: percent.to_owned(),
        json: json.to_owned(),
        xml: Some(xml.to_owned()),
        in_header: true,
        in_path: None,
        too_long_for_url: false,
    }
}

/// The same for values that only a URL has to escape.
fn url(value: &str, percent: &str) -> Row {
    row(value, percent, value, value)
}

fn rows() -> Vec<Row> {
    let long = "x".repeat(10 * 1024);
    vec![
        url("plain", "plain"),
        Row { in_path: Some(Code::UrlInvalid), ..url("../", "..%2F") },
        Row { in_path: Some(Code::UrlInvalid), ..url("..\\a", "..%5Ca").in_json("..\\\\a") },
        Row { in_path: Some(Code::InputInvalid), ..url("..", "..") },
        Row { in_path: Some(Code::InputInvalid), ..url(".", ".") },
        url("..;", "..%3B"),
        url("%2e%2e", "%252e%252e"),
        url("%2e%2e%2fadmin", "%252e%252e%252fadmin"),
        url("a/b", "a%2Fb"),
        url("//evil.example", "%2F%2Fevil.example"),
        url("a?b", "a%3Fb"),
        url("a#b", "a%23b"),
        row("&admin=1", "%26admin%3D1", "&admin=1", "&amp;admin=1"),
        url("=", "%3D"),
        url("a b+c", "a%20b%2Bc"),
        url("@evil.example:1", "%40evil.example%3A1"),
        Row {
            in_header: false,
            ..row("a\r\nX-Evil: 1", "a%0D%0AX-Evil%3A%201", "a\\r\\nX-Evil: 1", "a&#13;\nX-Evil: 1")
        },
        Row { in_header: false, ..row("a\nb", "a%0Ab", "a\\nb", "a\nb") },
        Row { in_header: false, xml: None, ..row("a\0b", "a%00b", "a\\u0000b", "") },
        row("\"'`\\", "%22%27%60%5C", "\\\"'`\\\\", "&quot;&apos;`\\"),
        row("<b>]]>", "%3Cb%3E%5D%5D%3E", "<b>]]>", "&lt;b&gt;]]&gt;"),
        url("{{config.secret}}", "%7B%7Bconfig.secret%7D%7D"),
        url("}}{{source.v", "%7D%7D%7B%7Bsource.v"),
        url("${jndi:x}", "%24%7Bjndi%3Ax%7D"),
        url("\u{202e}live", "%E2%80%AElive"),
        url("\u{1F600}", "%F0%9F%98%80"),
        url("e\u{301}", "e%CC%81"),
        url("\u{feff}a", "%EF%BB%BFa"),
        Row { in_path: Some(Code::UrlInvalid), too_long_for_url: true, ..url(&long, &long) },
    ]
}

impl Row {
    fn in_json(self, json: &str) -> Self {
        Self { json: json.to_owned(), ..self }
    }
}

/// What has to arrive.
enum Expected {
    /// Method and target, and the body.
    Request(String, String),
    /// The same, with the value of the header `x-v`.
    Header(String, String),
    Refused(Code),
}

/// A position: its action, whether the value is the name of a member, and what a value becomes there.
struct Position {
    action: Value,
    is_name: bool,
    expected: fn(&Row) -> Expected,
}

fn position(id: &str, more: Value, expected: fn(&Row) -> Expected) -> Position {
    let mut action = json!({
        "action_id": id, "http_method": "POST",
        "url_template": format!("https://api.salesforce.com/v1/{id}"),
        "body_schema": [{ "name": "v", "required": true }],
    });
    crate::support::lay(&mut action, &more);
    Position { action, is_name: false, expected }
}

/// The same for the name of a member.
fn name(id: &str, more: Value, expected: fn(&Row) -> Expected) -> Position {
    let mut position = position(id, more, expected);
    position.action["body_schema"][0]["type"] = json!("object");
    Position { is_name: true, ..position }
}

/// A request without a body, whose URL ends so.
fn get(row: &Row, target: String) -> Expected {
    if row.too_long_for_url {
        return Expected::Refused(Code::UrlInvalid);
    }
    Expected::Request(format!("GET {target}"), String::new())
}

fn post(id: &str, body: String) -> Expected {
    Expected::Request(format!("POST /v1/{id}"), body)
}

/// The positions of a URL and of headers.
fn in_head() -> Vec<Position> {
    let url = |tail: &str| json!({ "http_method": "GET", "url_template": format!("https://api.salesforce.com/v1/{tail}") });
    let mut host = url("");
    host["url_template"] = json!("https://{{input.v}}.salesforce.com/v1/host");
    let mut bracketed = url("query-name");
    bracketed["body_schema"] = json!([{ "name": "v", "required": true, "array_format": "brackets" }]);
    let mut header = url("header");
    header["body_schema"] = json!([{ "name": "v", "required": true, "in": "header", "as": "X-V" }]);
    let mut templated = url("header-template");
    templated["headers"] = json!({ "X-V": "v-{{input.v}}" });
    vec![
        position("host", host, |row| match row.value.as_str() {
            "plain" => get(row, "/v1/host".to_owned()),
            _ => Expected::Refused(Code::InputInvalid),
        }),
        position("path", url("path/{{input.v}}/end"), |row| match row.in_path {
            Some(code) => Expected::Refused(code),
            None => get(row, format!("/v1/path/{}/end", row.percent)),
        }),
        position("in-segment", url("in-segment/a-{{input.v}}-b"), |row| {
            // Why also `../`: with what is around it no segment is of dots alone.
            get(row, format!("/v1/in-segment/a-{}-b", row.percent))
        }),
        position("query", url("query"), |row| get(row, format!("/v1/query?v={}", row.percent))),
        position("query-template", url("query-template?q=p-{{input.v}}&z=1"), |row| {
            get(row, format!("/v1/query-template?q=p-{}&z=1", row.percent))
        }),
        name("query-name", bracketed, |row| get(row, format!("/v1/query-name?v[{}]=1", row.percent))),
        position("header", header, |row| in_header(row, "header", &row.value)),
        position("header-template", templated, |row| {
            in_header(row, "header-template", &format!("v-{}", row.value))
        }),
    ]
}

fn in_header(row: &Row, id: &str, value: &str) -> Expected {
    match row.in_header {
        true => Expected::Header(format!("GET /v1/{id}"), value.to_owned()),
        false => Expected::Refused(Code::InputInvalid),
    }
}

/// The positions of a body.
fn in_body() -> Vec<Position> {
    let body = |body: Value| json!({ "body": body });
    vec![
        position("json", json!({}), |row| post("json", format!("{{\"v\":\"{}\"}}", row.json))),
        position(
            "json-template",
            body(json!({ "type": "json", "template": { "note": "say {{input.v}}!" } })),
            |row| post("json-template", format!("{{\"note\":\"say {}!\"}}", row.json)),
        ),
        name("json-name", json!({}), |row| {
            post("json-name", format!("{{\"v\":{{\"{}\":\"1\"}}}}", row.json))
        }),
        position("form", body(json!({ "type": "form" })), |row| post("form", format!("v={}", row.percent))),
        name("form-name", body(json!({ "type": "form" })), |row| {
            post("form-name", format!("v[{}]=1", row.percent))
        }),
        position(
            "xml",
            body(json!({ "type": "xml", "template": "<to a=\"{{input.v}}\">{{input.v}}</to>" })),
            |row| match &row.xml {
                Some(xml) => post("xml", format!("<to a=\"{xml}\">{xml}</to>")),
                None => Expected::Refused(Code::InputInvalid),
            },
        ),
        position("text", body(json!({ "type": "text", "template": "line: {{input.v}}" })), |row| {
            post("text", format!("line: {}", row.value))
        }),
        position(
            "graphql",
            body(json!({ "type": "graphql", "query": "query($v: String!) { a(v: $v) }" })),
            |row| {
                let query = "query($v: String!) { a(v: $v) }";
                post("graphql", format!("{{\"query\":\"{query}\",\"variables\":{{\"v\":\"{}\"}}}}", row.json))
            },
        ),
    ]
}

/// A world with an action for each position, and an automation for each action.
async fn placed(positions: &[Position]) -> (World, Tenant, Vec<String>) {
    let actions: Vec<_> = positions.iter().map(|position| position.action.clone()).collect();
    let definition = json!({
        "connector_id": ID, "display_name": "Places", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true, "actions": actions,
    });
    let world = World::start().await;
    world.names.tell("plain.salesforce.com", &[PUBLIC]);
    world.platform.post("/admin/connector", &definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect(ID, json!({ "api_key": "sk-live-0123456789abcdef" })).await;
    let mut automations = Vec::new();
    for position in positions {
        let automation = json!({
            "entity_name": "order", "event_name": "created",
            "destination_config": {
                "connector_id": ID, "action_id": position.action["action_id"],
                "field_mapping": { "v": "{{source.deep.0.v}}" },
            },
        });
        let made = acme.org.post("/org/acme/automation", &automation).await.is(201);
        automations.push(made.json["automation_id"].as_str().unwrap().to_owned());
    }
    (world, acme, automations)
}

async fn check(world: &World, acme: &Tenant, automation: &str, position: &Position, row: &Row) {
    let what =
        format!("{}: {:?}", position.action["action_id"], row.value.chars().take(40).collect::<String>());
    let v = if position.is_name { json!({ row.value.as_str(): "1" }) } else { json!(row.value) };
    let before = world.upstream.received().len();
    let answer = acme.fire(automation, json!({ "deep": [{ "v": v }] })).await;
    let received = world.upstream.received();
    let expected = (position.expected)(row);
    if let Expected::Refused(code) = expected {
        assert_eq!(received.len(), before, "{what}: sent");
        assert_eq!(answer.json["code"], code.as_str(), "{what}: {}", answer.text);
        return;
    }
    assert_eq!(answer.json["status"], "succeeded", "{what}: {}", answer.text);
    assert_eq!(received.len(), before + 1, "{what}");
    let request = received.last().unwrap();
    let (line, body, header) = match &expected {
        Expected::Request(line, body) => (line, body.as_str(), None),
        Expected::Header(line, value) => (line, "", Some(value.as_str())),
        Expected::Refused(_) => return,
    };
    assert_eq!(request.line(), line, "{what}");
    assert_eq!(request.text(), body, "{what}");
    assert_eq!(request.header("x-v"), header.into_iter().collect::<Vec<_>>(), "{what}");
    assert!(request.header("x-evil").is_empty(), "{what}: {}", request.head);
    assert_eq!(request.header("host").len(), 1, "{what}: {}", request.head);
}

#[tokio::test]
async fn a_value_of_an_event_stays_in_its_place_in_every_position_of_a_request() {
    let positions: Vec<_> = in_head().into_iter().chain(in_body()).collect();
    let (world, acme, automations) = placed(&positions).await;
    let rows = rows();
    assert_eq!(rows[0].value, "plain", "the neighbour that must pass everywhere");
    for (position, automation) in positions.iter().zip(&automations) {
        assert!(!matches!((position.expected)(&rows[0]), Expected::Refused(_)));
        for row in &rows {
            check(&world, &acme, automation, position, row).await;
        }
    }
}

#[tokio::test]
async fn half_of_a_surrogate_pair_is_no_text_and_a_whole_one_is_its_character() {
    let positions = in_body();
    let (world, acme, automations) = placed(&positions[..1]).await;
    let path = format!("/run/acme/main/automation/{}", automations[0]);
    for half in ["\\ud83d", "\\ude00", "\\ude00\\ud83d", "a\\ud83db", "\\ud83d\\n"] {
        let body = format!("{{\"source\":{{\"deep\":[{{\"v\":\"{half}\"}}]}}}}");
        let answer = acme.run.write("POST", &path, body).await;
        assert_eq!(answer.status, 400, "{half}: {}", answer.text);
    }
    assert!(world.upstream.received().is_empty());
    let whole = "{\"source\":{\"deep\":[{\"v\":\"\\ud83d\\ude00\"}]}}";
    acme.run.write("POST", &path, whole).await.is(200);
    assert_eq!(world.upstream.received()[0].text(), "{\"v\":\"\u{1F600}\"}");
}

#[tokio::test]
async fn missing_values_types_and_lists_of_an_event_are_what_the_mapping_says_in_every_position() {
    let positions: Vec<_> = in_head().into_iter().chain(in_body()).collect();
    let (world, acme, automations) = placed(&positions).await;
    let at = |id: &str| positions.iter().position(|position| position.action["action_id"] == id).unwrap();
    for id in ["path", "query", "header", "json", "form", "xml", "text", "graphql"] {
        let automation = &automations[at(id)];
        for (source, what) in [
            (json!({}), "nothing there"),
            (json!({ "deep": [] }), "an empty list"),
            (json!({ "deep": { "0": 7 } }), "another shape"),
            (json!({ "deep": [{ "v": null }] }), "null"),
            (json!({ "deep": [{ "v": { "a": 1 } }] }), "an object for a text"),
            (json!({ "deep": [{ "v": ["a"] }] }), "a list for a text"),
        ] {
            let refused = acme.fire(automation, source).await.problem(Code::InputInvalid);
            assert!(refused.violations()[0].0.starts_with("/input/v"), "{id}, {what}: {}", refused.text);
        }
    }
    assert!(world.upstream.received().is_empty(), "nothing of it was sent");
}
