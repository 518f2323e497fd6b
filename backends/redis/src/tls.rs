//! TLS by the library that the features choose: rustls, or native-tls without it.
//!
//! The driver is not asked for it, since it shakes hands on no socket but its own.

use flagstore_core::StoreError;
use redis::ConnectionAddr;

use crate::error::wrong;
pub(crate) use stack::Certificates;

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
        self.is_wanted.is_some() || self.has_certificates()
    }

    fn has_certificates(&self) -> bool {
        self.ca_certificate.is_some() || self.client_certificate.is_some()
    }

    /// The certificates that are set, or what is wrong with them.
    pub(crate) fn certificates(&self) -> Result<Certificates, StoreError> {
        let client = self.client_certificate.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
        Certificates::new(self.ca_certificate.as_deref(), client)
    }

    /// The address with what is set here.
    pub(crate) fn apply(&self, address: ConnectionAddr) -> Result<ConnectionAddr, StoreError> {
        let wants = self.is_wanted.unwrap_or(self.has_certificates());
        if !wants && self.has_certificates() {
            return Err(wrong("tls", "is set to no, beside certificates that would have no effect"));
        }
        match (address, self.is_wanted) {
            (ConnectionAddr::TcpTls { host, port, .. }, Some(false)) => Ok(ConnectionAddr::Tcp(host, port)),
            (ConnectionAddr::Tcp(host, port), _) if wants => {
                Ok(ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None })
            }
            (ConnectionAddr::Unix(_), _) if wants => Err(wrong("tls", "a Unix socket has none")),
            (address, _) => {
                self.check(&address)?;
                Ok(address)
            }
        }
    }

    /// Refuses what would be ignored.
    pub(crate) fn check(&self, address: &ConnectionAddr) -> Result<(), StoreError> {
        let ConnectionAddr::TcpTls { insecure, tls_params, .. } = address else { return Ok(()) };
        if tls_params.is_some() {
            return Err(wrong(
                "client",
                "its certificates can be set by ca_certificate and client_certificate only",
            ));
        }
        if !insecure {
            return Ok(());
        }
        if self.is_set() {
            return Err(wrong(
                "url",
                "#insecure accepts any server, so nothing about TLS can be set besides",
            ));
        }
        if cfg!(feature = "tls-rustls") {
            return Err(wrong("url", "rustls has no #insecure: set a ca_certificate"));
        }
        tracing::warn!("redis: #insecure: any server that answers at this address is trusted");
        Ok(())
    }
}

#[cfg(feature = "tls-rustls")]
mod stack {
    use std::io;
    use std::sync::{Arc, OnceLock};

    use flagstore_core::StoreError;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use crate::error::wrong;
    use crate::socket::{Socket, Stream};

    pub(crate) struct Certificates {
        authorities: Option<RootCertStore>,
        client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
        /// Made at the first connection: the program may choose its crypto provider until then.
        config: OnceLock<Arc<ClientConfig>>,
    }

    impl Certificates {
        pub(super) fn new(
            authorities: Option<&[u8]>,
            client: Option<(&[u8], &[u8])>,
        ) -> Result<Self, StoreError> {
            let chain = |pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
            let authorities = authorities.map(|pem| {
                let mut store = RootCertStore::empty();
                for certificate in chain(pem).map_err(|error| wrong("ca_certificate", error))? {
                    store.add(certificate).map_err(|error| wrong("ca_certificate", error))?;
                }
                match store.is_empty() {
                    true => Err(wrong("ca_certificate", "has no certificate in PEM format")),
                    false => Ok(store),
                }
            });
            let client = client.map(|(certificate, key)| {
                let wrong = |error| wrong("client_certificate", error);
                Ok((chain(certificate).map_err(wrong)?, PrivateKeyDer::from_pem_slice(key).map_err(wrong)?))
            });
            let config = OnceLock::new();
            Ok(Self { authorities: authorities.transpose()?, client: client.transpose()?, config })
        }

        fn config(&self) -> io::Result<ClientConfig> {
            let authorities = self.authorities.clone().map_or_else(trusted, Ok)?;
            let config = ClientConfig::builder().with_root_certificates(authorities);
            match &self.client {
                None => Ok(config.with_no_client_auth()),
                Some((chain, key)) => {
                    config.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(io::Error::other)
                }
            }
        }

        pub(crate) fn shake_hands(
            &self,
            host: &str,
            _insecure: bool,
            mut socket: Socket,
        ) -> io::Result<Box<dyn Stream>> {
            let config = match self.config.get() {
                Some(config) => config,
                None => {
                    let config = Arc::new(self.config()?);
                    self.config.get_or_init(|| config)
                }
            };
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut socket)?;
            }
            Ok(Box::new(StreamOwned::new(tls, socket)))
        }
    }

    /// Mozilla's authorities, or those of the system.
    fn trusted() -> io::Result<RootCertStore> {
        let mut store = RootCertStore::empty();
        #[cfg(feature = "tls-rustls-webpki-roots")]
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        #[cfg(not(feature = "tls-rustls-webpki-roots"))]
        {
            let found = rustls_native_certs::load_native_certs();
            // One that nobody can read says nothing of the others.
            if store.add_parsable_certificates(found.certs).0 == 0 {
                let errors = found.errors;
                return Err(io::Error::other(format!(
                    "the system has no certificate authorities: {errors:?}"
                )));
            }
        }
        Ok(store)
    }

    impl Stream for StreamOwned<ClientConnection, Socket> {
        fn socket(&mut self) -> &mut Socket {
            &mut self.sock
        }
    }
}

#[cfg(all(feature = "tls-native-tls", not(feature = "tls-rustls")))]
mod stack {
    use std::io;

    use flagstore_core::StoreError;
    use native_tls::{Certificate, Identity, TlsConnector, TlsStream};

    use crate::error::wrong;
    use crate::socket::{Socket, Stream};

    pub(crate) struct Certificates {
        authorities: Vec<Certificate>,
        client: Option<Identity>,
    }

    impl Certificates {
        pub(super) fn new(
            authorities: Option<&[u8]>,
            client: Option<(&[u8], &[u8])>,
        ) -> Result<Self, StoreError> {
            // The library reads one certificate at a time.
            let text = String::from_utf8_lossy(authorities.unwrap_or_default());
            let pems =
                text.split_inclusive("-----END CERTIFICATE-----").filter(|pem| pem.contains("-----BEGIN"));
            let certificates = pems.map(|pem| Certificate::from_pem(pem.trim_start().as_bytes()));
            let certificates: Vec<_> =
                certificates.collect::<Result<_, _>>().map_err(|error| wrong("ca_certificate", error))?;
            if authorities.is_some() && certificates.is_empty() {
                return Err(wrong("ca_certificate", "has no certificate in PEM format"));
            }
            let client = client.map(|(chain, key)| Identity::from_pkcs8(chain, key)).transpose();
            let client = client.map_err(|error| wrong("client_certificate", error))?;
            Ok(Self { authorities: certificates, client })
        }

        pub(crate) fn shake_hands(
            &self,
            host: &str,
            insecure: bool,
            socket: Socket,
        ) -> io::Result<Box<dyn Stream>> {
            let mut builder = TlsConnector::builder();
            builder.danger_accept_invalid_certs(insecure).danger_accept_invalid_hostnames(insecure);
            builder.disable_built_in_roots(!self.authorities.is_empty());
            for authority in &self.authorities {
                builder.add_root_certificate(authority.clone());
            }
            if let Some(client) = &self.client {
                builder.identity(client.clone());
            }
            let connector = builder.build().map_err(io::Error::other)?;
            let stream = connector.connect(host, socket);
            Ok(Box::new(stream.map_err(|error| io::Error::other(format!("TLS handshake: {error}")))?))
        }
    }

    impl Stream for TlsStream<Socket> {
        fn socket(&mut self) -> &mut Socket {
            self.get_mut()
        }
    }
}

#[cfg(not(any(feature = "tls-native-tls", feature = "tls-rustls")))]
mod stack {
    use std::io;

    use flagstore_core::StoreError;

    use crate::socket::{Socket, Stream};

    pub(crate) struct Certificates;

    impl Certificates {
        pub(super) fn new(_: Option<&[u8]>, _: Option<(&[u8], &[u8])>) -> Result<Self, StoreError> {
            Ok(Self)
        }

        pub(crate) fn shake_hands(&self, _: &str, _: bool, _: Socket) -> io::Result<Box<dyn Stream>> {
            Err(io::Error::new(io::ErrorKind::Unsupported, "TLS needs one of the crate's TLS features"))
        }
    }
}
