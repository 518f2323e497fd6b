use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::cluster::Cluster;
use crate::connect::Connector;
use crate::error::Failure;
use crate::injected::InjectedPool;
use crate::pool::Pool;
use crate::session::Session;

/// The connections of a store: to one server, or to all nodes of a cluster.
pub(crate) enum Connections {
    One { connector: Arc<Connector>, pool: Pool },
    Injected(Box<InjectedPool>),
    Cluster(Arc<Cluster>),
}

impl Connections {
    /// Reads something on a connection to the server that has this key. It may be read again, on another one.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        deadline: Instant,
        work: impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.run(key, deadline, true, work)
    }

    /// The same for what writes: it is done again only where nothing was sent, or the server has refused it.
    pub(crate) fn write<T>(
        &self,
        key: &str,
        deadline: Instant,
        work: impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.run(key, deadline, false, work)
    }

    fn run<T>(
        &self,
        key: &str,
        deadline: Instant,
        is_read: bool,
        mut work: impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match self {
            Self::One { pool, .. } => pool.run(deadline, is_read, &mut work),
            Self::Injected(pool) => pool.run(deadline, is_read, &mut work),
            Self::Cluster(cluster) => cluster.run(key, deadline, is_read, &mut work),
        }
    }

    /// Whether one transaction can have all keys of this prefix.
    pub(crate) fn are_together(&self, prefix: &str) -> bool {
        match self {
            Self::One { .. } | Self::Injected(_) => true,
            Self::Cluster(_) => crate::cluster::hash_tag(prefix).is_some(),
        }
    }
}

/// Several writes one after the other. Of what has happened before, a failure takes nothing back.
pub(crate) struct Pieces<'a> {
    connections: &'a Connections,
    deadline: Instant,
    has_written: bool,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(connections: &'a Connections, deadline: Instant) -> Self {
        Self { connections, deadline, has_written: false }
    }

    pub(crate) fn read<T>(
        &self,
        key: &str,
        work: impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.connections.read(key, self.deadline, work).map_err(|failure| self.in_part(failure))
    }

    pub(crate) fn write<T>(
        &mut self,
        key: &str,
        work: impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let written = self.connections.write(key, self.deadline, work);
        let written = written.map_err(|failure| self.in_part(failure))?;
        self.has_written = true;
        Ok(written)
    }

    fn in_part(&self, failure: Failure) -> Failure {
        if self.has_written { Failure::InPart(Box::new(failure)) } else { failure }
    }
}

/// Where the data is, without a secret.
impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One { connector, .. } => connector.fmt(f),
            Self::Injected(pool) => pool.connector.fmt(f),
            Self::Cluster(cluster) => cluster.fmt(f),
        }
    }
}
