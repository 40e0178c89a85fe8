//! TLS with the system's trusted certificate authorities, or with named ones and a client certificate.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;

use super::connection::BoxedStream;
use super::error::NetError;

/// Reads the trusted authorities, which operators may change while the daemon runs. A node without
/// any still gets its updates over http; a request over https fails then. Blocks.
fn connector() -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = match Verifier::new(provider) {
        Ok(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no trusted roots: https will not work");
            builder
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Certificates that a client is set up with, in place of the system's authorities or beside them.
#[derive(Debug, Clone)]
pub struct ClientTls(Arc<ClientConfig>);

/// Fault of a certificate or a key.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// A file holds none in PEM, or a damaged one.
    #[error("no certificate or key can be read")]
    Pem(#[from] pem::Error),
    /// They don't fit together, or are none that can be used.
    #[error("can't be used")]
    Unfit(#[from] rustls::Error),
}

impl ClientTls {
    /// Trusts the authorities of `authorities` alone, or the system's if there is none; shows `identity`, certificates and
    /// their key. All in PEM. Blocks.
    ///
    /// # Errors
    /// [`ClientTlsError`].
    pub fn new(authorities: Option<&[u8]>, identity: Option<(&[u8], &[u8])>) -> Result<Self, ClientTlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if let Some(authorities) = authorities {
            let mut roots = RootCertStore::empty();
            for authority in CertificateDer::pem_slice_iter(authorities) {
                roots.add(authority?)?;
            }
            if roots.is_empty() {
                return Err(pem::Error::NoItemsFound.into());
            }
            builder.with_root_certificates(roots)
        } else {
            let verifier = Arc::new(Verifier::new(provider)?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        };
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificates, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// Wraps `stream` in TLS with `host`, which the certificate must name; by `own` if there is one.
pub(super) async fn wrap(
    stream: BoxedStream,
    host: &str,
    own: Option<&ClientTls>,
) -> Result<BoxedStream, NetError> {
    let failed = |source| NetError::Tls {
        peer: host.to_owned(),
        source,
    };
    // An address may have a zone, which no certificate knows.
    let name = host.split('%').next().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|error| failed(io::Error::other(error)))?;
    let connector = if let Some(ClientTls(config)) = own {
        TlsConnector::from(Arc::clone(config))
    } else {
        // A hundred certificates and more are read and parsed, from disks that may hang.
        let connector = tokio::task::spawn_blocking(connector).await;
        let connector = connector.map_err(|error| failed(io::Error::other(error)))?;
        connector.map_err(|error| failed(io::Error::other(error)))?
    };
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    Ok(Box::new(stream))
}
