//! What the options say together: whom to connect to, and how, or which of them cannot be so.

use std::sync::Arc;
use std::time::Duration;

use flagstore_core::StoreError;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::{DEFAULT_URL, RedisStoreBuilder, Server};
use crate::error::wrong;
use crate::sentinel::Sentinels;

const DEFAULT_PORT: u16 = 6379;

impl RedisStoreBuilder {
    /// What is the same for all connections, and the address of the server, or of one like it.
    pub(super) fn info(&self, nodes: &[ConnectionInfo]) -> Result<ConnectionInfo, StoreError> {
        let info = match (nodes.first(), &self.server) {
            (Some(node), _) => node.clone(),
            (None, None) => parse("url", DEFAULT_URL)?,
            (None, Some(Server::Url(url))) => parse("url", url)?,
            (None, Some(Server::Client(client, _))) => client.get_connection_info().clone(),
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
        let keepalive = |time| TcpKeepalive::new().with_time(time);
        let tcp = match &self.server {
            Some(Server::Client(client, _)) => client.get_connection_info().tcp_settings().clone(),
            // A command is sent whole, and should not wait for the answer to a part of it.
            _ => TcpSettings::default().set_nodelay(true).set_keepalive(keepalive(Duration::from_secs(60))),
        };
        let tcp = match self.keepalive {
            Some(time) => tcp.set_keepalive(keepalive(time)),
            None => tcp,
        };
        let address = self.tls.apply(self.address(info.addr().clone())?)?;
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
            self.tls.check(info.addr())?;
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
            ("client_name", self.client_name.is_some()),
            ("protocol", self.protocol.is_some()),
            ("tls", self.tls.is_set()),
            ("sentinel", self.sentinel.is_some()),
            ("cluster", self.cluster.is_some()),
            ("pool_size", self.pool_size.is_some()),
            ("connect_timeout", self.connect_timeout.is_some()),
            ("idle_timeout", self.idle_timeout.is_some()),
            ("max_lifetime", self.max_lifetime.is_some()),
            ("keepalive", self.keepalive.is_some()),
        ];
        first_set(set)
    }

    pub(super) fn check(&self, info: &ConnectionInfo, nodes: &[ConnectionInfo]) -> Result<(), StoreError> {
        let settings = info.redis_settings();
        if settings.db() < 0 {
            return Err(wrong("database", "must not be negative"));
        }
        if settings.username().is_some() && settings.password().is_none() && self.credentials.is_none() {
            return Err(wrong("username", "needs a password, or a callback for credentials"));
        }
        if let Some(Server::Client(_, Some(_))) = self.server
            && let Some(field) = self.describes_connections()
        {
            return Err(wrong(field, "cannot be set besides a pool, whose connections are made already"));
        }
        if self.client_name.as_ref().is_some_and(|name| name.is_empty() || name.contains(' ')) {
            return Err(wrong("client_name", "must not be empty, or have spaces"));
        }
        if self.sentinel.is_some() && self.cluster.is_none() {
            let set = [
                ("host", self.host.is_some()),
                ("port", self.port.is_some()),
                ("unix_socket", self.unix_socket.is_some()),
            ];
            if let Some(field) = first_set(set) {
                return Err(wrong(field, "cannot be set besides Sentinels, who say where the master is"));
            }
        }
        if self.cluster.is_some() {
            let set = [
                ("url", matches!(self.server, Some(Server::Url(_)))),
                ("client", matches!(self.server, Some(Server::Client(..)))),
                ("host", self.host.is_some()),
                ("port", self.port.is_some()),
                ("unix_socket", self.unix_socket.is_some()),
            ];
            if let Some(field) = first_set(set) {
                return Err(wrong(
                    field,
                    "cannot be set besides a cluster, whose nodes have URLs of their own",
                ));
            }
            if nodes.is_empty() {
                return Err(wrong("cluster", "needs the URL of at least one node"));
            }
            for node in nodes {
                self.tls.check(node.addr())?;
                let (own, first) = (node.redis_settings(), nodes[0].redis_settings());
                // Whether there is TLS, and one that accepts anybody.
                let tls = |node: &ConnectionInfo| match node.addr() {
                    ConnectionAddr::TcpTls { insecure, .. } => Some(*insecure),
                    _ => None,
                };
                let is_same = own.username() == first.username()
                    && own.password() == first.password()
                    && own.protocol() == first.protocol();
                if !is_same || own.db() != first.db() || tls(node) != tls(&nodes[0]) {
                    return Err(wrong("cluster", "the URLs of the nodes may differ in host and port only"));
                }
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

fn first_set<const N: usize>(options: [(&'static str, bool); N]) -> Option<&'static str> {
    options.into_iter().find(|(_, is_set)| *is_set).map(|(field, _)| field)
}

pub(super) fn parse(field: &str, url: &str) -> Result<ConnectionInfo, StoreError> {
    // The driver ignores parameters that it does not know.
    let (known, advice): (&[&str], _) = match url.starts_with("unix:") || url.contains("+unix:") {
        true => (&["db", "user", "pass", "protocol"], "unix:///path?db=1&user=...&pass=...&protocol=resp3"),
        false => {
            (&["protocol"], "rediss://user:password@localhost:6379/0?protocol=resp3, with TLS by the scheme")
        }
    };
    let parameters = url.split('#').next().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        if !known.contains(&name) {
            // Not by its name, which may be a password that holds a question mark.
            return Err(wrong(field, format!("has a parameter that is not known; write it as {advice}")));
        }
    }
    if url.contains('#') && !url.starts_with("rediss:") && !url.starts_with("valkeys:") {
        return Err(wrong(
            field,
            "has a fragment, behind a #, which only TLS knows; percent-encode it as %23",
        ));
    }
    // The driver's messages do not repeat the URL, which may hold a password.
    url.into_connection_info().map_err(|error| {
        let example = "expected redis://, rediss:// or unix:// as in redis://user:password@localhost:6379/0, \
                       with special characters of user and password percent-encoded";
        wrong(field, format!("{error}; {example}"))
    })
}
