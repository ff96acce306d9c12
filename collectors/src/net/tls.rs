//! TLS by rustls with the ring provider: the server's certificate is always verified, and what is wrong with it is
//! said in words.

use crate::SourceError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files a TLS connection needs. Read at every connection, so a renewed certificate needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates, in PEM, of the authorities that may vouch for the server.
    pub ca: PathBuf,
    /// Our certificate chain and key, in PEM, where the server asks for one.
    pub client: Option<ClientFiles>,
    /// The name to look for in the server's certificate, where it differs from the host connected to (certificates
    /// made by `ovs-pki` bear the name of the switch, not of its host).
    pub server_name: Option<String>,
}

/// A client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate chain in PEM.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The configuration these files make.
    pub fn client_config(&self) -> Result<ClientConfig, SourceError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|e| bad_file(&self.ca, &e))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| SourceError::unreadable(format!("TLS cannot be set up: {e}")))?
            .with_root_certificates(roots);
        match &self.client {
            None => Ok(builder.with_no_client_auth()),
            Some(files) => {
                let chain = certificates(&files.certificate)?;
                let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| bad_file(&files.key, &e))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| bad_file(&files.certificate, &e))
            }
        }
    }

    /// The name the server's certificate must bear when connecting to `host`.
    pub fn name_for(&self, host: &str) -> Result<ServerName<'static>, SourceError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|_| {
            SourceError::unreadable(format!(
                "found {name:?} as the TLS server name; it must be a DNS name or an IP address"
            ))
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let all: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| bad_file(path, &e))?;
    if all.is_empty() {
        return Err(bad_file(path, &"it holds no PEM certificate"));
    }
    Ok(all)
}

fn bad_file(path: &Path, why: &dyn std::fmt::Display) -> SourceError {
    SourceError::unreadable(format!("the TLS file {} cannot be used: {why}", path.display()))
}

/// The SHA-256 of a certificate, in lower-case hex.
pub fn certificate_sha256(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|b| format!("{b:02x}")).collect()
}

/// What went wrong on a TLS connection to `where_`. `None` when `e` is not TLS's doing.
pub fn tls_words(where_: &str, e: &std::io::Error) -> Option<SourceError> {
    let tls = e.get_ref()?.downcast_ref::<rustls::Error>()?;
    let sentence = match tls {
        rustls::Error::InvalidCertificate(c) => match c {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!(
                    "the certificate of {where_} has expired; renew it there. (If it has not, the clock here is wrong)"
                )
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {where_} is not valid yet; check the clocks of both sides")
            }
            // A bad signature is what an authority of the same name and another key looks like.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the certificate of {where_} was not issued by an authority in the configured CA file; put the right \
                 one there, if this is the switch you mean"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "the certificate of {where_} bears another name ({c}); set the TLS server name to the one it bears, if \
                 this is the switch you mean"
            ),
            other => format!("the certificate of {where_} was refused: {other}"),
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => {
            format!("{where_} demands a client certificate; configure one that it accepts")
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied),
        ) => format!("{where_} refused the client certificate ({alert:?}); configure one that it accepts"),
        rustls::Error::InvalidMessage(_) => format!("{where_} does not speak TLS; is it a tcp: address?"),
        other => format!("TLS with {where_} failed: {other}"),
    };
    Some(SourceError::unreadable(sentence))
}
