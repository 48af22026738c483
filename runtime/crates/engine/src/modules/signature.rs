//! Signatures of modules: Ed25519 (RFC 8032) over the digest as it is written.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_sandbox::ModuleProblem;

/// Public keys that may sign modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys(Vec<[u8; 32]>);

impl TrustedKeys {
    /// Keys as the configuration has them: 32 bytes in base64.
    ///
    /// # Errors
    /// The text that is no key.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let key = |text: &String| {
            STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or_else(|| {
                format!("{text:?} is no Ed25519 public key: 32 bytes in base64, as `portcullis module sign` prints it")
            })
        };
        texts.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a module is signed by one of them.
    pub(super) fn check(
        &self,
        digest: &str,
        signature: Option<&str>,
        required: bool,
    ) -> Result<(), ModuleProblem> {
        let Some(text) = signature else {
            if !required {
                return Ok(());
            }
            let message = "this installation takes signed modules only (modules.require_signature)";
            let mend = "portcullis module sign --key FILE MODULE, and send it as x-module-signature";
            return Err(ModuleProblem::new("signature_missing", message, mend));
        };
        let signed = STANDARD.decode(text.trim()).is_ok_and(|signature| {
            let verified = |key: &[u8; 32]| {
                UnparsedPublicKey::new(&ED25519, key).verify(digest.as_bytes(), &signature).is_ok()
            };
            self.0.iter().any(verified)
        });
        if signed {
            return Ok(());
        }
        let message = "the signature is not one of modules.trusted_keys over these bytes";
        let mend =
            "sign exactly the file that is uploaded, with a key whose public half is in modules.trusted_keys";
        Err(ModuleProblem::new("signature_invalid", message, mend))
    }
}
