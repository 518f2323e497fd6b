//! TLS, with certificates made for the test.

#[cfg(not(any(feature = "tls-native-tls", feature = "tls-rustls")))]
pub(crate) const TESTS: &[crate::Test] = &[];

#[cfg(any(feature = "tls-native-tls", feature = "tls-rustls"))]
pub(crate) use tls::TESTS;

#[cfg(any(feature = "tls-native-tls", feature = "tls-rustls"))]
mod tls {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use flagstore_core::{ChangeSource, ErrorKind, FeatureStoreCore};
    use flagstore_redis::{RedisStore, RedisStoreBuilder};
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use tempfile::TempDir;

    use crate::proxy::Proxy;
    use crate::server::Server;
    use crate::{Test, eventually, flags, read, upsert, version};

    pub(crate) const TESTS: &[Test] = &[
        ("tls::custom_authority_and_client_certificate", both_certificates),
        ("tls::client_without_a_certificate_is_refused", no_client_certificate),
        ("tls::unknown_authority_is_refused", unknown_authority),
        ("tls::wrong_certificates_name_their_field", wrong_certificates),
        ("tls::option_beats_the_url", option_beats_url),
        ("tls::server_that_never_shakes_hands_is_a_timeout", mute_server),
        ("tls::handshake_and_replies_that_dribble_are_cut_off", dribbling),
        ("tls::connection_that_was_closed_while_idle_fails_no_call", closed_while_idle),
        ("tls::insecure_is_no_secret", insecure),
        ("tls::changes_come_by_tls_too", push),
    ];

    /// An authority, and what it has signed for server and client, in a folder of their own.
    struct Pki {
        folder: TempDir,
        authority: String,
        client: (String, String),
    }

    impl Pki {
        fn new() -> Self {
            // The program chooses, not the store. A second test finds it chosen.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = params.self_signed(&key).unwrap().pem();
            let issuer = Issuer::new(params, key);
            let sign = |name: &str| {
                let key = KeyPair::generate().unwrap();
                let names = vec![name.to_owned(), "127.0.0.1".to_owned()];
                let mut params = CertificateParams::new(names).unwrap();
                // Not that of the authority, or it would seem to have signed itself.
                params.distinguished_name.push(DnType::CommonName, name);
                let certificate = params.signed_by(&key, &issuer).unwrap();
                (certificate.pem(), key.serialize_pem())
            };
            let (folder, server) = (TempDir::new().unwrap(), sign("localhost"));
            for (name, text) in [("ca.pem", &authority), ("cert.pem", &server.0), ("key.pem", &server.1)] {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            Self { folder, authority, client: sign("client") }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn server(&self) -> Server {
            let path = |name| self.path(name).to_str().unwrap().to_owned();
            let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
            Server::with(&[
                "--tls-port",
                "--tls-ca-cert-file",
                &ca,
                "--tls-cert-file",
                &cert,
                "--tls-key-file",
                &key,
            ])
        }

        fn builder(&self, server: &Server) -> RedisStoreBuilder {
            let (certificate, key) = &self.client;
            let builder = RedisStore::builder().host("127.0.0.1").port(server.port);
            builder
                .ca_certificate(self.authority.as_str())
                .client_certificate(certificate.as_str(), key.as_str())
        }
    }

    fn both_certificates() {
        let pki = Pki::new();
        let server = pki.server();
        for builder in [
            pki.builder(&server),
            pki.builder(&server).url(format!("rediss://127.0.0.1:{}", server.port)),
            pki.builder(&server).host("localhost"),
        ] {
            let store = builder.build().unwrap();
            store.init(&flags(1)).unwrap();
            upsert(&store, 2).unwrap();
            assert_eq!(version(&store), Some(2));
        }
    }

    fn no_client_certificate() {
        let pki = Pki::new();
        let server = pki.server();
        let builder = RedisStore::builder().host("127.0.0.1").port(server.port);
        let error = read(&builder.ca_certificate(pki.authority.as_str()).build().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }

    fn unknown_authority() {
        let (pki, other) = (Pki::new(), Pki::new());
        let server = pki.server();
        let error = read(&pki.builder(&server).ca_certificate(other.authority.as_str()).build().unwrap());
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    /// And no part of a key is in the message.
    fn wrong_certificates() {
        let pki = Pki::new();
        let new = || RedisStore::builder().host("localhost");
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        let wrong = [
            ("ca_certificate", new().ca_certificate(broken)),
            ("client_certificate", new().client_certificate(pki.client.0.as_str(), "no key")),
            ("client_certificate", new().client_certificate(broken, pki.client.1.as_str())),
            ("tls", new().unix_socket("/tmp/redis.sock").tls(true)),
            ("tls", new().tls(false).ca_certificate(pki.authority.as_str())),
            ("ca_certificate", new().ca_certificate("no certificate")),
        ];
        for (field, builder) in wrong {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().starts_with(&format!("redis: build: {field}: ")), "{field}: {error}");
            assert!(!error.to_string().contains("no key"), "{error}");
        }
    }

    fn option_beats_url() {
        let server = Server::start();
        let store = RedisStore::builder().url(format!("rediss://127.0.0.1:{}", server.port)).tls(false);
        upsert(&store.build().unwrap(), 1).unwrap();
        let pki = Pki::new();
        let server = pki.server();
        upsert(&pki.builder(&server).tls(true).build().unwrap(), 1).unwrap();
    }

    fn mute_server() {
        let pki = Pki::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let builder = RedisStore::builder().host("127.0.0.1").port(listener.local_addr().unwrap().port());
        let timeout = Duration::from_millis(300);
        let store = builder.ca_certificate(pki.authority.as_str()).timeout(timeout).build().unwrap();
        let started = Instant::now();
        assert_eq!(read(&store).unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(started.elapsed() < timeout * 2, "took {:?}", started.elapsed());
    }

    /// The place in the pool is free again, too.
    fn dribbling() {
        let pki = Pki::new();
        let server = pki.server();
        let timeout = Duration::from_millis(300);
        let proxy = Proxy::before(server.port);
        let builder = pki.builder(&server).port(proxy.port).pool_size(1);
        let store = builder.timeout(timeout).connect_timeout(timeout).build().unwrap();
        for is_connected in [false, true] {
            proxy.replies.slow_down(1, 20);
            for _ in 0..3 {
                let started = Instant::now();
                read(&store).unwrap_err();
                assert!(started.elapsed() < timeout * 3 / 2, "{is_connected}: took {:?}", started.elapsed());
            }
            proxy.replies.open_up();
            eventually("it works again", || read(&store).is_ok());
        }
    }

    /// What comes by TLS may be about TLS, and is not taken for an end; a restart is one.
    fn closed_while_idle() {
        let pki = Pki::new();
        let mut server = pki.server();
        let store = pki.builder(&server).build().unwrap();
        for next in 1..5 {
            upsert(&store, next).unwrap();
            assert_eq!(version(&store), Some(next));
            server.stop();
            server.start_again();
        }
        assert_eq!(version(&store), None, "the server has lost its data");
    }

    /// Beside what is set about TLS it is refused, and rustls does not know it.
    fn insecure() {
        let (pki, new) = (Pki::new(), || RedisStore::builder().url("rediss://localhost#insecure"));
        let refused = [new().tls(true), new().ca_certificate(pki.authority.as_str())];
        for builder in refused {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("build: url: #insecure"), "{error}");
        }
        let alone = new().build();
        assert_eq!(alone.is_err(), cfg!(feature = "tls-rustls"), "{alone:?}");
        let sentinel = RedisStore::builder().sentinel("mymaster", ["rediss://localhost#insecure"]);
        assert!(sentinel.ca_certificate(pki.authority.as_str()).build().is_err());
    }

    fn push() {
        let pki = Pki::new();
        let server = pki.server();
        let store = pki.builder(&server).build().unwrap();
        let (sender, changes) = std::sync::mpsc::channel();
        let _watch = store.changes().watch(Box::new(move |change| drop(sender.send(change))));
        let next = || changes.recv_timeout(crate::HANG / 2).unwrap();
        assert_eq!(next(), flagstore_core::Change::Anything);
        upsert(&store, 1).unwrap();
        assert_eq!(next(), flagstore_core::Change::Kind(flagstore_core::Kind::FEATURES));
    }
}
