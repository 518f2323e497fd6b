use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::{Client, Connection, ConnectionAddr, ConnectionInfo, ProtocolVersion};

use crate::credentials::{Credentials, CredentialsCallback};
use crate::error::Failure;

/// Makes connections: knows whom to ask for the address, and whom for the password.
pub(crate) struct Connector {
    /// What is the same for all: the database, the protocol, the user. The address is that of the server, or
    /// with Sentinel and Cluster an example of one, since it says whether there is TLS, and which.
    pub(crate) info: ConnectionInfo,
    pub(crate) credentials: Option<Arc<CredentialsCallback>>,
    /// Of one attempt.
    pub(crate) timeout: Duration,
    pub(crate) sentinels: Option<Arc<Sentinels>>,
}

impl Connector {
    /// A connection to the server, or to the master that the Sentinels know now.
    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        let deadline = Instant::now() + self.timeout;
        match &self.sentinels {
            None => self.connect_to(self.info.addr().clone(), deadline),
            Some(sentinels) => {
                let (host, port) = sentinels.find_master(deadline)?;
                let mut master = self.connect_to(at(self.info.addr(), &host, port), deadline)?;
                // Sentinels may know the old one for some seconds. A user that may not ask finds out with
                // its first write.
                let role = redis::cmd("ROLE").query::<Vec<redis::Value>>(&mut master).unwrap_or_default();
                match role.first() {
                    Some(redis::Value::BulkString(role)) if role != b"master" => {
                        Err(Failure::NotConnected(format!("{host}:{port} is not a master, or not any more")))
                    }
                    _ => Ok(master),
                }
            }
        }
    }

    /// A connection to this server, which has all the time that is left.
    pub(crate) fn connect_to(
        &self,
        address: ConnectionAddr,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        let shown = address.to_string();
        let mut settings = self.info.redis_settings().clone();
        if let Some(credentials) = &self.credentials {
            let Credentials { username, password } = credentials()
                .map_err(|error| Failure::NotConnected(format!("the callback for credentials: {error}")))?;
            settings = settings.set_password(password);
            if let Some(username) = username {
                settings = settings.set_username(username);
            }
        }
        let database = settings.db();
        let info = self.info.clone().set_addr(address).set_redis_settings(settings.clone().set_db(0));
        let connected = connect(info, deadline).and_then(|mut connection| {
            // Not by the driver: it waits for each reply anew when one has not come in time. For database 0 it
            // is there to know that the server answers, so what it answers does not matter.
            match redis::cmd("SELECT").arg(database).exec(&mut connection) {
                Err(error) if database != 0 || error.is_io_error() => Err(error),
                _ => Ok(connection),
            }
        });
        connected.map_err(|error| Failure::connect(shown, error, settings.password()))
    }

    /// One that makes connections which can be told of changes: only RESP3 has messages for that.
    pub(crate) fn with_resp3(&self) -> Self {
        let Self { info, credentials, timeout, sentinels } = self;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.clone().set_redis_settings(settings);
        let (credentials, sentinels) = (credentials.clone(), sentinels.clone());
        Self { info, credentials, timeout: *timeout, sentinels }
    }

    /// The address of another server that is reached in the same way.
    pub(crate) fn address(&self, host: &str, port: u16) -> ConnectionAddr {
        at(self.info.addr(), host, port)
    }
}

fn connect(info: ConnectionInfo, deadline: Instant) -> redis::RedisResult<Connection> {
    let info = silent(info);
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let connection = Client::open(info)?.get_connection_with_timeout(left)?;
    // The driver takes them back. Whoever uses the connection sets its own; this is for what follows here.
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    connection.set_read_timeout(Some(left))?;
    connection.set_write_timeout(Some(left))?;
    Ok(connection)
}

/// Without the two commands by which the driver introduces itself, and which servers before 7.2 refuse.
pub(crate) fn silent(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    info.set_redis_settings(settings)
}

fn at(example: &ConnectionAddr, host: &str, port: u16) -> ConnectionAddr {
    match example {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    }
}

/// The processes that watch over a master and its replicas.
///
/// Not those of the redis crate: its synchronous ones connect without any timeout.
pub(crate) struct Sentinels {
    pub(crate) master: String,
    pub(crate) nodes: Vec<ConnectionInfo>,
    /// The one that answered last is asked first.
    pub(crate) first: AtomicUsize,
}

impl Sentinels {
    fn find_master(&self, deadline: Instant) -> Result<(String, u16), Failure> {
        let mut failure = None;
        let (first, count) = (self.first.load(Ordering::Relaxed), self.nodes.len());
        for n in 0..count {
            let index = (first + n) % count;
            // A part of the time, so that one that does not answer leaves some for the others.
            let left = deadline.saturating_duration_since(Instant::now());
            let own_deadline = Instant::now() + left / u32::try_from(count - n + 1).unwrap_or(u32::MAX);
            match self.ask(&self.nodes[index], own_deadline) {
                Ok(master) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(master);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or(Failure::NotConnected("there are no sentinels".to_owned())))
    }

    fn ask(&self, node: &ConnectionInfo, deadline: Instant) -> Result<(String, u16), Failure> {
        let shown = format!("the sentinel {}", node.addr());
        let failed = |error| Failure::connect(&shown, error, node.redis_settings().password());
        let mut sentinel = connect(node.clone(), deadline).map_err(failed)?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let master: Option<(String, u16)> = question.query(&mut sentinel).map_err(failed)?;
        master.ok_or_else(|| Failure::NotConnected(format!("{shown} knows no master {}", self.master)))
    }
}

/// Where the data is, without a secret: `localhost:6379/0`, `sentinel mymaster`.
impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sentinels {
            Some(sentinels) => write!(f, "sentinel {}/{}", sentinels.master, database(&self.info)),
            None => write!(f, "{}/{}", self.info.addr(), database(&self.info)),
        }
    }
}

fn database(info: &ConnectionInfo) -> i64 {
    info.redis_settings().db()
}
