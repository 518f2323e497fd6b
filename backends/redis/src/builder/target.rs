//! What the options say together: whom to connect to, and how, or which of them cannot be so.

use std::sync::Arc;

use flagstore_core::StoreError;
use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::{RedisStoreBuilder, Server, wrong};
use crate::connect::Sentinels;

const DEFAULT_PORT: u16 = 6379;

impl RedisStoreBuilder {
    /// What is the same for all connections, and the address of the server, or of one like it.
    pub(super) fn info(&self, nodes: &[ConnectionInfo]) -> Result<ConnectionInfo, StoreError> {
        let info = match (nodes.first(), &self.server) {
            (Some(node), _) => node.clone(),
            (None, Server::Url(url)) => parse("url", url)?,
            (None, Server::Client(client, _)) => client.get_connection_info().clone(),
        };
        let mut settings = info.redis_settings().clone();
        if let Some(database) = self.database {
            settings = settings.set_db(database);
        }
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        if let Some(protocol) = self.protocol {
            settings = settings.set_protocol(protocol);
        }
        let tcp = match &self.server {
            Server::Client(client, _) => client.get_connection_info().tcp_settings().clone(),
            // A command is sent whole, and should not wait for the answer to a part of it.
            Server::Url(_) => TcpSettings::default().set_nodelay(true),
        };
        let address = self.address(info.addr().clone())?;
        #[cfg(any(feature = "tls-native-tls", feature = "tls-rustls"))]
        let address = self.tls.apply(address)?;
        Ok(info.set_addr(address).set_redis_settings(settings).set_tcp_settings(tcp))
    }

    fn address(&self, mut address: ConnectionAddr) -> Result<ConnectionAddr, StoreError> {
        if let Some(path) = &self.unix_socket {
            if path.as_os_str().is_empty() {
                return Err(wrong("unix_socket", "must not be empty"));
            }
            return Ok(ConnectionAddr::Unix(path.clone()));
        }
        if (self.host.is_some() || self.port.is_some()) && matches!(address, ConnectionAddr::Unix(_)) {
            address = ConnectionAddr::Tcp("localhost".to_owned(), DEFAULT_PORT);
        }
        if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } = &mut address {
            *host = self.host.clone().unwrap_or(std::mem::take(host));
            *port = self.port.unwrap_or(*port);
            if host.is_empty() {
                return Err(wrong("host", "must not be empty"));
            }
            if *port == 0 {
                return Err(wrong("port", "must not be 0"));
            }
        }
        Ok(address)
    }

    pub(super) fn sentinels(&self) -> Result<Option<Arc<Sentinels>>, StoreError> {
        let Some((master, urls)) = &self.sentinel else { return Ok(None) };
        if master.is_empty() {
            return Err(wrong("sentinel", "the name of the master must not be empty"));
        }
        if urls.is_empty() {
            return Err(wrong("sentinel", "needs the URL of at least one Sentinel"));
        }
        let nodes = urls.iter().map(|url| {
            let info = parse("sentinel", url)?;
            // Whether there is TLS is up to their URL; the certificates are those of the servers.
            #[cfg(any(feature = "tls-native-tls", feature = "tls-rustls"))]
            let info = {
                let address = self.tls.apply_certificates(info.addr().clone())?;
                info.set_addr(address)
            };
            Ok(info)
        });
        let nodes = nodes.collect::<Result<_, StoreError>>()?;
        Ok(Some(Arc::new(Sentinels { master: master.clone(), nodes, first: 0.into() })))
    }

    /// The first option that is set and says how connections are made.
    fn describes_connections(&self) -> Option<&'static str> {
        let set = [
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("unix_socket", self.unix_socket.is_some()),
            ("database", self.database.is_some()),
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("credentials", self.credentials.is_some()),
            ("protocol", self.protocol.is_some()),
            #[cfg(any(feature = "tls-native-tls", feature = "tls-rustls"))]
            ("tls", self.tls.is_set()),
            ("sentinel", self.sentinel.is_some()),
            ("cluster", self.cluster.is_some()),
        ];
        set.into_iter().find(|(_, is_set)| *is_set).map(|(field, _)| field)
    }

    pub(super) fn check(&self, info: &ConnectionInfo, nodes: &[ConnectionInfo]) -> Result<(), StoreError> {
        let settings = info.redis_settings();
        if settings.db() < 0 {
            return Err(wrong("database", "must not be negative"));
        }
        if settings.username().is_some() && settings.password().is_none() && self.credentials.is_none() {
            return Err(wrong("username", "needs a password, or a callback for credentials"));
        }
        if let Server::Client(_, Some(_)) = self.server
            && let Some(field) = self.describes_connections()
        {
            return Err(wrong(field, "cannot be set besides a pool, whose connections are made already"));
        }
        if self.cluster.is_some() {
            if nodes.is_empty() {
                return Err(wrong("cluster", "needs the URL of at least one node"));
            }
            if self.sentinel.is_some() {
                return Err(wrong("cluster", "a cluster has no Sentinels: set one of the two"));
            }
            if settings.db() != 0 {
                return Err(wrong("database", "a cluster has only database 0"));
            }
            if matches!(info.addr(), ConnectionAddr::Unix(_)) {
                return Err(wrong("cluster", "cannot be reached by a Unix socket"));
            }
        }
        Ok(())
    }
}

pub(super) fn parse(field: &str, url: &str) -> Result<ConnectionInfo, StoreError> {
    // The driver's messages do not repeat the URL, which may hold a password.
    url.into_connection_info().map_err(|error| {
        let example = "expected redis://, rediss:// or unix:// as in redis://user:password@localhost:6379/0, \
                       with special characters of user and password percent-encoded";
        wrong(field, format!("{error}; {example}"))
    })
}
