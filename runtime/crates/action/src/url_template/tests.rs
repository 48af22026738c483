//! Values never move a boundary of a URL, and templates in which they could are refused.

use serde_json::{Map, Value, json};

use super::*;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn render(template: &str, input: Value) -> Result<String, RenderError> {
    let input = object(input);
    let config = object(json!({ "shop": "acme" }));
    let values = Values { input: (&input).into(), ..Values::config_only(&config) };
    UrlTemplate::parse(template).unwrap().render(&values)
}

#[test]
fn values_are_escaped_by_position() {
    let url = render(
        "https://{{config.shop}}.example.com/v1/{{input.id}}/x?q={{input.q}}&fixed=1",
        json!({ "id": "a/b ?#%", "q": "a&b=c d" }),
    );
    assert_eq!(url.unwrap(), "https://acme.example.com/v1/a%2Fb%20%3F%23%25/x?q=a%26b%3Dc%20d&fixed=1");
}

#[test]
fn a_substituted_template_is_not_scanned_again() {
    let url = render("https://a.example.com/{{input.id}}", json!({ "id": "{{config.shop}}" }));
    assert_eq!(url.unwrap(), "https://a.example.com/%7B%7Bconfig.shop%7D%7D");
}

#[test]
fn a_host_value_cannot_leave_its_label() {
    let template = "https://{{input.h}}.example.com/";
    assert_eq!(render(template, json!({ "h": "API-1" })).unwrap(), "https://api-1.example.com/");
    for bad in [
        "",
        "evil.com/",
        "a.b",
        "evil.com#",
        "evil.com?",
        "u@evil.com",
        "evil.com:443",
        "evil\\",
        "-a",
        "a-",
        "%2f",
    ] {
        let error = render(template, json!({ "h": bad })).unwrap_err();
        assert_eq!(error.variable, "input.h", "{bad}");
    }
}

#[test]
fn a_path_value_cannot_leave_its_segment() {
    let template = "https://a.example.com/v1/{{input.id}}";
    assert_eq!(render(template, json!({ "id": "..." })).unwrap(), "https://a.example.com/v1/...");
    assert_eq!(render(template, json!({ "id": 7 })).unwrap(), "https://a.example.com/v1/7");
    for bad in [json!(""), json!("."), json!(".."), json!(null), json!([1]), json!({})] {
        assert!(render(template, json!({ "id": bad })).is_err(), "{bad}");
    }
    assert!(render(template, json!({})).is_err());
    assert_eq!(
        render("https://a.example.com/{{input.id}}.json", json!({ "id": "." })).unwrap(),
        "https://a.example.com/..json"
    );
}

#[test]
fn an_absent_query_value_drops_its_pair() {
    let template = "https://a.example.com/?a={{input.a}}&b={{input.b}}&c=x{{input.b}}";
    assert_eq!(render(template, json!({ "b": "2" })).unwrap(), "https://a.example.com/?b=2&c=x2");
    assert!(render(template, json!({ "a": "1" })).is_err(), "an embedded variable must have a value");
}

#[test]
fn templates_that_could_move_a_border_are_refused() {
    for bad in [
        "http://a.example.com/",
        "{{input.u}}",
        "https://{{input.u}}",
        "//a.example.com/",
        "https://u@a.example.com/",
        "https://a.example.com:{{input.p}}/",
        "https://a.example.com:0/",
        "https://a.example.com:99999/",
        "https://a..example.com/",
        "https://.example.com/",
        "https://a_b.example.com/",
        "https://[::1]/",
        "https://a.example.com\\@evil.com/",
        "https://a.example.com/../x",
        "https://a.example.com/./x",
        "https://a.example.com/x#f",
        "https://a.example.com/x y",
        "https://a.example.com/é",
        "HTTPS://a.example.com/",
    ] {
        assert!(UrlTemplate::parse(bad).is_err(), "{bad}");
    }
    for good in
        ["https://a.example.com", "https://a.example.com:8443/x?y", "https://A.example.com?q={{input.q}}"]
    {
        assert!(UrlTemplate::parse(good).is_ok(), "{good}");
    }
}

#[test]
fn a_multi_segment_value_keeps_its_slashes_and_nothing_else() {
    let template = "https://{{config.shop}}.s3.eu-west-1.amazonaws.com/{{+input.key}}?x={{input.x}}";
    assert_eq!(
        render(template, json!({ "key": "a b/ü/c?d#e%2F..f/{{config.shop}}" })).unwrap(),
        "https://acme.s3.eu-west-1.amazonaws.com/a%20b/%C3%BC/c%3Fd%23e%252F..f/%7B%7Bconfig.shop%7D%7D"
    );
    assert_eq!(
        render("https://a.example.com/contents/{{ + input.key | lower }}/raw", json!({ "key": "A/B" }))
            .unwrap(),
        "https://a.example.com/contents/a/b/raw"
    );
    for bad in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "a/./b", "./a", "a/.."] {
        let error = render(template, json!({ "key": bad })).unwrap_err();
        assert_eq!(error.variable, "input.key", "{bad}");
    }
    assert!(render(template, json!({})).is_err());
    assert!(render(template, json!({ "key": ["a"] })).is_err());
}

#[test]
fn a_multi_segment_variable_fills_one_segment_alone() {
    for bad in [
        "https://{{+input.h}}.example.com/",
        "https://a.example.com/x{{+input.p}}",
        "https://a.example.com/{{+input.p}}.json",
        "https://a.example.com/{{+input.p}}{{input.q}}",
        "https://a.example.com/?q={{+input.p}}",
        "https://a.example.com/?{{+input.p}}",
    ] {
        let error = UrlTemplate::parse(bad).unwrap_err();
        assert!(
            matches!(error, UrlTemplateError::Template(TemplateError::MultiMisplaced(_))),
            "{bad}: {error}"
        );
    }
    assert!(UrlTemplate::parse("https://a.example.com/{{+input.p}}/x/{{+input.q}}").is_ok());
}

#[test]
fn a_table_name_with_space_and_slash_is_one_segment() {
    let url = render(
        "https://api.airtable.com/v0/{{input.base}}/{{input.table}}",
        json!({
            "base": "appX", "table": "Q1/Q2 Leads"
        }),
    );
    assert_eq!(url.unwrap(), "https://api.airtable.com/v0/appX/Q1%2FQ2%20Leads");
}

proptest::proptest! {
    #[test]
    fn any_text_in_path_and_query_decodes_to_itself(text in ".{1,40}") {
        let url = render("https://a.example.com/p/{{input.t}}?q={{input.t}}&e=1", json!({ "t": text }));
        if text == "." || text == ".." {
            proptest::prop_assert!(url.is_err());
            return Ok(());
        }
        let url = url.unwrap();
        let (path, query) = url.strip_prefix("https://a.example.com/p/").unwrap().split_once('?').unwrap();
        proptest::prop_assert!(!path.contains('/'));
        proptest::prop_assert_eq!(escape::tests::decoded(path), text.clone());
        let value = query.strip_prefix("q=").unwrap().strip_suffix("&e=1").unwrap();
        proptest::prop_assert!(!value.contains(['&', '=', '#']));
        proptest::prop_assert_eq!(escape::tests::decoded(value), text);
    }
}
