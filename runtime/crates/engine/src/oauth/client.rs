//! The OAuth client of token requests: the connection's own, or one that its org or the platform shares.

use portcullis_action::{UrlTemplate, Values};
use portcullis_core::fault::Code;
use portcullis_store::TokenState;

use crate::connection::LoadedConnection;
use crate::connection::sealed::SealedRecords;
use crate::connection::state::CLIENT_GONE;
use crate::error::Error;
use crate::oauth_clients::SharedClient;
use crate::resources::Resources;

/// The records that an exchange may open: the credential, the token that is to be renewed, and the client.
pub(super) fn openable(resources: &Resources, connection: &LoadedConnection) -> SealedRecords {
    let sealed = connection.stored.all_sealed(&resources.vault, &connection.key);
    SealedRecords { sealed, known: Vec::new(), others: Vec::new() }
}

/// Refuses a token whose client is gone: no other client can renew it.
///
/// # Errors
/// `credential_needs_attention`.
pub(super) fn check_there(connection: &LoadedConnection) -> Result<(), Error> {
    match connection.stored.client_gone {
        false => Ok(()),
        true => Err(Error::new(Code::CredentialNeedsAttention, CLIENT_GONE)),
    }
}

/// Notes the client of the requests that follow. What another client obtained is not renewed with this one, and not
/// used.
pub(super) fn noted(before: TokenState, connection: &LoadedConnection) -> TokenState {
    let client = connection.stored.client.as_ref().map(SharedClient::noted);
    let is_same = match (&before.client, &client) {
        (Some(before), Some(now)) => before.is_same(now),
        (before, now) => before.is_none() && now.is_none(),
    };
    match is_same {
        true => TokenState { client, ..before },
        false => TokenState { client, sealed: None, renewable: false, expires_at: None, ..before },
    }
}

/// Whether a URL's host is one that the shared client was saved for; true for the connection's own client, which the
/// credential's list is for.
pub(super) fn is_for(connection: &LoadedConnection, url: &str) -> bool {
    connection.stored.client.as_ref().is_none_or(|client| client.is_for(url))
}

/// Refuses a consent whose code could not be redeemed, because the shared client was not saved for the host of the token
/// endpoint: the definition names another one since then, or the workspace does.
///
/// # Errors
/// `credential_not_bound`, `credential_needs_attention` for a URL that cannot be made.
pub(super) fn check_host(connection: &LoadedConnection, url: &UrlTemplate) -> Result<(), Error> {
    let made = url.render(&Values::config_only(&connection.config));
    let made = made.map_err(|error| Error::new(Code::CredentialNeedsAttention, error.to_string()))?;
    match is_for(connection, &made) {
        true => Ok(()),
        false => Err(Error::new(Code::CredentialNotBound, NOT_FOR_HOST)),
    }
}

/// What is said of a client that may not go where a request would take it.
pub(super) const NOT_FOR_HOST: &str = "the OAuth client that the org or the platform saved is not for the host of the token \
                                       endpoint; whoever saved it can list the host in token_hosts and save it again";
