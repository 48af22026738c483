//! Why a request cannot be signed. Names the field or what is wrong with it, never a key or a value:
//! these texts reach logs and the caller.

use http::HeaderName;

/// Why a request cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A field that must have text has none.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A character that would break the header or the signature's own syntax.
    #[error("{0} has a character that cannot stand in a signature")]
    Character(&'static str),
    /// An algorithm of the plan that is for another kind of signature.
    #[error("the algorithm cannot be used for {0}")]
    Algorithm(&'static str),
    /// No private key in PEM form was found.
    #[error("the key is not a private key in PEM form; it begins with -----BEGIN PRIVATE KEY-----")]
    NotPem,
    /// The PEM block is protected by a passphrase.
    #[error("the key is protected by a passphrase; store it without one")]
    EncryptedKey,
    /// A readable key of another family.
    #[error("{alg} needs {wanted} key, and this key is of another type")]
    KeyType {
        /// Algorithm, as JOSE names it.
        alg: &'static str,
        /// The family, with its article.
        wanted: &'static str,
    },
    /// The right family, but damaged, too small or on another curve.
    #[error("the key cannot be used with {0}; it is damaged, too small or on another curve")]
    Key(&'static str),
    /// A JOSE header that the signer sets itself, or that changes what is signed.
    #[error("the JWT header {0:?} cannot be set here")]
    JwtHeader(String),
    /// A header that takes part in the signature is not in the request.
    #[error("header {0} is to be signed, and the request does not have it")]
    MissingHeader(HeaderName),
    /// A header that takes part in the signature appears twice: which one counts is unknown.
    #[error("header {0} is to be signed, and the request has it more than once")]
    RepeatedHeader(HeaderName),
    /// A header that takes part in the signature is not text.
    #[error("header {0} is to be signed, and its value is not ASCII text")]
    HeaderText(HeaderName),
    /// A part of the request that the signature's rules cannot read.
    #[error("the {0} of the request cannot be signed; it is not well formed")]
    Request(&'static str),
    /// A protocol parameter that the request already carries.
    #[error("the request already has the parameter {0}, which the signature sets")]
    TakenParameter(&'static str),
    /// A clock that is off beyond what the format can say.
    #[error("the time is after the year 9999")]
    Time,
}
