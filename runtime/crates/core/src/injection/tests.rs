//! What injection makes of a plan and opened fields.

use super::*;
use crate::secret::SecretValue;

mod walk;

fn fields(pairs: &[(&str, &str)]) -> SecretFields {
    SecretFields::new(
        pairs.iter().map(|(n, v)| ((*n).to_owned(), SecretValue::new((*v).to_owned()))).collect(),
    )
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn header(value: &str) -> Injection {
    Injection::header(HeaderName::from_static("x-api-key"), template(value))
}

fn query(name: &str, value: &str) -> Injection {
    Injection { query: vec![(name.to_owned(), template(value))], ..Injection::default() }
}

fn basic(username: &str, password: &str) -> Injection {
    let fill =
        HeaderFill::Basic { username: template(username), password: template(password), encoded: false };
    Injection { headers: vec![(http::header::AUTHORIZATION, fill)], ..Injection::default() }
}

fn apply(injection: &Injection, pairs: &[(&str, &str)]) -> Result<Injected, InjectionError> {
    injection.apply(&fields(pairs), &Map::new(), None)
}

#[test]
fn a_header_carries_the_rendered_value_marked_sensitive() {
    let injected = apply(&header("Bearer {{cred.api_key}}"), &[("api_key", "sk_1")]).unwrap();
    let (name, value) = &injected.headers[0];
    assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-api-key", "Bearer sk_1"));
    assert!(value.is_sensitive());
}

#[test]
fn a_secret_cannot_break_its_header() {
    for bad in ["a\r\nx: 1", "a\nb", "a\0", "é"] {
        let error = apply(&header("{{cred.k}}"), &[("k", bad)]).err().unwrap();
        assert_eq!(error, InjectionError::Character, "{bad:?}");
        assert!(!error.to_string().contains(bad));
    }
    assert!(apply(&header("{{cred.k}}"), &[("k", "a b~")]).is_ok());
    for bad in [" a", "a "] {
        assert_eq!(apply(&header("{{cred.k}}"), &[("k", bad)]).err(), Some(InjectionError::Blank), "{bad:?}");
    }
}

#[test]
fn basic_is_rfc_7617_with_an_empty_password_legal_and_a_colon_refused() {
    let injected = apply(&basic("Aladdin", "{{cred.p}}"), &[("p", "open sesame")]).unwrap();
    assert_eq!(injected.headers[0].1.to_str().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert!(injected.secrets.iter().any(|s| s.as_str() == "open sesame"));
    assert!(injected.secrets.iter().any(|s| s.as_str() == "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert!(apply(&basic("u", "{{cred.p}}"), &[("p", "")]).is_ok());
    assert_eq!(apply(&basic("a:b", "{{cred.p}}"), &[("p", "")]).err(), Some(InjectionError::Colon));
}

#[test]
fn e3_a_client_is_form_encoded_where_oauth_wants_it() {
    let fill =
        HeaderFill::Basic { username: template("own:app"), password: template("{{cred.p}}"), encoded: true };
    let injection = Injection { headers: vec![(http::header::AUTHORIZATION, fill)], ..Injection::default() };
    let injected = apply(&injection, &[("p", "s+e/c%r=t x")]).unwrap();
    let sent = STANDARD.encode("own%3Aapp:s%2Be%2Fc%25r%3Dt+x");
    assert_eq!(injected.headers[0].1.to_str().unwrap(), format!("Basic {sent}"));
}

#[test]
fn query_values_are_encoded_and_joined() {
    let mut injection = query("key", "{{cred.k}}");
    injection.query.push(("token".to_owned(), template("{{cred.t}}")));
    let injected = apply(&injection, &[("k", "a&b=c d"), ("t", "1")]).unwrap();
    assert_eq!(injected.query.unwrap().as_str(), "key=a%26b%3Dc%20d&token=1");
}

#[test]
fn cookies_share_one_header_and_cannot_break_out_of_their_place() {
    let mut injection = Injection::default();
    injection.cookies.push(("sid".to_owned(), template("{{cred.s}}")));
    injection.cookies.push(("v".to_owned(), template("2")));
    let injected = apply(&injection, &[("s", "abc/+=")]).unwrap();
    assert_eq!(injected.headers[0].1.to_str().unwrap(), "sid=abc/+=; v=2");
    assert_eq!(injection.header_names(), ["cookie"]);
    let quoted = apply(&injection, &[("s", "\"abc\"")]).unwrap();
    assert_eq!(quoted.headers[0].1.to_str().unwrap(), "sid=\"abc\"; v=2", "e2: as it came");
    for bad in ["\"a", "a\"b\"", "\"a b\"", "a; admin=1", "a b", "a,b", "a\"b", "a\\b", "a\r\n"] {
        assert_eq!(apply(&injection, &[("s", bad)]).err(), Some(InjectionError::Cookie), "{bad:?}");
    }
}

#[test]
fn body_members_keep_their_places() {
    let mut injection = Injection::default();
    injection.body.push((vec!["auth".to_owned(), "key".to_owned()], template("{{cred.k}}")));
    let injected = apply(&injection, &[("k", "\"quoted\"")]).unwrap();
    assert_eq!(injected.body[0].0, ["auth", "key"]);
    assert_eq!(injected.body[0].1.as_str(), "\"quoted\"");
    assert!(injection.needs_credential());
}

#[test]
fn a_query_pair_of_the_same_name_is_seen_in_every_spelling() {
    let injection = query("key", "{{cred.k}}");
    for taken in ["key=1", "a=1&key=2", "KEY=1", "%6bey=1", "key", "a&k%65y"] {
        assert!(injection.query_is_taken(Some(taken)), "{taken}");
    }
    for free in ["", "a=key", "keys=1", "a=1&monkey=2"] {
        assert!(!injection.query_is_taken(Some(free)), "{free}");
    }
    assert!(!injection.query_is_taken(None));
    assert!(!header("{{cred.k}}").query_is_taken(Some("key=1")));
}

#[test]
fn the_fields_that_injection_needs_are_known_beforehand() {
    let injection = basic("{{cred.email}}/token", "{{cred.token}}");
    assert_eq!(injection.fields().collect::<Vec<_>>(), ["email"], "a password may be empty");
    assert_eq!(Injection::default().fields().count(), 0);
    assert!(!Injection::default().needs_credential());
}

#[test]
fn a_missing_field_is_named() {
    assert_eq!(apply(&header("{{cred.k}}"), &[]).err(), Some(InjectionError::Missing("k".to_owned())));
}

#[test]
fn a_jwt_stands_where_the_template_says_and_is_a_secret_too() {
    let injection = header("Bearer {{jwt.token}}");
    let token = Some(Zeroizing::new("e.y.J".to_owned()));
    let injected = injection.apply(&fields(&[]), &Map::new(), token).unwrap();
    assert_eq!(injected.headers[0].1.to_str().unwrap(), "Bearer e.y.J");
    assert!(injected.secrets.iter().any(|s| s.as_str() == "e.y.J"));
}
