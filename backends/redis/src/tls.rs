use flagstore_core::StoreError;
use redis::{Client, ClientTlsConfig, ConnectionAddr, TlsCertificates};

use crate::builder::wrong;

/// What is set about TLS apart from the URL.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    pub(crate) is_wanted: Option<bool>,
    pub(crate) ca_certificate: Option<Vec<u8>>,
    /// With its private key.
    pub(crate) client_certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    pub(crate) fn is_set(&self) -> bool {
        let Self { is_wanted, ca_certificate, client_certificate } = self;
        is_wanted.is_some() || ca_certificate.is_some() || client_certificate.is_some()
    }

    /// The address with what is set here.
    pub(crate) fn apply(&self, address: ConnectionAddr) -> Result<ConnectionAddr, StoreError> {
        let Self { is_wanted, ca_certificate, client_certificate } = self;
        let has_certificates = ca_certificate.is_some() || client_certificate.is_some();
        let address = match (address, is_wanted) {
            (ConnectionAddr::TcpTls { host, port, .. }, Some(false)) => ConnectionAddr::Tcp(host, port),
            (ConnectionAddr::Tcp(host, port), wanted) if wanted.unwrap_or(has_certificates) => {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
            }
            (ConnectionAddr::Unix(_), wanted) if wanted.unwrap_or(has_certificates) => {
                return Err(wrong("tls", "a Unix socket has none"));
            }
            (address, _) => address,
        };
        self.apply_certificates(address)
    }

    /// The address with the certificates, if it is one with TLS.
    pub(crate) fn apply_certificates(&self, address: ConnectionAddr) -> Result<ConnectionAddr, StoreError> {
        let client_tls = self.client_certificate.as_ref().map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.clone(),
            client_key: key.clone(),
        });
        let root_cert = self.ca_certificate.clone();
        let has_tls = matches!(address, ConnectionAddr::TcpTls { .. });
        if !has_tls || root_cert.is_none() && client_tls.is_none() {
            return Ok(address);
        }
        let build = |root_cert, client_tls| {
            Client::build_with_tls(address.clone(), TlsCertificates { client_tls, root_cert })
        };
        // The one alone first, to know which of the two is wrong.
        build(root_cert.clone(), None).map_err(|error| wrong("ca_certificate", error))?;
        let client = build(root_cert, client_tls).map_err(|error| wrong("client_certificate", error))?;
        Ok(client.get_connection_info().addr().clone())
    }
}
