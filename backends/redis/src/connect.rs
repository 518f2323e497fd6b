use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{ConnectionAddr, ConnectionInfo, Value};

use crate::credentials::{Credentials, Source, message_of};
use crate::error::Failure;
use crate::handshake::open;
use crate::sentinel::Sentinels;
use crate::session::Session;
use crate::tls::Certificates;
use crate::wire::Link;

/// What connecting comes to, also where it panics, as rustls does where no crypto provider is installed.
pub(crate) fn caught<T>(connect: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(connect))
        .unwrap_or_else(|panic| Err(Failure::NotConnected(format!("it panicked: {}", message_of(&*panic)))))
}

/// Makes connections: knows whom to ask for the address, and whom for the password.
pub(crate) struct Connector {
    /// What is the same for all: the database, the protocol, the user. The address is that of the server, or
    /// with Sentinel and Cluster an example of one, since it says whether there is TLS, and which.
    pub(crate) info: ConnectionInfo,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) credentials: Option<Arc<Source>>,
    pub(crate) name: Option<String>,
    /// Of one attempt.
    pub(crate) timeout: Duration,
    pub(crate) sentinels: Option<Arc<Sentinels>>,
}

impl Connector {
    /// A connection to the server, or to the master that the Sentinels know now.
    pub(crate) fn connect(&self) -> Result<Link, Failure> {
        let Some(sentinels) = &self.sentinels else { return self.connect_to(self.info.addr()) };
        let (host, port) = sentinels.find_master(&self.certificates, self.timeout)?;
        let mut master = self.connect_to(&self.address(&host, port))?;
        // Sentinels may know the old one for some seconds. A user that may not ask finds out with its first
        // write.
        let mut session = Session::new(&mut master, Instant::now() + self.timeout);
        match session.query::<Vec<Value>>(&redis::cmd("ROLE")) {
            Ok(role) if role.first().is_some_and(|role| *role != Value::BulkString(b"master".to_vec())) => {
                Err(Failure::NotConnected(format!("{host}:{port} is not a master, or not any more")))
            }
            Ok(_) | Err(Failure::Answer(_)) => Ok(master),
            Err(failure) => Err(failure),
        }
    }

    /// A connection to this server. The callback for credentials has a clock of its own.
    pub(crate) fn connect_to(&self, address: &ConnectionAddr) -> Result<Link, Failure> {
        let mut settings = self.info.redis_settings().clone();
        if let Some(source) = &self.credentials {
            let Credentials { username, password } = source.ask().map_err(Failure::NotConnected)?;
            settings = settings.set_password(password);
            if let Some(username) = username {
                settings = settings.set_username(username);
            }
        }
        let info = self.info.clone().set_addr(address.clone()).set_redis_settings(settings);
        open(&info, &self.certificates, self.name.as_deref(), self.timeout)
    }

    /// The address of another server that is reached in the same way.
    pub(crate) fn address(&self, host: &str, port: u16) -> ConnectionAddr {
        match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => {
                ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: *insecure, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host.to_owned(), port),
        }
    }
}

/// Where the data is, without a secret: `localhost:6379/0`, `sentinel mymaster`.
impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.info.redis_settings().db();
        match &self.sentinels {
            Some(sentinels) => write!(f, "sentinel {}/{database}", sentinels.master),
            None => write!(f, "{}/{database}", self.info.addr()),
        }
    }
}
