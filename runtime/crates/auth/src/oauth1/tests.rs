//! The examples of RFC 5849, and headers made by another implementation (Python's `oauthlib` 4.0.1).

use http::HeaderMap;

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";

fn typed(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
}

fn spec(method: OAuth1MethodDef) -> OAuth1Spec<'static> {
    OAuth1Spec {
        method,
        consumer_key: "ck 1",
        consumer_secret: "cs&1",
        token: "tk+1",
        token_secret: "ts/1",
        realm: None,
    }
}

/// The protocol parameters of the RFC's examples, which have no version.
fn parameters(pairs: &[(&str, &str)]) -> Pairs {
    let method = [(SIGNATURE_METHOD, "HMAC-SHA1")];
    let pairs = pairs.iter().chain(&method);
    Zeroizing::new(pairs.map(|(name, value)| ((*name).to_owned(), encode(value.as_bytes()))).collect())
}

fn signed_parameter(header: &HeaderValue, name: &str) -> String {
    let text = header.to_str().unwrap();
    let (_, rest) = text.split_once(&format!("{name}=\"")).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[test]
fn the_base_string_and_its_signature_are_those_of_section_3_4_1() {
    let headers = typed(FORM);
    let request = Signable {
        method: "post",
        host: "EXAMPLE.com:80",
        path: "/request",
        query: Some("b5=%3D%253D&a3=a&c%40=&a2=r%20b"),
        headers: &headers,
        body: b"c2&a3=2+q",
    };
    let protocol = parameters(&[
        (CONSUMER_KEY, "9djdj82h48djs9d2"),
        (TOKEN, "kkk9d7dh3k39sjv7"),
        (TIMESTAMP, "137131201"),
        (NONCE, "7d8f3e4a"),
    ]);
    let base = base_string("http", &request, &protocol).unwrap();
    assert_eq!(
        base.as_str(),
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%2525\
         3D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oaut\
         h_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    );
    // The RFC gives no secrets with this base string; for these, Python's `hmac` has the same value.
    let secrets = OAuth1Spec {
        consumer_secret: "j49sk3j29djd",
        token_secret: "dh893hdasih9",
        ..spec(OAuth1MethodDef::HmacSha1)
    };
    assert_eq!(signature(&secrets, &base).unwrap().as_str(), "r6/TJjbCOr97/+UU0NsvSne7s5g=");
}

#[test]
fn the_three_requests_of_section_1_2_are_signed_as_printed() {
    let headers = HeaderMap::new();
    let request = |method, path, query| Signable {
        method,
        host: "photos.example.net",
        path,
        query,
        headers: &headers,
        body: b"",
    };
    let key = (CONSUMER_KEY, "dpf43f3p2l4k3l03");
    let cases = [
        (
            ("https", request("POST", "/initiate", None)),
            parameters(&[
                key,
                (TIMESTAMP, "137131200"),
                (NONCE, "wIjqoS"),
                ("oauth_callback", "http://printer.example.com/ready"),
            ]),
            "",
            "74KNZJeDHnMBp0EMJ9ZHt/XKycU=",
        ),
        (
            ("https", request("POST", "/token", None)),
            parameters(&[
                key,
                (TOKEN, "hh5s93j4hdidpola"),
                (TIMESTAMP, "137131201"),
                (NONCE, "walatlh"),
                ("oauth_verifier", "hfdp7dh39dks9884"),
            ]),
            "hdhd0244k9j7ao03",
            "gKgrFCywp7rO0OXSjdot/IHF7IU=",
        ),
        (
            ("http", request("GET", "/photos", Some("file=vacation.jpg&size=original"))),
            parameters(&[key, (TOKEN, "nnch734d00sl2jdk"), (TIMESTAMP, "137131202"), (NONCE, "chapoH")]),
            "pfkkdhi9sl3r4s00",
            "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
        ),
    ];
    for ((scheme, request), protocol, token_secret, expected) in cases {
        let spec = OAuth1Spec {
            consumer_secret: "kd94hf93k423kf44",
            token_secret,
            ..spec(OAuth1MethodDef::HmacSha1)
        };
        let base = base_string(scheme, &request, &protocol).unwrap();
        assert_eq!(signature(&spec, &base).unwrap().as_str(), expected, "{}", request.path);
    }
}

#[test]
fn a_json_request_with_sha256_is_signed_as_oauthlib_signs_it() {
    let headers = typed("application/json");
    let request = Signable {
        method: "POST",
        host: "1234567-sb1.example.com:8443",
        path: "/services/rest/v1/customer",
        query: Some("limit=5&q=a%20b&Q=%C3%A9&q=%2B"),
        headers: &headers,
        body: b"{\"a\":1}",
    };
    let spec = OAuth1Spec { realm: Some("1234567_SB1"), ..spec(OAuth1MethodDef::HmacSha256) };
    let header = sign_oauth1(&spec, &request, 1_440_938_160, "n0nce").unwrap();
    assert_eq!(
        header.to_str().unwrap(),
        "OAuth realm=\"1234567_SB1\", oauth_consumer_key=\"ck%201\", oauth_nonce=\"n0nce\", \
         oauth_signature_method=\"HMAC-SHA256\", oauth_timestamp=\"1440938160\", oauth_token=\"tk%2B1\", \
         oauth_version=\"1.0\", oauth_signature=\"xTw1VUNph06d3tC%2FeGnu%2F5T6ixDmUUkaEpMLfR5PG%2BI%3D\""
    );
    assert!(header.is_sensitive());
}

#[test]
fn a_form_takes_part_as_oauthlib_has_it_and_nothing_else_does() {
    let form = typed("Application/X-WWW-Form-Urlencoded; charset=utf-8");
    let json = typed("application/json");
    let request = |headers, body| Signable {
        method: "POST",
        host: "api.example.com",
        path: "/1.1/update.json",
        query: Some("x=1"),
        headers,
        body,
    };
    let sign = |headers, body| {
        let spec = spec(OAuth1MethodDef::HmacSha1);
        let header = sign_oauth1(&spec, &request(headers, body), 1_440_938_160, "n0nce").unwrap();
        signed_parameter(&header, SIGNATURE)
    };
    assert_eq!(sign(&form, b"status=Hello%20Ladies+%26&b="), "%2Bjqk1iXWIYCWsNlaUHb8s2vBf1Q%3D");
    assert_ne!(sign(&form, b"a=1"), sign(&form, b"a=2"));
    assert_eq!(sign(&json, b"a=1"), sign(&json, b"a=2"));
    assert_eq!(sign(&HeaderMap::new(), b"a=1"), sign(&json, b"a=2"));
}

#[test]
fn bytes_that_are_not_utf_8_are_signed_as_they_are() {
    let headers = HeaderMap::new();
    let base = |query| {
        let request = Signable {
            method: "GET",
            host: "h",
            path: "/",
            query: Some(query),
            headers: &headers,
            body: b"",
        };
        base_string("https", &request, &parameters(&[])).unwrap().to_string()
    };
    assert!(base("a=%FF").contains("a%3D%25FF"), "{}", base("a=%FF"));
    assert!(base("&&a&=").contains("&%3D%26a%3D%26oauth"), "{}", base("&&a&="));
}

#[test]
fn a_request_cannot_bring_a_second_value_for_what_is_signed() {
    let form = typed(FORM);
    let sign = |query, body| {
        let request = Signable { method: "POST", host: "h", path: "/", query, headers: &form, body };
        sign_oauth1(&spec(OAuth1MethodDef::HmacSha1), &request, 0, "n").err()
    };
    assert_eq!(sign(Some("oauth_token=x"), b""), Some(SignError::TakenParameter(TOKEN)));
    assert_eq!(sign(Some("oauth%5Ftoken"), b""), Some(SignError::TakenParameter(TOKEN)));
    assert_eq!(sign(None, b"a=1&oauth_signature=x"), Some(SignError::TakenParameter(SIGNATURE)));
    assert_eq!(sign(Some("oauth_callback=oob"), b"oauth_verifier=1"), None);
}

#[test]
fn what_cannot_be_signed_is_named_and_an_empty_token_is_left_out() {
    let headers = HeaderMap::new();
    let request = Signable { method: "GET", host: "h", path: "/", query: None, headers: &headers, body: b"" };
    let fine = spec(OAuth1MethodDef::HmacSha1);
    let error = |spec: OAuth1Spec<'_>, nonce| sign_oauth1(&spec, &request, 0, nonce).err();
    assert_eq!(error(OAuth1Spec { consumer_key: "", ..fine }, "n"), Some(SignError::Empty("consumer_key")));
    assert_eq!(error(fine, ""), Some(SignError::Empty("the nonce")));
    for realm in ["a\"b", "a\\", "a\r\nx: 1", "é"] {
        assert_eq!(
            error(OAuth1Spec { realm: Some(realm), ..fine }, "n"),
            Some(SignError::Character("realm"))
        );
    }
    let two_legged = OAuth1Spec { token: "", token_secret: "", ..fine };
    let header = sign_oauth1(&two_legged, &request, 0, "n").unwrap();
    assert!(!header.to_str().unwrap().contains(TOKEN));
}
