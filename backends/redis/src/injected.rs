//! A pool that the program has already, and shares with the store.

use std::error::Error;
use std::net::TcpListener;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Client, Connection, ConnectionAddr, IntoConnectionInfo};

use crate::connect::{Connector, silent};
use crate::error::Failure;
use crate::session::Session;

/// Takes a connection out of the pool, within this time. It goes back when it is dropped.
pub(crate) type TakeOut = dyn Fn(Duration) -> Result<Box<dyn DerefMut<Target = Connection>>, Box<dyn Error + Send + Sync>>
    + Send
    + Sync;

pub(crate) struct InjectedPool {
    pub(crate) connector: Arc<Connector>,
    pub(crate) take_out: Arc<TakeOut>,
    /// With which its connections go back, whatever time the last call had left.
    pub(crate) timeout: Duration,
}

impl InjectedPool {
    pub(crate) fn run<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let password = self.connector.info.redis_settings().password();
        let taken = (self.take_out)(left);
        let mut connection = taken.map_err(|error| Failure::of_pool(&*error, password))?;
        // Whoever had it last may have set anything.
        let mut waits_for = Duration::ZERO;
        let mut session = Session::new(&mut connection, &mut waits_for, deadline);
        let result = work(&mut session);
        let is_ready = session.can_go_on(&result)
            && connection.set_read_timeout(Some(self.timeout)).is_ok()
            && connection.set_write_timeout(Some(self.timeout)).is_ok();
        if !is_ready {
            match closed_connection() {
                Ok(closed) => **connection = closed,
                // Better one place less in the pool than half a command in front of somebody else's.
                Err(_) => std::mem::forget(connection),
            }
        }
        result
    }
}

/// A connection that knows that it is closed, to be left in the place of one that is out of step: a pool asks
/// for that, and the driver has no other way to say so.
fn closed_connection() -> redis::RedisResult<Connection> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let info = ConnectionAddr::Tcp(address.ip().to_string(), address.port()).into_connection_info()?;
    let mut connection = Client::open(silent(info))?.get_connection()?;
    drop(listener.accept()?);
    // Finds the end.
    let _ = connection.recv_response();
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use redis::ConnectionLike;

    use super::*;

    /// A pool that asks its connections whether they are open drops this one.
    #[test]
    fn a_closed_connection_says_so() {
        assert!(!closed_connection().unwrap().is_open());
    }
}
