//! Signed modules: an installation may take those alone that one of its keys signed.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::fault::Code;
use portcullis_engine::modules::{ModuleRules, TrustedKeys};

use super::guests;
use super::harness::{WASM, accepting, admitted, answering, codes, definition, put_module, upload};
use crate::support::{Answer, Stage, World, binary};

/// A world that trusts these keys.
async fn trusting(keys: &[String], require_signature: bool) -> World {
    let trusted_keys = TrustedKeys::parse(keys).unwrap();
    Stage {
        module_rules: ModuleRules { trusted_keys, require_signature, ..ModuleRules::default() },
        ..Stage::default()
    }
    .start()
    .await
}

fn public(key: &Ed25519KeyPair) -> String {
    STANDARD.encode(key.public_key().as_ref())
}

/// The signature of a module with this key.
fn signed(key: &Ed25519KeyPair, bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let text = format!("sha256:{}", hex::encode(digest));
    STANDARD.encode(key.sign(text.as_bytes()).as_ref())
}

async fn upload_signed(world: &World, bytes: &[u8], signature: &str) -> Answer {
    let headers = [WASM, ("x-module-signature", signature)];
    world.platform.send("POST", "/admin/module", &headers, bytes.to_vec()).await
}

#[tokio::test]
async fn an_installation_that_takes_signed_modules_only_takes_those_of_its_keys() {
    let keys = [Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap()];
    let stranger = Ed25519KeyPair::generate().unwrap();
    let world = trusting(&[public(&keys[0]), public(&keys[1])], true).await;
    let bytes = guests::good();
    let missing = upload(&world.platform, &bytes).await.problem(Code::ModuleRefused);
    assert_eq!(codes(&missing), ["signature_missing"]);
    assert!(missing.text.contains("portcullis module sign"), "{}", missing.text);
    let of_another_file = signed(&keys[0], &answering(r#"{"output":1}"#));
    let mut flipped = STANDARD.decode(signed(&keys[0], &bytes)).unwrap();
    flipped[7] ^= 1;
    for wrong in [
        signed(&stranger, &bytes),
        of_another_file,
        STANDARD.encode(flipped),
        STANDARD.encode([0_u8; 64]),
        "nothing of the kind".to_owned(),
    ] {
        let refused = upload_signed(&world, &bytes, &wrong).await.problem(Code::ModuleRefused);
        assert_eq!(codes(&refused), ["signature_invalid"], "{wrong}");
    }
    assert_eq!(world.platform.get("/admin/module").await.is(200).json["data"], serde_json::json!([]));
    for (key, status) in [(&keys[0], 201), (&keys[1], 200)] {
        upload_signed(&world, &bytes, &signed(key, &bytes)).await.is(status);
    }
    // That it is known makes no signature.
    let again = upload(&world.platform, &bytes).await.problem(Code::ModuleRefused);
    assert_eq!(codes(&again), ["signature_missing"]);
    // A wrong component stays one, whoever signed it.
    let core = guests::core_module();
    let refused = upload_signed(&world, &core, &signed(&keys[0], &core)).await.problem(Code::ModuleRefused);
    assert_eq!(codes(&refused), ["not_a_component"]);
}

#[tokio::test]
async fn a_new_module_of_a_connector_needs_its_signature_too() {
    let key = Ed25519KeyPair::generate().unwrap();
    let world = trusting(&[public(&key)], true).await;
    let bytes = guests::good();
    let first = upload_signed(&world, &bytes, &signed(&key, &bytes)).await.is(201);
    let definition = definition(first.json["digest"].as_str().unwrap());
    accepting(&world.platform, "POST", "/admin/connector", &definition).await.is(201);
    let next = answering(r#"{"output":1}"#);
    let missing = put_module(&world.platform, &next, "").await.problem(Code::ModuleRefused);
    assert_eq!(codes(&missing), ["signature_missing"]);
    let own = signed(&key, &next);
    let headers = [WASM, ("x-module-signature", own.as_str())];
    let path = "/admin/connector/custom/module";
    world.platform.send("PUT", path, &headers, next).await.problem(Code::CapabilityWidened);
}

#[tokio::test]
async fn where_none_is_required_a_wrong_signature_is_refused_and_none_is_well() {
    let (key, stranger) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
    let world = trusting(&[public(&key)], false).await;
    let bytes = guests::good();
    let refused =
        upload_signed(&world, &bytes, &signed(&stranger, &bytes)).await.problem(Code::ModuleRefused);
    assert_eq!(codes(&refused), ["signature_invalid"]);
    admitted(&world, &bytes).await;
    upload_signed(&world, &bytes, &signed(&key, &bytes)).await.is(200);
}

#[tokio::test]
async fn what_the_command_line_signs_is_taken_with_the_key_that_it_prints() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = guests::good();
    std::fs::write(dir.path().join("good.wasm"), &bytes).unwrap();
    let sign = ["module", "sign", "--key", "module.key", "good.wasm"];
    let first = binary::run(dir.path(), &sign).exits(0);
    let line = |text: &str, name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("{name} is not in {text}")).trim().to_owned()
    };
    let (signature, key) = (line(&first.out, "signature"), line(&first.out, "public key"));
    // The key is kept: the next signature of the same file is the same.
    let second = binary::run(dir.path(), &sign).exits(0);
    assert_eq!(
        (line(&second.out, "signature"), line(&second.out, "public key")),
        (signature.clone(), key.clone())
    );
    let world = trusting(&[key], true).await;
    let taken = upload_signed(&world, &bytes, &signature).await.is(201);
    assert_eq!(taken.json["digest"], line(&first.out, "digest"));
}

#[test]
fn a_text_that_is_no_key_is_named() {
    for text in ["", "x", "AAAA", "not base64 at all!"] {
        let error = TrustedKeys::parse(&[text.to_owned()]).unwrap_err();
        assert!(error.contains("Ed25519"), "{error}");
    }
}
