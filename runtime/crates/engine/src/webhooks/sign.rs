//! Signatures of the Standard Webhooks scheme: `v1,` and the HMAC-SHA256 of `<id>.<timestamp>.<body>`, base64.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_store::{KeyMark, WebhookEndpoint, WebhookSecret, secret_binding};

use crate::clock;
use crate::error::Error;
use crate::resources::Resources;

/// Begins a secret as people see it.
const PREFIX: &str = "whsec_";

/// Makes a secret; the second value is its text, which is shown once.
pub(super) async fn new_secret(resources: &Resources, scope: &str) -> Result<(WebhookSecret, String), Error> {
    let name = clock::fresh_text("whs");
    let (key, sealed) = resources.vault.make_scope_secret(&secret_binding(scope, &name)).await?;
    let text = format!("{PREFIX}{}", STANDARD.encode(key.as_slice()));
    Ok((WebhookSecret { name, sealed, created_at: clock::now(), until: None }, text))
}

/// Wraps a new secret with the master key of now. What it is written with needs the mark: a rotation that began after the
/// secret was made would overlook it.
pub(super) async fn settle(
    resources: &Resources,
    scope: &str,
    secret: &mut WebhookSecret,
) -> Result<KeyMark, Error> {
    let bound = secret_binding(scope, &secret.name);
    let (sealed, mark) = resources.vault.settle_scope_secret(&bound, &secret.sealed).await?;
    secret.sealed = sealed;
    Ok(mark)
}

/// The value of `webhook-signature`: of the secret, and of the one before while it counts.
pub(super) async fn signatures(
    resources: &Resources,
    scope: &str,
    endpoint: &WebhookEndpoint,
    content: &str,
) -> Result<String, Error> {
    let counts =
        |secret: &&WebhookSecret| secret.until.as_deref().is_none_or(|until| !clock::has_passed(until));
    let secrets = std::iter::once(&endpoint.secret).chain(endpoint.old_secret.as_ref().filter(counts));
    let mut texts = Vec::with_capacity(2);
    for secret in secrets {
        let key =
            resources.vault.open_scope_secret(&secret_binding(scope, &secret.name), &secret.sealed).await?;
        texts.push(signature(key.as_slice(), content));
    }
    Ok(texts.join(" "))
}

fn signature(key: &[u8], content: &str) -> String {
    let mac = sign(&Key::new(HMAC_SHA256, key), content.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the libraries of Standard Webhooks.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let content = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        assert_eq!(signature(&key, content), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
