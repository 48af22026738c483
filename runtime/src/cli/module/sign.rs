//! `portcullis module sign`: an Ed25519 signature (RFC 8032) over a module's digest.

use std::path::PathBuf;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use portcullis_sandbox::digest_of;

use super::failed;
use crate::cli::DONE;
use crate::{output, private_file};

/// Arguments of `module sign`.
#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// File of the private key (PKCS#8); it is made if it does not exist
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The module
    #[arg(value_name = "MODULE")]
    module: PathBuf,
}

/// Prints the signature for `x-module-signature`, and the public key for `modules.trusted_keys`.
pub(super) fn run(args: &SignArgs) -> u8 {
    if !args.key.exists() {
        let made = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8());
        let written = made.map_err(|_| "a key cannot be made".to_owned());
        if let Err(why) = written.and_then(|key| private_file::write(&args.key, key)) {
            return failed(&args.key, why);
        }
        output::line(&format!("wrote a new private key to {}; keep it", args.key.display()));
    }
    let key = std::fs::read(&args.key).map_err(|error| error.to_string());
    let key = key.and_then(|bytes| {
        Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| "it is no Ed25519 private key (PKCS#8)".to_owned())
    });
    let key = match key {
        Ok(key) => key,
        Err(why) => return failed(&args.key, why),
    };
    let bytes = match std::fs::read(&args.module) {
        Ok(bytes) => bytes,
        Err(error) => return failed(&args.module, error),
    };
    let digest = digest_of(&bytes);
    output::line(&format!("digest      {digest}"));
    output::line(&format!("signature   {}", STANDARD.encode(key.sign(digest.as_bytes()).as_ref())));
    output::line(&format!("public key  {}", STANDARD.encode(key.public_key().as_ref())));
    DONE
}
