//! Why a request cannot be signed. The messages reach logs and the caller, so they name the field and what is
//! wrong with it, never a key or a value.

use http::HeaderName;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A field that must not be empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A character that would break the header or the signature's syntax.
    #[error("{0} has a character that is not allowed in a signature")]
    Character(&'static str),
    /// An algorithm that belongs to another kind of signature.
    #[error("the algorithm cannot be used for {0}")]
    Algorithm(&'static str),
    #[error("the key is not a private key in PEM form; it begins with -----BEGIN PRIVATE KEY-----")]
    NotPem,
    /// The PEM block is protected by a passphrase.
    #[error("the key is protected by a passphrase; store it without one")]
    EncryptedKey,
    /// A readable key of another type.
    #[error("{alg} needs {wanted} key, and this key is of another type")]
    KeyType {
        /// The algorithm's name in JOSE.
        alg: &'static str,
        /// The type of key, with its article.
        wanted: &'static str,
    },
    /// The right type of key, but damaged, too small or on another curve.
    #[error("the key cannot be used with {0}; it is damaged, too small or on another curve")]
    Key(&'static str),
    /// A JOSE header that the signer sets, or that changes what is signed.
    #[error("the JWT header {0:?} cannot be set here")]
    JwtHeader(String),
    #[error("header {0} is to be signed, and the request does not have it")]
    MissingHeader(HeaderName),
    /// A signed header that appears twice: it is unknown which one the upstream reads.
    #[error("header {0} is to be signed, and the request has it more than once")]
    RepeatedHeader(HeaderName),
    #[error("header {0} is to be signed, and its value is not ASCII text")]
    HeaderText(HeaderName),
    /// A part of the request that the rules of the signature cannot parse.
    #[error("the {0} of the request cannot be signed; it is not well formed")]
    Request(&'static str),
    /// A protocol parameter that the request already has.
    #[error("the request already has the parameter {0}, which the signature sets")]
    TakenParameter(&'static str),
    /// A time that the format cannot express.
    #[error("the time is after the year 9999")]
    Time,
}
