use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::ConnectionInfo;

use crate::error::Failure;
use crate::handshake::open;
use crate::session::Session;
use crate::tls::Certificates;

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
    pub(crate) fn find_master(
        &self,
        certificates: &Certificates,
        time: Duration,
    ) -> Result<(String, u16), Failure> {
        let mut failure = Failure::NotConnected("there are no sentinels".to_owned());
        let (first, count) = (self.first.load(Ordering::Relaxed), self.nodes.len());
        for n in 0..count {
            let index = (first + n) % count;
            // A part of the time, so that one that does not answer leaves some for the others. What resolving its name
            // takes is not part of it.
            let share = time / u32::try_from(count + 1).unwrap_or(u32::MAX);
            match self.ask(&self.nodes[index], certificates, share) {
                Ok(master) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(master);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn ask(
        &self,
        node: &ConnectionInfo,
        certificates: &Certificates,
        time: Duration,
    ) -> Result<(String, u16), Failure> {
        let shown = format!("the sentinel {}", node.addr());
        let failed = |failure| Failure::connect(&shown, &failure, node.redis_settings().password());
        let mut sentinel = open(node, certificates, None, time)?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let master =
            Session::new(&mut sentinel, Instant::now() + time).query::<Option<(String, u16)>>(&question);
        let unknown = || Failure::NotConnected(format!("{shown} knows no master {}", self.master));
        master.map_err(failed)?.ok_or_else(unknown)
    }
}
