//! TLS with the system's trusted certificate authorities.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
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

/// Wraps `stream` in TLS with `host`, which the certificate must name.
pub(super) async fn wrap(stream: BoxedStream, host: &str) -> Result<BoxedStream, NetError> {
    let failed = |source| NetError::Tls {
        peer: host.to_owned(),
        source,
    };
    // An address may have a zone, which no certificate knows.
    let name = host.split('%').next().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|error| failed(io::Error::other(error)))?;
    // A hundred certificates and more are read and parsed, from disks that may hang.
    let connector = tokio::task::spawn_blocking(connector).await;
    let connector = connector.map_err(|error| failed(io::Error::other(error)))?;
    let connector = connector.map_err(|error| failed(io::Error::other(error)))?;
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    Ok(Box::new(stream))
}
