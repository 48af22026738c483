//! What a grant covers, and similar requests that it does not.

use super::*;
use crate::host_pattern::HostPattern;
use crate::org_rules::RulesVerdict;
use crate::verdict::OrgPolicy;
use serde_json::json;

fn grant(template: &str) -> EgressGrant {
    let config = json!({ "shop": "acme" }).as_object().cloned().unwrap();
    let template = UrlTemplate::parse(template).unwrap();
    EgressGrant::new(
        HostRules {
            connector: vec![HostPattern::parse("*.example-saas.com").unwrap()],
            ports: vec![],
            org: OrgPolicy::Unrestricted,
            org_rules: RulesVerdict::ALLOWED,
        },
        vec![ActionScope::new(Method::Get, &template, &config).unwrap()],
        8192,
    )
}

fn code(grant: &EgressGrant, url: &str, method: Method) -> &'static str {
    let (verdict, permitted) = grant.permit(url.as_bytes(), method);
    assert_eq!(verdict.refusal.is_none(), permitted.is_some());
    verdict.refusal.map_or("ok", Code::as_str)
}

#[test]
fn only_the_actions_own_method_and_path_are_granted() {
    let grant = grant("https://api.example-saas.com/v1/items/{{input.id}}/x{{input.n}}.json");
    let base = "https://api.example-saas.com";
    assert_eq!(code(&grant, &format!("{base}/v1/items/7/x1.json"), Method::Get), "ok");
    assert_eq!(code(&grant, &format!("{base}/v1/items/a%2Fb/x1.json?q=1"), Method::Get), "ok");
    assert_eq!(code(&grant, &format!("{base}/v1/items/7/x1.json"), Method::Delete), "method_forbidden");
    for path in [
        "/v1/items/7",
        "/v1/items//x1.json",
        "/v1/items/7/x.json",
        "/v1/items/7/x1.json/",
        "/v1/items/7/8/x1.json",
        "/",
        "/v2/items/7/x1.json",
    ] {
        assert_eq!(code(&grant, &format!("{base}{path}"), Method::Get), "path_not_granted", "{path}");
    }
    assert_eq!(
        code(&grant, "https://other.example-saas.com/v1/items/7/x1.json", Method::Get),
        "path_not_granted"
    );
}

#[test]
fn a_multi_segment_input_is_one_segment_or_more() {
    let grant = grant("https://api.example-saas.com/repos/{{input.repo}}/contents/{{+input.path}}/raw");
    let check = |path: &str| code(&grant, &format!("https://api.example-saas.com{path}"), Method::Get);
    for path in [
        "/repos/r/contents/a/raw",
        "/repos/r/contents/a/b%2Fc/d/raw",
        "/repos/r/contents/raw/raw",
        "/repos/r/contents/a/raw/raw?x=/..",
        "/repos/r/contents/a/raw?x[0][k]=1&y[]=2,3%7C4",
    ] {
        assert_eq!(check(path), "ok", "{path}");
    }
    for path in [
        "/repos/r/contents/raw",
        "/repos/r/contents//raw",
        "/repos/r/contents/a//raw",
        "/repos/r/contents/a/b",
        "/repos/r/contents/a/raw/",
        "/repos/r/s/contents/a/raw",
        "/repos/contents/a/raw",
    ] {
        assert_eq!(check(path), "path_not_granted", "{path}");
    }
    for path in ["/repos/r/contents/../../raw", "/repos/r/contents/a/%2e%2E/x/raw"] {
        assert_eq!(check(path), "url_invalid", "{path}");
    }
}

#[test]
fn a_rest_step_takes_no_empty_and_no_dot_segment() {
    let literal = |text: &str| Step::One(Glob::Literal(text.to_owned()));
    let two = [Step::Rest, literal("x"), Step::Rest];
    for (path, expected) in [
        ("a/x/b", true),
        ("x/x/x", true),
        ("x/x", false),
        ("a/x", false),
        ("a/b/x/c/x/d", true),
        ("a/b/c", false),
        ("a//x/b", false),
        ("a/./x/b", false),
        ("a/%2E%2e/x/b", false),
        ("a/.%2e/x/b", false),
        ("a/.../x/b", true),
        ("", false),
    ] {
        let segments: Vec<&str> = path.split('/').collect();
        assert_eq!(path_matches(&two, &segments), expected, "{path}");
    }
}

#[test]
fn many_rest_steps_against_a_long_path_stay_cheap() {
    let literal = Step::One(Glob::Literal("b".to_owned()));
    let steps: Vec<Step> = (0..32).flat_map(|_| [Step::Rest, literal.clone()]).collect();
    assert!(!path_matches(&steps, &vec!["a"; 4096]));
}

#[test]
fn a_multi_segment_config_value_is_fixed_text() {
    let config = json!({ "root": "v1/my files" }).as_object().cloned().unwrap();
    let template = UrlTemplate::parse("https://api.example-saas.com/{{+config.root}}/{{input.x}}").unwrap();
    let scope = ActionScope::new(Method::Get, &template, &config).unwrap();
    for (path, expected) in [
        (vec!["v1", "my%20files", "7"], true),
        (vec!["v1", "7"], false),
        (vec!["v2", "my%20files", "7"], false),
    ] {
        let PathRule::Pattern(pattern) = &scope.path else { panic!("a template makes a pattern") };
        assert_eq!(path_matches(pattern, &path), expected, "{path:?}");
    }
    let escape = json!({ "root": "v1/../admin" }).as_object().cloned().unwrap();
    assert!(ActionScope::new(Method::Get, &template, &escape).is_err());
}

#[test]
fn a_config_value_pins_the_host_to_this_tenant() {
    let grant = grant("https://{{config.shop}}.example-saas.com/");
    assert_eq!(grant.scopes[0].fixed_host().as_deref(), Some("acme.example-saas.com"));
    assert_eq!(grant.scopes[0].fixed_origin().as_deref(), Some("https://acme.example-saas.com"));
    assert_eq!(code(&grant, "https://acme.example-saas.com/", Method::Get), "ok");
    assert_eq!(code(&grant, "https://other.example-saas.com/", Method::Get), "path_not_granted");
}

#[test]
fn a_redirect_is_judged_from_the_top_and_by_its_own_rule() {
    let grant = grant("https://api.example-saas.com/v1/x");
    let from = Target::parse(b"https://api.example-saas.com/v1/x", 8192).unwrap();
    let code = |url: &str, follow| {
        let (verdict, permitted) = grant.permit_redirect(url.as_bytes(), &from, follow);
        assert_eq!(verdict.refusal.is_none(), permitted.is_some());
        verdict.refusal.map_or("ok", Code::as_str)
    };
    let (same, any) = (RedirectFollow::SameHost, RedirectFollow::AllowedHosts);
    assert_eq!(code("https://api.example-saas.com/elsewhere", same), "ok");
    assert_eq!(code("https://files.example-saas.com/f", same), "redirect_forbidden");
    assert_eq!(code("https://files.example-saas.com/f", any), "ok");
    assert_eq!(code("https://evil.example.net/f", any), "host_not_in_connector");
    assert_eq!(code("http://api.example-saas.com/", any), "scheme_not_https");
    assert_eq!(code("https://api.example-saas.com/", RedirectFollow::None), "redirect_forbidden");
}

#[test]
fn an_absent_config_value_makes_no_grant() {
    let template = UrlTemplate::parse("https://{{config.none}}.example-saas.com/").unwrap();
    assert!(ActionScope::new(Method::Get, &template, &Map::new()).is_err());
}

#[test]
fn d6_pages_that_an_upstream_names_stay_on_the_listed_paths() {
    let template = UrlTemplate::parse("https://api.example-saas.com/v1/items").unwrap();
    let first = ActionScope::new(Method::Get, &template, &Map::new()).unwrap();
    let rules = HostRules {
        connector: vec![HostPattern::parse("*.example-saas.com").unwrap()],
        ports: vec![],
        org: OrgPolicy::Unrestricted,
        org_rules: RulesVerdict::ALLOWED,
    };
    let listed =
        UrlTemplate::parse("https://api.example-saas.com/repositories/{{input.page}}/items").unwrap();
    let listed = ActionScope::new(Method::Get, &listed, &Map::new()).unwrap();
    let grant = EgressGrant::new(rules, vec![first, listed], 8192);
    assert_eq!(code(&grant, "https://api.example-saas.com/v1/items", Method::Get), "ok");
    assert_eq!(code(&grant, "https://api.example-saas.com/repositories/7/items?page=2", Method::Get), "ok");
    for path in ["/admin/secrets", "/repositories/7/8/items", "/repositories//items", "/v1/items/7", "/v1"] {
        let url = format!("https://api.example-saas.com{path}");
        assert_eq!(code(&grant, &url, Method::Get), "path_not_granted", "{path}");
    }
    assert_eq!(code(&grant, "https://api.example-saas.com/v1/items", Method::Post), "method_forbidden");
    assert_eq!(code(&grant, "https://files.example-saas.com/v1/items", Method::Get), "path_not_granted");
    assert_eq!(code(&grant, "https://evil.example.net/v1/items", Method::Get), "host_not_in_connector");
}
