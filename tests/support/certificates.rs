//! A private certificate authority and a server with its certificate, made by `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, crypto::ring};
use tempfile::TempDir;

const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";

/// A certificate authority that no system trusts, with the key and certificate of one server.
pub struct Authority {
    dir: PathBuf,
    /// Removes the directory with the authority that made it.
    _own: Option<TempDir>,
}

impl Authority {
    /// Makes keys and certificates that are valid for two days.
    pub fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        let authority = Self {
            dir: own.path().to_owned(),
            _own: Some(own),
        };
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=Private");
        authority.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=localhost");
        std::fs::write(authority.path("names"), NAMES).unwrap();
        authority.openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem");
        authority
    }

    /// The authority that another process made in `directory`.
    pub fn made_in(directory: &Path) -> Self {
        Self {
            dir: directory.to_owned(),
            _own: None,
        }
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// Its certificate in PEM, for a store of trusted certificates.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Certificate and key in PEM of the server, which is `localhost` and 127.0.0.1.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.path("server.pem"), self.path("server.key"))
    }

    /// Certificate and key in PEM of a new client.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        self.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout client.key -out client.csr -subj /CN=node");
        self.openssl(
            "x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out client.pem",
        );
        (self.path("client.pem"), self.path("client.key"))
    }

    /// The same without a name in its certificate.
    pub fn nameless_client(&self) -> (PathBuf, PathBuf) {
        self.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout nameless.key -out nameless.csr -subj /");
        self.openssl(
            "x509 -req -in nameless.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out nameless.pem",
        );
        (self.path("nameless.pem"), self.path("nameless.key"))
    }

    /// TLS settings of the server, which is `localhost` and 127.0.0.1.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_file_iter(self.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        Arc::new(config)
    }

    /// The same of a server that serves those only who show a certificate of this authority.
    pub fn server_config_for_its_clients(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap())
            .unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let chain = CertificateDer::pem_file_iter(self.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        Arc::new(config)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn openssl(&self, args: &str) {
        let output = Command::new("openssl")
            .args(args.split(' '))
            .current_dir(&self.dir)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "openssl {args}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
