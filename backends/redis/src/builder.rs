mod target;

use std::error::Error;
use std::fmt;
use std::ops::{DerefMut, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flagstore_core::StoreError;
use redis::{Client, Connection, ConnectionAddr, ProtocolVersion};
use target::parse;

use crate::cluster::Cluster;
use crate::connect::Connector;
use crate::connections::Connections;
use crate::credentials::{Credentials, Source};
use crate::error::{STORE, wrong};
use crate::injected::{InjectedPool, TakeOut};
use crate::pool::{Limits, Pool};
use crate::schema::Keys;
use crate::store::RedisStore;
use crate::tls::Tls;

const DEFAULT_URL: &str = "redis://localhost:6379";

/// Linux counts in seconds, up to 32 767.
const KEEPALIVES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(9 * 60 * 60);

/// Configures a [`RedisStore`].
///
/// ```
/// use std::time::Duration;
/// use flagstore_redis::RedisStore;
///
/// let store = RedisStore::builder()
///     .url("redis://redis.internal:6380/2")
///     .username("flags")
///     .password(std::env::var("REDIS_PASSWORD").unwrap_or("secret".to_owned()))
///     .prefix("production")
///     .timeout(Duration::from_millis(200))
///     .build()?;
/// assert_eq!(store.to_string(), "Redis(redis.internal:6380/2, production)");
/// # Ok::<(), flagstore_core::StoreError>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RedisStoreBuilder {
    server: Option<Server>,
    host: Option<String>,
    port: Option<u16>,
    unix_socket: Option<PathBuf>,
    database: Option<i64>,
    username: Option<String>,
    password: Option<String>,
    credentials: Option<Arc<Source>>,
    client_name: Option<String>,
    protocol: Option<ProtocolVersion>,
    tls: Tls,
    sentinel: Option<(String, Vec<String>)>,
    cluster: Option<Vec<String>>,
    prefix: String,
    pool_size: Option<usize>,
    timeout: Duration,
    connect_timeout: Option<Duration>,
    init_timeout: Duration,
    idle_timeout: Option<Duration>,
    max_lifetime: Option<Duration>,
    keepalive: Option<Duration>,
    trusts_features: bool,
}

#[derive(Clone)]
enum Server {
    Url(String),
    /// Perhaps with a pool of its connections.
    Client(Box<Client>, Option<Arc<TakeOut>>),
}

impl Default for RedisStoreBuilder {
    fn default() -> Self {
        Self {
            server: None,
            host: None,
            port: None,
            unix_socket: None,
            database: None,
            username: None,
            password: None,
            credentials: None,
            client_name: None,
            protocol: None,
            tls: Tls::default(),
            sentinel: None,
            cluster: None,
            prefix: String::new(),
            pool_size: None,
            timeout: Duration::from_secs(1),
            connect_timeout: None,
            init_timeout: Duration::from_secs(10),
            idle_timeout: None,
            max_lifetime: None,
            keepalive: None,
            trusts_features: false,
        }
    }
}

impl RedisStoreBuilder {
    /// Sets the server: `redis://[user][:password@]host[:port][/database]`, `rediss://` with TLS, or
    /// `unix:///path[?db=1&user=...&pass=...]`; `?protocol=resp3` chooses RESP3. Each part has an option of
    /// its own, which beats the URL. Defaults to `redis://localhost:6379`.
    pub fn url(self, url: impl Into<String>) -> Self {
        Self { server: Some(Server::Url(url.into())), ..self }
    }

    /// Sets the server by a client of the `redis` crate, in place of a URL: what it says of the
    /// server, the user, TLS and TCP goes into the store's own connections. The other options beat it. Defaults to none.
    pub fn client(self, client: Client) -> Self {
        Self { server: Some(Server::Client(Box::new(client), None)), ..self }
    }

    /// Sets a pool of the program's own, which is never closed, in place of the store's: `take_out` takes a
    /// connection out of it, for one call, and has to return within the time that it is given. With r2d2, which
    /// looks at a connection without a deadline before it hands it out, that takes `test_on_check_out(false)`.
    ///
    /// A connection goes back with read and write timeouts of [`timeout`](Self::timeout), and closed or replaced
    /// by a new one if it cannot be used again. Its sockets are the driver's, so the deadline of a call holds for
    /// each read and write: a reply that comes byte by byte is not cut off. The client has to be the one that the
    /// pool was made with: [`RedisStore::changes`] needs a connection of its own. No option that describes a
    /// connection or a pool can be set besides. Defaults to none.
    ///
    /// ```
    /// use flagstore_redis::{RedisStore, redis};
    ///
    /// let client = redis::Client::open("redis://redis.internal/2")?;
    /// let pool = r2d2::Pool::builder().test_on_check_out(false).build_unchecked(client.clone());
    /// let store = RedisStore::builder().pool(client, move |timeout| pool.get_timeout(timeout)).build()?;
    /// assert_eq!(store.to_string(), "Redis(redis.internal:6379/2, launchdarkly)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pool<C, E>(
        self,
        client: Client,
        take_out: impl Fn(Duration) -> Result<C, E> + Send + Sync + 'static,
    ) -> Self
    where
        C: DerefMut<Target = Connection> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let take_out: Arc<TakeOut> = Arc::new(move |timeout| match take_out(timeout) {
            Ok(connection) => Ok(Box::new(connection)),
            Err(error) => Err(error.into()),
        });
        Self { server: Some(Server::Client(Box::new(client), Some(take_out))), ..self }
    }

    /// Sets the host name or IP address. Defaults to the URL's.
    pub fn host(self, host: impl Into<String>) -> Self {
        Self { host: Some(host.into()), ..self }
    }

    /// Sets the port. Defaults to the URL's.
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Sets the path of a Unix socket, which takes the place of host and port. Defaults to none.
    pub fn unix_socket(self, path: impl Into<PathBuf>) -> Self {
        Self { unix_socket: Some(path.into()), ..self }
    }

    /// Sets the number of the logical database. Defaults to the URL's, or 0.
    pub fn database(self, database: i64) -> Self {
        Self { database: Some(database), ..self }
    }

    /// Sets the ACL user. Defaults to the URL's, or the default user.
    pub fn username(self, username: impl Into<String>) -> Self {
        Self { username: Some(username.into()), ..self }
    }

    /// Sets the password. It is not shown anywhere. Defaults to the URL's, or none.
    pub fn password(self, password: impl Into<String>) -> Self {
        Self { password: Some(password.into()), ..self }
    }

    /// Sets a callback that is asked for user and password at each new connection, for tokens that expire
    /// (IAM). It may block for as long as it likes: callers wait until their own deadline and no longer, and
    /// [`connect_timeout`](Self::connect_timeout) begins when it has answered. It is not called while it runs:
    /// connections that are made meanwhile use the same answer. It beats a password. Defaults to none.
    pub fn credentials(
        self,
        credentials: impl Fn() -> Result<Credentials, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        Self { credentials: Some(Arc::new(Source::new(Box::new(credentials)))), ..self }
    }

    /// Sets the name by which `CLIENT LIST` shows the connections, without spaces. Defaults to none.
    pub fn client_name(self, client_name: impl Into<String>) -> Self {
        Self { client_name: Some(client_name.into()), ..self }
    }

    /// Sets the protocol, RESP2 or RESP3. RESP3 needs Redis 6, and is no faster here. Defaults to the URL's,
    /// or RESP2.
    pub fn protocol(self, protocol: ProtocolVersion) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    /// Sets whether connections use TLS. Defaults to whether the URL says `rediss`, and to yes where one of
    /// the certificates is set. Those to Sentinels do if their own URLs say so.
    #[cfg(any(feature = "tls-native-tls", feature = "tls-rustls"))]
    pub fn tls(self, tls: bool) -> Self {
        Self { tls: Tls { is_wanted: Some(tls), ..self.tls }, ..self }
    }

    /// Sets the certificates, in PEM format, of the authorities that may have signed the server's. Defaults
    /// to those that the TLS library trusts.
    #[cfg(any(feature = "tls-native-tls", feature = "tls-rustls"))]
    pub fn ca_certificate(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { tls: Tls { ca_certificate: Some(pem.into()), ..self.tls }, ..self }
    }

    /// Sets the certificate, with its chain, and the private key by which the server knows this client, both
    /// in PEM format. Defaults to none.
    #[cfg(any(feature = "tls-native-tls", feature = "tls-rustls"))]
    pub fn client_certificate(self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let client_certificate = Some((certificate.into(), key.into()));
        Self { tls: Tls { client_certificate, ..self.tls }, ..self }
    }

    /// Sets the name of a master, and the URLs of the Sentinels that know where it is, which may have users
    /// and passwords of their own. They are asked for each new connection. Of the URL only the rest counts then,
    /// and host and port cannot be set. Defaults to none.
    pub fn sentinel<U: Into<String>>(
        self,
        master: impl Into<String>,
        sentinels: impl IntoIterator<Item = U>,
    ) -> Self {
        Self { sentinel: Some((master.into(), sentinels.into_iter().map(Into::into).collect())), ..self }
    }

    /// Sets the URLs of some nodes of a Redis Cluster, from which the others are found. They also say user,
    /// password and TLS, the same for all, in place of the URL. Defaults to none.
    pub fn cluster<U: Into<String>>(self, nodes: impl IntoIterator<Item = U>) -> Self {
        Self { cluster: Some(nodes.into_iter().map(Into::into).collect()), ..self }
    }

    /// Sets the prefix of all keys, by which environments share a database. It is the one that the Relay
    /// Proxy or the SDKs use for this environment. Defaults to `launchdarkly`, and so does an empty one. In a
    /// cluster a prefix in braces, such as `{production}`, keeps all keys together, so that `init` is atomic.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets how many connections there may be (in a cluster: to each node), and so how many calls run at the
    /// same time; more wait for one of them. They are opened when they are first needed. Defaults to 16.
    pub fn pool_size(self, pool_size: usize) -> Self {
        Self { pool_size: Some(pool_size), ..self }
    }

    /// Sets the deadline of every call but `init`: of the wait for a connection, of making one, and of
    /// sending and receiving, all together. Defaults to 1 second.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets how long an attempt to connect may take, with TLS and authentication. A name with several addresses
    /// has them tried in turn, each for its share of the time. A call waits no longer than its own deadline for
    /// it. Defaults to 1 second.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout: Some(connect_timeout), ..self }
    }

    /// Sets the deadline of `init`, which writes all the data, and in a cluster without a hash tag that of a patch of
    /// Big Segments. Defaults to 10 seconds.
    pub fn init_timeout(self, init_timeout: Duration) -> Self {
        Self { init_timeout, ..self }
    }

    /// Sets after which time without use a connection is not used again, since a server or a firewall may
    /// have forgotten it by then. Before, it is looked at whether it was closed. Defaults to 1 minute.
    pub fn idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout: Some(idle_timeout), ..self }
    }

    /// Sets after which time a connection is closed, between two uses and some up to a tenth earlier, so that
    /// they do not end together. It is for services that end connections themselves, such as ElastiCache with
    /// IAM after 12 hours. Defaults to none.
    pub fn max_lifetime(self, max_lifetime: Duration) -> Self {
        Self { max_lifetime: Some(max_lifetime), ..self }
    }

    /// Sets after which silence TCP asks the other end whether it is still there, so that a firewall remembers
    /// the connection. From a second to nine hours. Defaults to 1 minute, and for a `client` to what that one says.
    pub fn keepalive(self, keepalive: Duration) -> Self {
        Self { keepalive: Some(keepalive), ..self }
    }

    /// Sets whether a store that has flags counts as initialized, although the mark of it is missing, as in
    /// databases that the Python SDK before 9.15 has written. Defaults to no.
    pub fn flags_mean_initialized(self, flags_mean_initialized: bool) -> Self {
        Self { trusts_features: flags_mean_initialized, ..self }
    }

    /// Makes the store. Nothing is connected yet, so the server need not be there.
    ///
    /// # Errors
    ///
    /// [`Config`](flagstore_core::ErrorKind::Config) names the field that has to change.
    pub fn build(self) -> Result<RedisStore, StoreError> {
        for (field, timeout) in [
            ("timeout", Some(self.timeout)),
            ("connect_timeout", self.connect_timeout),
            ("init_timeout", Some(self.init_timeout)),
            ("idle_timeout", self.idle_timeout),
            ("max_lifetime", self.max_lifetime),
        ] {
            timeout.map_or(Ok(()), |timeout| StoreError::check_timeout(STORE, field, timeout))?;
        }
        if self.keepalive.is_some_and(|keepalive| !KEEPALIVES.contains(&keepalive)) {
            return Err(wrong("keepalive", "must be from a second to nine hours, as systems have it"));
        }
        if self.pool_size == Some(0) {
            return Err(wrong("pool_size", "must be at least 1"));
        }
        let nodes = self.cluster.iter().flatten().map(|url| parse("cluster", url));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let info = self.info(&nodes)?;
        self.check(&info, &nodes)?;
        let connector = Arc::new(Connector {
            info,
            certificates: Arc::new(self.tls.certificates()?),
            sentinels: self.sentinels()?,
            credentials: self.credentials,
            name: self.client_name,
            timeout: self.connect_timeout.unwrap_or(Duration::from_secs(1)),
        });
        let limits = Limits {
            size: self.pool_size.unwrap_or(16),
            idle: self.idle_timeout.unwrap_or(Duration::from_secs(60)),
            lifetime: self.max_lifetime,
        };
        let keys = Keys::new(self.prefix);
        let connections = match self.server {
            _ if self.cluster.is_some() => {
                let seeds = nodes.iter().map(|node| match node.addr() {
                    ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                        connector.address(host, *port)
                    }
                    other => other.clone(),
                });
                let seeds = seeds.collect();
                Connections::Cluster(Arc::new(Cluster::new(connector, seeds, limits)))
            }
            Some(Server::Client(client, Some(take_out))) => {
                Connections::Injected(Box::new(InjectedPool::new(connector, *client, take_out, self.timeout)))
            }
            _ => {
                let its_own = Arc::clone(&connector);
                let connect = Arc::new(move || its_own.connect());
                let pool = Pool::new(connector.to_string(), connect, limits);
                Connections::One { connector, pool }
            }
        };
        if !connections.are_together(keys.prefix()) {
            tracing::info!(
                prefix = keys.prefix(),
                "redis: init is not atomic: the prefix has no hash tag, so a cluster keeps its keys apart; \
                 {{{}}} would be atomic",
                keys.prefix()
            );
        }
        Ok(RedisStore::new(connections, keys, self.timeout, self.init_timeout, self.trusts_features))
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URLs, the client, the password and the certificates: they are secrets, or hold some.
        f.debug_struct("RedisStoreBuilder")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("unix_socket", &self.unix_socket)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("prefix", &self.prefix)
            .field("pool_size", &self.pool_size)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("init_timeout", &self.init_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_lifetime", &self.max_lifetime)
            .field("keepalive", &self.keepalive)
            .field("client_name", &self.client_name)
            .finish_non_exhaustive()
    }
}
