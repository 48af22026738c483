//! Token endpoints: where they may be, what is sent to them, and what may be taken from their answers.

use super::*;
use crate::token_plan::StepBody;

const TOKEN_URL: &str = "https://login.salesforce.com/token";

fn base(auth_type: &str, auth: Value) -> Value {
    let mut own = json!({ "token_url": TOKEN_URL });
    merge(&mut own, auth);
    with(json!({
        "auth_type": auth_type, "auth": own,
        "auth_schema": { "fields": [
            { "name": "client_id", "secret": false }, { "name": "client_secret" },
                { "name": "private_key", "type": "pem" },
        ] },
        "config_fields": [{ "name": "site" }, { "name": "instance", "automated": true }],
        "discover": [{
            "request": { "action_id": "d", "http_method": "GET",
                "url_template": "https://a.salesforce.com/" },
            "capture": { "instance": "/instance" },
        }],
    }))
}

/// A valid document with a client credentials grant.
pub(super) fn client_credentials() -> Value {
    base("oauth2_client_credentials", json!({}))
}

fn code(auth: Value) -> Value {
    let mut own = json!({ "authorize_url": "https://consent.example.com/authorize" });
    merge(&mut own, auth);
    base("oauth2_authorization_code", own)
}

fn bearer(auth: Value) -> Value {
    let mut own =
        json!({ "alg": "RS256", "key_field": "private_key", "claims": { "iss": "{{cred.client_id}}" } });
    merge(&mut own, auth);
    base("oauth2_jwt_bearer", own)
}

/// A host that the connector may not call cannot receive the answer of a token endpoint.
#[test]
fn s11_a_token_endpoint_must_be_inside_allowed_domains() {
    let outside = |pointer: &'static str| [(pointer, "template_host_outside_allowed_domains")];
    let sound = "https://login.salesforce.com/t";
    let sound_site = "https://{{config.site}}.salesforce.com/t";
    for evil in [
        "https://evil.com/t",
        "https://salesforce.com/t",
        "https://login.salesforce.com.evil.com/t",
        "https://{{config.site}}.com/t",
    ] {
        for auth_type in ["oauth2_client_credentials", "oauth2_refresh_token"] {
            let auth = |url: &str| {
                let mut auth = json!({ "token_url": url });
                if auth_type == "oauth2_refresh_token" {
                    auth["refresh_token"] = json!("{{cred.private_key}}");
                }
                base(auth_type, auth)
            };
            expect([
                (auth(sound), &[][..]),
                (auth(sound_site), &[]),
                (auth(evil), &outside("/auth/token_url")),
            ]);
        }
        let revoke = |url: &str| base("oauth2_client_credentials", json!({ "revoke_url": url }));
        let step = |url: &str| {
            let steps = json!([{ "request": { "url": url }, "capture": { "access_token": "/t" } }]);
            with(json!({ "auth_type": "token_exchange", "auth": { "steps": steps },
                    "config_fields": [{ "name": "site" }] }))
        };
        expect([
            (code(json!({ "token_url": sound })), &[][..]),
            (code(json!({ "token_url": evil })), &outside("/auth/token_url")),
            (bearer(json!({ "token_url": sound })), &[]),
            (bearer(json!({ "token_url": evil })), &outside("/auth/token_url")),
            (revoke(sound), &[]),
            (revoke(evil), &outside("/auth/revoke_url")),
            (step(sound_site), &[]),
            (step(evil), &outside("/auth/steps/0/request/url")),
        ]);
    }
}

#[test]
fn urls_of_a_login_name_visible_config_alone() {
    let url = |url: &str| base("oauth2_client_credentials", json!({ "token_url": url }));
    let unknown = &[("/auth/token_url", "template_unknown_variable")][..];
    expect([
        (url("https://login.salesforce.com/{{config.site}}"), &[][..]),
        (url("https://login.salesforce.com/{{cred.client_secret}}"), unknown),
        (url("https://login.salesforce.com/{{config.client_secret}}"), unknown),
        (url("https://login.salesforce.com/{{input.Email}}"), unknown),
        (url("http://login.salesforce.com/"), &[("/auth/token_url", "template_invalid")]),
        (url("https://login.salesforce.com:8443/"), &[("/auth/token_url", "port_not_listed")]),
        (
            code(json!({ "authorize_url": "https://a.example.com/?x={{cred.client_secret}}" })),
            &[("/auth/authorize_url", "template_unknown_variable")],
        ),
    ]);
}

#[test]
fn the_authorization_url_shows_nothing_secret_and_keeps_its_own_pairs() {
    expect([
        (
            code(json!({ "authorize_params": { "access_type": "offline", "site": "{{config.site}}" } })),
            &[][..],
        ),
        (
            code(json!({ "authorize_params": { "x": "{{cred.client_secret}}" } })),
            &[("/auth/authorize_params/x", "template_unknown_variable")],
        ),
        (
            code(json!({ "authorize_params": { "x": "{{config.client_secret}}" } })),
            &[("/auth/authorize_params/x", "template_unknown_variable")],
        ),
        (code(json!({ "client_id": "{{cred.client_secret}}" })), &[("/auth/client_id", "secret_in_url")]),
        (code(json!({ "authorize_url": "https://a.example.com/?audience=x" })), &[]),
        (
            code(json!({ "authorize_url": "https://a.example.com/?redirect%5Furi=x" })),
            &[("/auth/authorize_url", "param_reserved")],
        ),
    ]);
    for name in [
        "state",
        "redirect_uri",
        "client_id",
        "response_type",
        "scope",
        "code_challenge",
        "code_challenge_method",
    ] {
        let pointer = format!("/auth/authorize_params/{name}");
        expect([(
            code(json!({ "authorize_params": { name: "x" } })),
            &[(pointer.as_str(), "param_reserved")][..],
        )]);
    }
}

#[test]
fn a_token_request_has_no_member_twice() {
    let extra = |name: &str| {
        base(
            "oauth2_client_credentials",
            json!({ "scopes": ["a"], "audience": "x", "extra_params": { name: "y" } }),
        )
    };
    expect([(extra("resource"), &[][..])]);
    for name in ["grant_type", "client_id", "client_secret", "scope"] {
        let pointer = format!("/auth/extra_params/{name}");
        expect([(extra(name), &[(pointer.as_str(), "param_reserved")][..])]);
    }
    expect([
        (extra("audience"), &[("/auth/audience", "param_reserved")][..]),
        (code(json!({ "extra_params": { "code": "x" } })), &[("/auth/extra_params/code", "param_reserved")]),
        (
            code(json!({ "extra_params": { "redirect_uri": "x" } })),
            &[("/auth/extra_params/redirect_uri", "param_reserved")],
        ),
        (code(json!({ "refresh": { "extra_params": { "a": "{{cred.client_secret}}" } } })), &[]),
        (
            code(json!({ "refresh": { "extra_params": { "refresh_token": "x" } } })),
            &[("/auth/refresh/extra_params/refresh_token", "param_reserved")],
        ),
        (extra("x"), &[]),
        (
            base("oauth2_client_credentials", json!({ "extra_params": { "a": "{{cred.access_token}}" } })),
            &[("/auth/extra_params/a", "template_unknown_variable")],
        ),
    ]);
}

#[test]
fn what_is_captured_is_no_token() {
    let capture =
        |pointer: &str| base("oauth2_client_credentials", json!({ "capture": { "instance": pointer } }));
    expect([(capture("/instance_url"), &[][..]), (capture("/team/id"), &[])]);
    for pointer in
        ["/access_token", "/refresh_token", "/id_token", "", "/authed_user/access_token", "/a/client_secret"]
    {
        expect([(capture(pointer), &[("/auth/capture/instance", "capture_of_secret")][..])]);
    }
    let nested = |pointer: &str| {
        base(
            "oauth2_client_credentials",
            json!({ "token_path": "/data/jwt", "capture": { "instance": pointer } }),
        )
    };
    expect([
        (nested("/data/site"), &[][..]),
        (nested("/data"), &[("/auth/capture/instance", "capture_of_secret")]),
        (nested("/data/jwt/0"), &[("/auth/capture/instance", "capture_of_secret")]),
        (
            base("oauth2_client_credentials", json!({ "capture": { "site": "/site" } })),
            &[("/auth/capture/site", "unknown_reference")],
        ),
        (
            base("oauth2_client_credentials", json!({ "token_path": "token" })),
            &[("/auth/token_path", "pointer_invalid")],
        ),
        (
            base("oauth2_client_credentials", json!({ "expires_in_path": "ttl" })),
            &[("/auth/expires_in_path", "pointer_invalid")],
        ),
    ]);
}

#[test]
fn members_that_a_grant_does_not_read_are_refused() {
    let client = |auth: Value| base("oauth2_client_credentials", auth);
    expect([
        (client(json!({ "pkce": "none" })), &[("/auth/pkce", "auth_unused")][..]),
        (
            client(json!({ "authorize_url": "https://a.example.com" })),
            &[("/auth/authorize_url", "auth_unused")],
        ),
        (client(json!({ "refresh": {  "rotates": true } })), &[("/auth/refresh", "auth_unused")]),
        (client(json!({ "alg": "RS256" })), &[("/auth/alg", "auth_unused")]),
        (client(json!({ "grant_type": "x" })), &[("/auth/grant_type", "auth_unused")]),
        (
            client(json!({ "client_auth": "private_key_jwt", "alg": "RS256", "key_field": "private_key",
                    "kid": "1" })),
            &[],
        ),
        (
            client(json!({ "client_auth": "private_key_jwt", "alg": "RS256", "key_field": "private_key",
                    "client_secret": "{{cred.client_secret}}" })),
            &[("/auth/client_secret", "auth_unused")],
        ),
        (client(json!({ "client_auth": "private_key_jwt" })), &[("/auth/alg", "auth_incomplete")]),
        (code(json!({ "audience": "x" })), &[("/auth/audience", "auth_unused")]),
        (bearer(json!({ "pkce": "none" })), &[("/auth/pkce", "auth_unused")]),
        (bearer(json!({ "client_auth": "private_key_jwt" })), &[("/auth/client_auth", "auth_unused")]),
        (client(json!({ "client_auth": "basic", "body_format": "json" })), &[]),
    ]);
}

#[test]
fn scopes_are_words_of_actions_that_exist() {
    let scopes = |scopes: Value| base("oauth2_client_credentials", json!({ "scopes": scopes }));
    expect([
        (scopes(json!(["https://www.example.com/auth/x", "a:b"])), &[][..]),
        (scopes(json!(["a b"])), &[("/auth/scopes/0", "wrong_form")]),
        (scopes(json!(["{{cred.client_secret}}"])), &[("/auth/scopes/0", "wrong_form")]),
        (scopes(json!([{ "name": "a", "required_by": ["create-contact"] }])), &[]),
        (
            scopes(json!([{ "name": "a", "required_by": ["nope"] }])),
            &[("/auth/scopes/0/required_by/0", "unknown_reference")],
        ),
    ]);
}

#[test]
fn audience_is_a_template_over_config() {
    let audience = |text: &str| base("oauth2_client_credentials", json!({ "audience": text }));
    let plan = connector(&audience("https://{{config.site}}/api")).auth.token.clone().unwrap();
    assert!(plan.obtain[0].injection.body.iter().any(|(path, _)| *path == ["audience"]));
    expect([
        (audience("{{cred.client_secret}}"), &[("/auth/audience", "template_unknown_variable")][..]),
        (bearer(json!({ "audience": "{{cred.nope}}" })), &[("/auth/audience", "template_unknown_variable")]),
    ]);
}

#[test]
fn a_refresh_condition_is_a_predicate() {
    let on = |on: Value| base("oauth2_client_credentials", json!({ "refresh_on": on }));
    expect([
        (on(json!({ "status": [401, 403], "predicate": { "path": "/e", "eq": 1 } })), &[][..]),
        (
            on(json!({ "predicate": { "all": [{ "path": "e", "eq": 1 }] } })),
            &[("/auth/refresh_on/predicate/all/0", "predicate_invalid")],
        ),
        (on(json!({ "status": [9999] })), &[("/auth/refresh_on/status/0", "out_of_range")]),
    ]);
    let plan = |auth: Value| connector(&base("oauth2_client_credentials", auth)).auth.token.clone().unwrap();
    assert_eq!(plan(json!({})).refresh_on.status, [401]);
    assert!(
        plan(json!({ "refresh_on": { "predicate": { "path": "/e", "eq": 1 } } }))
            .refresh_on
            .status
            .is_empty()
    );
}

#[test]
fn a_forms_field_cannot_hide_what_the_host_puts_in() {
    for name in ["access_token", "code", "code_verifier", "redirect_uri"] {
        let mut document = client_credentials();
        document["auth_schema"]["fields"][2]["name"] = json!(name);
        expect([(document, &[("/auth_schema/fields/2/name", "field_reserved")][..])]);
    }
    changes([(json!({ "auth_schema": { "fields": [{ "name": "access_token" }] } }), &[][..])]);
    let mut document = code(json!({}));
    document["auth_schema"]["fields"][2]["name"] = json!("refresh_token");
    expect([(document, &[("/auth_schema/fields/2/name", "field_reserved")][..])]);
    let mut document = base("oauth2_refresh_token", json!({}));
    document["auth_schema"]["fields"][2]["name"] = json!("refresh_token");
    expect([(document, &[][..])]);
}

#[test]
fn a_revocation_takes_nothing_from_its_answer_and_always_has_a_body() {
    let document =
        base("oauth2_client_credentials", json!({ "revoke_url": "https://login.salesforce.com/revoke" }));
    let revoke = connector(&document).auth.token.clone().unwrap().revoke.unwrap();
    assert!(revoke.capture.is_empty() && revoke.config.is_empty());
    assert!(matches!(&revoke.body, StepBody::Form(pairs) if !pairs.is_empty()));
    assert!(revoke.injection.body.iter().any(|(path, _)| *path == ["token"]));
}

/// Whether a client may be shared, its id, its secret, and all of its fields.
fn client_of(document: &Value) -> (bool, Option<String>, Option<String>, Vec<String>) {
    let client = connector(document).auth.client;
    (client.may_be_shared, client.id, client.secret, client.names)
}

#[test]
fn the_clients_fields_are_those_that_auth_reads_and_those_that_say_so() {
    let text = |text: &str| Some(text.to_owned());
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let both = names(&["client_id", "client_secret"]);
    let own = (true, text("client_id"), text("client_secret"), both.clone());
    assert_eq!(client_of(&code(json!({}))), own);
    let one_account = (false, text("client_id"), text("client_secret"), both);
    assert_eq!(client_of(&client_credentials()), one_account, "nobody consents");
    let mut marked = client_credentials();
    marked["auth_schema"]["fields"][2]["scope"] = json!("client");
    let all = names(&["client_id", "client_secret", "private_key"]);
    assert_eq!(client_of(&marked), (true, text("client_id"), text("client_secret"), all));
    let proof = json!({ "client_auth": "private_key_jwt", "alg": "RS256", "key_field": "private_key" });
    let with_key = (true, text("client_id"), text("private_key"), names(&["client_id", "private_key"]));
    assert_eq!(client_of(&code(proof)), with_key);
    let written = (true, None, text("client_secret"), names(&["client_secret"]));
    assert_eq!(client_of(&code(json!({ "client_id": "portcullis" }))), written);
    let placed =
        json!({ "places": [{ "in": "header", "name": "X-App", "value": "{{cred.client_secret}}" }] });
    assert!(!client_of(&code(placed)).0, "requests of actions would carry its secret");
    let shown = json!({ "places": [{ "in": "header", "name": "X-App", "value": "{{config.client_id}}" }] });
    assert!(client_of(&code(shown)).0, "an id that is not secret may go anywhere");
}

#[test]
fn a_field_of_the_client_is_one_of_a_form_and_goes_to_token_requests_alone() {
    let marked = |mut document: Value, at: &str| {
        *document.pointer_mut(at).unwrap() = json!("client");
        document
    };
    let form = "/auth_schema/fields/1/scope";
    let mut here =
        code(json!({ "places": [{ "in": "header", "name": "X-App", "value": "{{cred.client_secret}}" }] }));
    here["auth_schema"]["fields"][1]["scope"] = json!("workspace");
    let mut config = code(json!({}));
    config["config_fields"][0]["scope"] = json!("workspace");
    let mut fine = code(json!({}));
    fine["auth_schema"]["fields"][1]["scope"] = json!("workspace");
    expect([
        (marked(here, form), [(form, "field_scope")].as_slice()),
        (marked(config, "/config_fields/0/scope"), [("/config_fields/0/scope", "field_scope")].as_slice()),
    ]);
    assert!(client_of(&marked(fine, form)).0);
    let mut keyed = salesforce();
    keyed["auth_schema"]["fields"][0]["scope"] = json!("client");
    expect([(keyed, [("/auth_schema/fields/0/scope", "field_scope")].as_slice())]);
}
