//! Tokens of every algorithm, verified by `jsonwebtoken` with the public key that AWS-LC derives from each
//! file of `testdata`.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde_json::json;

use super::*;

const RSA_PKCS8: &str = include_str!("../../testdata/rsa_pkcs8.pem");
const RSA_PKCS1: &str = include_str!("../../testdata/rsa_pkcs1.pem");
const P256_PKCS8: &str = include_str!("../../testdata/p256_pkcs8.pem");
const P256_SEC1: &str = include_str!("../../testdata/p256_sec1.pem");
const P256_ENCRYPTED: &str = include_str!("../../testdata/p256_encrypted.pem");
const P384_PKCS8: &str = include_str!("../../testdata/p384_pkcs8.pem");
const ED25519_PKCS8: &str = include_str!("../../testdata/ed25519_pkcs8.pem");

fn name(alg: AlgDef) -> &'static str {
    jose(alg).unwrap().name
}

fn spec(alg: AlgDef) -> JwtSpec {
    let claims = json!({"iss": "12345", "iat": 1_440_938_160, "exp": 1_440_938_760, "n": {"a": [1, true]}});
    JwtSpec { alg, kid: None, header: Map::new(), claims: claims.as_object().unwrap().clone() }
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

fn public(alg: AlgDef) -> DecodingKey {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING as P256, ECDSA_P384_SHA384_FIXED_SIGNING as P384, EcdsaKeyPair,
    };
    let ec = |curve, pem| EcdsaKeyPair::from_pkcs8(curve, &der(pem)).unwrap();
    match alg {
        AlgDef::HS256 | AlgDef::HS384 | AlgDef::HS512 => DecodingKey::from_secret(b"a shared secret"),
        AlgDef::ES256 => DecodingKey::from_ec_der(ec(&P256, P256_PKCS8).public_key().as_ref()),
        AlgDef::ES384 => DecodingKey::from_ec_der(ec(&P384, P384_PKCS8).public_key().as_ref()),
        AlgDef::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der(ED25519_PKCS8)).unwrap();
            DecodingKey::from_ed_der(pair.public_key().as_ref())
        }
        _ => {
            let pair = RsaKeyPair::from_pkcs8(&der(RSA_PKCS8)).unwrap();
            DecodingKey::from_rsa_der(pair.public_key().as_ref())
        }
    }
}

fn verified(alg: AlgDef, token: &str) -> Result<Map<String, Value>, jsonwebtoken::errors::Error> {
    let mut validation = Validation::new(jose(alg).unwrap().algorithm);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    decode::<Map<String, Value>>(token, &public(alg), &validation).map(|data| data.claims)
}

const SIGNERS: [(AlgDef, &str); 12] = [
    (AlgDef::HS256, "a shared secret"),
    (AlgDef::HS384, "a shared secret"),
    (AlgDef::HS512, "a shared secret"),
    (AlgDef::RS256, RSA_PKCS8),
    (AlgDef::RS256, RSA_PKCS1),
    (AlgDef::RS384, RSA_PKCS8),
    (AlgDef::RS512, RSA_PKCS1),
    (AlgDef::PS256, RSA_PKCS8),
    (AlgDef::ES256, P256_PKCS8),
    (AlgDef::ES256, P256_SEC1),
    (AlgDef::ES384, P384_PKCS8),
    (AlgDef::EdDSA, ED25519_PKCS8),
];

#[test]
fn every_algorithm_makes_a_token_that_verifies_and_a_changed_one_does_not() {
    for (alg, key) in SIGNERS {
        let token = sign_jwt(&spec(alg), key).unwrap();
        assert_eq!(verified(alg, &token).unwrap(), spec(alg).claims, "{}", name(alg));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode("{\"iss\":\"other\"}");
        let header = message.split_once('.').unwrap().0;
        assert!(verified(alg, &format!("{header}.{forged}.{signature}")).is_err(), "{}", name(alg));
    }
}

#[test]
fn the_signing_input_is_the_header_and_the_claims_in_order() {
    let header = json!({"typ": "at+jwt", "jku": "https://a.example"});
    let spec = |alg| JwtSpec {
        kid: Some("key-1".to_owned()),
        header: header.as_object().unwrap().clone(),
        ..spec(alg)
    };
    for (alg, key) in [(AlgDef::HS256, "a shared secret"), (AlgDef::RS256, RSA_PKCS8)] {
        let token = sign_jwt(&spec(alg), key).unwrap();
        let parts: Vec<String> = token
            .split('.')
            .take(2)
            .map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        let alg = name(alg);
        let header = format!(
            "{{\"alg\":\"{alg}\",\"typ\":\"at+jwt\",\"kid\":\"key-1\",\"jku\":\"https://a.example\"}}"
        );
        let claims = "{\"iss\":\"12345\",\"iat\":1440938160,\"exp\":1440938760,\"n\":{\"a\":[1,true]}}";
        assert_eq!(parts, [header.as_str(), claims]);
    }
}

#[test]
fn the_token_that_jwt_io_prints_is_made_byte_by_byte() {
    let claims = json!({"sub": "1234567890", "name": "John Doe", "iat": 1_516_239_022});
    let spec = JwtSpec { claims: claims.as_object().unwrap().clone(), ..spec(AlgDef::HS256) };
    assert_eq!(
        sign_jwt(&spec, "your-256-bit-secret").unwrap().as_str(),
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
         eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
         SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
    );
}

#[test]
fn a_pem_with_escaped_line_ends_is_the_same_key() {
    for key in [RSA_PKCS8, RSA_PKCS1] {
        let token = sign_jwt(&spec(AlgDef::RS256), key).unwrap();
        for escaped in [key.replace('\n', "\\n"), key.replace('\n', "\\r\\n"), key.replace('\n', "\r\n")] {
            assert_eq!(sign_jwt(&spec(AlgDef::RS256), &escaped).unwrap(), token);
        }
    }
    let escaped = P256_SEC1.replace('\n', "\\n");
    assert!(verified(AlgDef::ES256, &sign_jwt(&spec(AlgDef::ES256), &escaped).unwrap()).is_ok());
}

#[test]
fn a_header_that_changes_what_is_signed_is_refused() {
    for name in ["alg", "b64", "crit"] {
        let header = Map::from_iter([(name.to_owned(), json!("none"))]);
        let error = sign_jwt(&JwtSpec { header, ..spec(AlgDef::HS256) }, "k").err();
        assert_eq!(error, Some(SignError::JwtHeader(name.to_owned())));
    }
    let header = Map::from_iter([("kid".to_owned(), json!("a"))]);
    let twice = JwtSpec { header: header.clone(), kid: Some("b".to_owned()), ..spec(AlgDef::HS256) };
    assert_eq!(sign_jwt(&twice, "k").err(), Some(SignError::JwtHeader("kid".to_owned())));
    assert!(sign_jwt(&JwtSpec { header, ..spec(AlgDef::HS256) }, "k").is_ok());
}

#[test]
fn a_hash_signs_no_token() {
    for alg in [AlgDef::Sha1, AlgDef::Sha256, AlgDef::Sha512] {
        assert_eq!(sign_jwt(&spec(alg), "k").err(), Some(SignError::Algorithm("a JWT")));
    }
}

#[test]
fn a_key_that_does_not_fit_is_refused_without_being_shown() {
    let wanted = |alg: AlgDef, wanted| SignError::KeyType { alg: name(alg), wanted };
    let cut: Vec<&str> = RSA_PKCS8.lines().take(13).chain(["-----END PRIVATE KEY-----"]).collect();
    let cut = cut.join(
        "
",
    );
    let cut_pkcs1 = cut.replace("PRIVATE", "RSA PRIVATE");
    let flipped = RSA_PKCS8.replacen("AQEFAAS", "AQEFAAX", 1);
    let not_pem = "-----BEGIN NOTHING-----";
    let legacy =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n";
    for (alg, key, error) in [
        (AlgDef::HS256, "", SignError::Empty("the key")),
        (AlgDef::RS256, "", SignError::NotPem),
        (AlgDef::RS256, "canary", SignError::NotPem),
        (AlgDef::RS256, not_pem, SignError::NotPem),
        (AlgDef::RS256, P256_PKCS8, wanted(AlgDef::RS256, "an RSA")),
        (AlgDef::PS256, P256_SEC1, wanted(AlgDef::PS256, "an RSA")),
        (AlgDef::ES256, RSA_PKCS8, wanted(AlgDef::ES256, "an EC")),
        (AlgDef::ES384, RSA_PKCS1, wanted(AlgDef::ES384, "an EC")),
        (AlgDef::EdDSA, P256_PKCS8, wanted(AlgDef::EdDSA, "an Ed25519")),
        (AlgDef::EdDSA, P256_SEC1, wanted(AlgDef::EdDSA, "an Ed25519")),
        (AlgDef::ES256, P384_PKCS8, SignError::Key("ES256")),
        (AlgDef::ES384, P256_SEC1, SignError::Key("ES384")),
        (AlgDef::RS256, &cut, SignError::Key("RS256")),
        (AlgDef::RS256, &cut_pkcs1, SignError::Key("RS256")),
        (AlgDef::RS256, &flipped, SignError::Key("RS256")),
        (AlgDef::ES256, P256_ENCRYPTED, SignError::EncryptedKey),
        (AlgDef::RS256, legacy, SignError::EncryptedKey),
    ] {
        let found = sign_jwt(&spec(alg), key).unwrap_err();
        assert_eq!(found, error, "{}", name(alg));
        let shown = format!("{found} {found:?}");
        let leaks = |line: &str| line.len() > 5 && !line.starts_with("-----") && shown.contains(line);
        assert!(!key.lines().any(leaks), "{shown}");
    }
}
