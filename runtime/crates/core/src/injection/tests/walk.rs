//! What is sent decodes to what was given, for any secret, or is refused; and it is refused when it is taken.

use proptest::prelude::*;

use super::*;

/// Secrets of every kind: of the usual letters, of all of ASCII, and of anything.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9+/=_.~-]{1,40}",
        "[ -~]{1,40}",
        "\"[!-~]{0,20}\"",
        "[ -~]{0,10}[\r\n\t\0\u{7f}][ -~]{0,10}",
        "[ -~\u{a0}-\u{ff}]{1,20}",
        any::<String>(),
    ]
}

fn client(username: &str, password: &str, encoded: bool) -> Injection {
    let fill = HeaderFill::Basic { username: template(username), password: template(password), encoded };
    Injection { headers: vec![(http::header::AUTHORIZATION, fill)], ..Injection::default() }
}

/// The pair of a Basic header as a server reads it.
fn pair(injected: &Injected) -> (String, String) {
    let value = injected.headers[0].1.to_str().unwrap().strip_prefix("Basic ").unwrap();
    let text = String::from_utf8(STANDARD.decode(value).unwrap()).unwrap();
    let (username, password) = text.split_once(':').unwrap();
    (username.to_owned(), password.to_owned())
}

/// A value of `application/x-www-form-urlencoded` as a server reads it.
fn form_decoded(text: &str) -> String {
    let pairs = format!("v={text}");
    let mut read = url::form_urlencoded::parse(pairs.as_bytes());
    let (_, value) = read.next().unwrap();
    assert!(read.next().is_none(), "{text} is one value");
    value.into_owned()
}

fn keeps_its_ends(text: &str) -> bool {
    !text.starts_with(' ') && !text.ends_with(' ')
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn e3_a_client_is_read_as_it_was_given(id in secret(), key in secret()) {
        let known = [("id", id.as_str()), ("key", key.as_str())];
        let injected = apply(&client("{{cred.id}}", "{{cred.key}}", true), &known).unwrap();
        let (username, password) = pair(&injected);
        prop_assert!(username.is_ascii() && password.is_ascii());
        prop_assert_eq!((form_decoded(&username), form_decoded(&password)), (id.clone(), key.clone()));
        match apply(&client("{{cred.id}}", "{{cred.key}}", false), &known) {
            Ok(raw) => prop_assert_eq!(pair(&raw), (id, key)),
            Err(error) => prop_assert!(error == InjectionError::Colon && id.contains(':'), "{}", error),
        }
    }

    #[test]
    fn e2_a_cookie_is_sent_as_it_came_or_refused(text in secret(), other in "[!#-+--:<-\\[\\]-~]{0,20}") {
        let mut injection = Injection::default();
        injection.cookies.push(("sid".to_owned(), template("{{cred.s}}")));
        injection.cookies.push(("other".to_owned(), template("{{cred.o}}")));
        let known = [("s", text.as_str()), ("o", other.as_str())];
        match apply(&injection, &known) {
            Ok(injected) => {
                let line = injected.headers[0].1.to_str().unwrap();
                // As a server reads it (RFC 6265 section 5.4): pairs between semicolons.
                let pairs: Vec<(&str, &str)> = line.split("; ").map(|pair| pair.split_once('=').unwrap()).collect();
                prop_assert_eq!(pairs, [("sid", text.as_str()), ("other", other.as_str())]);
                prop_assert!(!text.contains([';', ' ', ',', '\\']));
            }
            Err(error) => {
                prop_assert_eq!(error, InjectionError::Cookie);
                let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&text);
                prop_assert!(inner.contains(|ch: char| !ch.is_ascii_graphic() || "\",;\\".contains(ch)), "{:?}", text);
            }
        }
    }

    #[test]
    fn a_header_is_sent_as_it_was_given_or_refused(text in secret(), prefix in prop::sample::select(vec!["", "Bearer ", "Token token="])) {
        let injection = Injection::header(HeaderName::from_static("x-api-key"), template(&format!("{prefix}{{{{cred.k}}}}")));
        let whole = format!("{prefix}{text}");
        let is_sendable = whole.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) && keeps_its_ends(&whole);
        match apply(&injection, &[("k", &text)]) {
            // A server takes blanks at the ends away.
            Ok(injected) => prop_assert_eq!(injected.headers[0].1.to_str().unwrap().trim(), whole),
            Err(error) => prop_assert!(!is_sendable && matches!(error, InjectionError::Character | InjectionError::Blank)),
        }
    }

    #[test]
    fn a_query_pair_and_a_member_are_read_as_they_were_given(text in secret(), other in secret()) {
        let mut injection = query("key[a]", "{{cred.k}}");
        injection.query.push(("b".to_owned(), template("{{cred.o}}")));
        injection.body.push((vec!["m".to_owned()], template("{{cred.k}}")));
        let injected = apply(&injection, &[("k", &text), ("o", &other)]).unwrap();
        let line = injected.query.as_deref().unwrap();
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(line.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        prop_assert_eq!(pairs, [("key[a]".to_owned(), text.clone()), ("b".to_owned(), other)]);
        prop_assert_eq!(injected.body[0].1.as_str(), text);
    }

    /// What will be refused when it is sent is refused when it is taken, whatever comes later.
    #[test]
    fn e1_what_cannot_be_sent_is_known_before(text in secret(), place in 0_usize..4, late: bool) {
        let mut injection = Injection::default();
        match place {
            0 => injection = Injection::header(HeaderName::from_static("x-api-key"), template("{{cred.k}}")),
            1 => injection.cookies.push(("sid".to_owned(), template("{{cred.k}}"))),
            2 => injection = client("{{cred.k}}", "x", false),
            _ => injection = query("key", "{{cred.k}}"),
        }
        let known = [("k", text.as_str()), ("access_token", "t")];
        if late {
            injection.headers.push((http::header::AUTHORIZATION, HeaderFill::Text(template("Bearer {{cred.access_token}}"))));
        }
        let then = apply(&injection, &known).map(|_| ());
        let now = injection.check_known(&fields(&known[..1]), &Map::new());
        prop_assert_eq!(now, then);
    }
}
