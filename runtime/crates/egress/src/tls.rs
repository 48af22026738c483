//! TLS roots, and the TLS sessions of each workspace. Called by the gate; makes no connection.
//!
//! Server names and certificates are always verified (RFC 9525, RFC 5280); no switch turns this off. A CA
//! bundle of the operator is added to the public roots.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use portcullis_core::sync::lock;

/// Session stores kept. At the limit all are dropped; the next connections make full handshakes.
const WORKSPACES_MAX: usize = 10_000;
/// TLS sessions kept per workspace.
const SESSIONS_PER_WORKSPACE: usize = 64;

/// Why a root store cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsRootsError {
    /// The PEM text has no certificate, or a broken one.
    #[error("the CA file has no readable certificate: {0}")]
    BadPem(String),
    /// The TLS library refused the configuration.
    #[error("TLS cannot be configured: {0}")]
    Tls(String),
}

/// The root store of the process and the TLS sessions of each workspace.
pub struct TlsRoots {
    current: Mutex<Configs>,
}

struct Configs {
    base: ClientConfig,
    by_workspace: HashMap<(String, bool), Arc<ClientConfig>>,
}

impl TlsRoots {
    /// Mozilla's public roots, and the certificates of `extra_pem` if given.
    ///
    /// # Errors
    /// [`TlsRootsError`] when the PEM text holds no readable certificate.
    pub fn public(extra_pem: Option<&[u8]>) -> Result<Self, TlsRootsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = extra_pem {
            add_pem(&mut roots, pem)?;
        }
        Self::with_roots(roots)
    }

    /// These roots and no others; for tests and the demo.
    ///
    /// # Errors
    /// [`TlsRootsError`] when the TLS library refuses.
    pub fn only(pem: &[u8]) -> Result<Self, TlsRootsError> {
        let mut roots = RootCertStore::empty();
        add_pem(&mut roots, pem)?;
        Self::with_roots(roots)
    }

    fn with_roots(roots: RootCertStore) -> Result<Self, TlsRootsError> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let mut base = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsRootsError::Tls(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        base.alpn_protocols = vec![b"http/1.1".to_vec()];
        base.enable_early_data = false;
        Ok(Self { current: Mutex::new(Configs { base, by_workspace: HashMap::new() }) })
    }

    /// Takes the roots of `other` for every connection from here on. Sessions that were agreed under the roots before
    /// are forgotten with them.
    pub(crate) fn replace(&self, other: Self) {
        *lock(&self.current) = other.current.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    /// The client configuration of a workspace: the roots are shared, the sessions are not.
    pub(crate) fn client_config(&self, workspace: &str, http2: bool) -> Arc<ClientConfig> {
        let key = (workspace.to_owned(), http2);
        let mut current = lock(&self.current);
        if let Some(config) = current.by_workspace.get(&key) {
            return Arc::clone(config);
        }
        if current.by_workspace.len() >= WORKSPACES_MAX {
            current.by_workspace.clear();
        }
        let mut config = current.base.clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_WORKSPACE);
        if http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        let config = Arc::new(config);
        current.by_workspace.insert(key, Arc::clone(&config));
        config
    }
}

fn add_pem(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), TlsRootsError> {
    let mut added = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| TlsRootsError::BadPem(e.to_string()))?;
        roots.add(certificate).map_err(|e| TlsRootsError::BadPem(e.to_string()))?;
        added += 1;
    }
    if added == 0 {
        return Err(TlsRootsError::BadPem("no certificate found".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_an_error_and_one_with_is_not() {
        assert!(matches!(TlsRoots::public(Some(b"hello")), Err(TlsRootsError::BadPem(_))));
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["ca".into()]).unwrap().self_signed(&key).unwrap();
        assert!(TlsRoots::public(Some(certificate.pem().as_bytes())).is_ok());
        assert!(TlsRoots::public(None).is_ok());
    }

    #[test]
    fn workspaces_do_not_share_tls_sessions() {
        let roots = TlsRoots::public(None).unwrap();
        let (a, again, b) = (
            roots.client_config("a", false),
            roots.client_config("a", false),
            roots.client_config("b", false),
        );
        assert!(Arc::ptr_eq(&a, &again));
        assert!(!Arc::ptr_eq(&a, &b));
        assert_eq!(a.alpn_protocols, [b"http/1.1".to_vec()]);
        roots.replace(TlsRoots::public(None).unwrap());
        let after = roots.client_config("a", false);
        assert!(!Arc::ptr_eq(&a, &after), "other roots, other sessions");
        assert_eq!(roots.client_config("a", true).alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }
}
