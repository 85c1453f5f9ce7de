//! One TLS configuration for HTTP and websocket: the machine's roots, plus a private CA when the user names one.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error as ThisError;

/// Why no TLS configuration could be made.
#[derive(Debug, ThisError)]
pub enum TlsError {
    /// The CA file is not PEM.
    #[error("reading the CA certificates: expected PEM blocks of the form BEGIN CERTIFICATE")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The CA file holds no certificate.
    #[error("the CA file holds no certificate")]
    NoCertificate,
    /// A certificate of the CA file is unusable.
    #[error("using the CA certificates")]
    Certificate(#[source] rustls::Error),
    /// The crypto provider refused the default protocol versions.
    #[error("configuring TLS")]
    Configuration(#[source] rustls::Error),
}

/// A time that does not pass.
#[derive(Debug)]
struct Stopped(UnixTime);

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// A client configuration that trusts the machine's roots and the certificates in `extra_ca_pem`.
///
/// A machine without roots is no error: a hub reached over loopback needs none, and any other fails its handshake.
pub fn client_config(extra_ca_pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, TlsError> {
    config(extra_ca_pem, Arc::new(DefaultTimeProvider))
}

/// The same for one that takes `at` for the present. For asking a hub what time it is, and for nothing else.
pub fn client_config_at(extra_ca_pem: Option<&[u8]>, at: Timestamp) -> Result<Arc<ClientConfig>, TlsError> {
    let since_epoch = Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default());
    config(extra_ca_pem, Arc::new(Stopped(UnixTime::since_unix_epoch(since_epoch))))
}

fn config(extra_ca_pem: Option<&[u8]>, time: Arc<dyn TimeProvider>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = extra_ca_pem {
        add_extra(&mut roots, pem)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Configuration)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn add_extra(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), TlsError> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(TlsError::Pem)?).map_err(TlsError::Certificate)?;
    }
    if roots.len() == before { Err(TlsError::NoCertificate) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_must_hold_a_certificate() {
        assert!(client_config(None).is_ok());
        assert!(matches!(client_config(Some(b"hello")), Err(TlsError::NoCertificate)));
        let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(client_config(Some(garbage)), Err(TlsError::Certificate(_))));
        let ca = rcgen::generate_simple_self_signed(["hub.test".to_owned()]).expect("self-signed");
        assert!(client_config(Some(ca.cert.pem().as_bytes())).is_ok());
    }
}
