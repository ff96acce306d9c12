//! TLS with a certificate that can be exchanged while the server runs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate that can be exchanged: clones are the same lever.
#[derive(Clone)]
pub struct CertificateLever(Arc<Shown>);

struct Shown(RwLock<Arc<CertifiedKey>>);

impl CertificateLever {
    /// Begins with this certificate.
    pub fn new(key: Arc<CertifiedKey>) -> CertificateLever {
        CertificateLever(Arc::new(Shown(RwLock::new(key))))
    }

    /// Shows another certificate from the next handshake on. Open connections stay.
    pub fn exchange(&self, key: Arc<CertifiedKey>) {
        *self.0.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// The configuration of a server that shows it. Sessions cannot be resumed: each handshake shows what is there now.
    ///
    /// # Errors
    /// rustls has none of its protocol versions, which cannot be in this build.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl fmt::Debug for CertificateLever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateLever").finish_non_exhaustive()
    }
}
