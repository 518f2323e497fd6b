//! A socket of which every system call ends at the deadline of the operation that it is part of.
//!
//! Not the sockets of the redis crate: its timeouts are those of one system call, so a reply that comes byte by
//! byte lasts for ever (2 KB at a byte each 100 ms took 226 s of a timeout of 300 ms), its handshake by native-tls
//! has no timeout at all, and it lets nobody look whether an idle connection was closed.

use std::io::{self, ErrorKind, Read, Write};
#[cfg(unix)]
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use redis::ConnectionAddr;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::SockRef;

/// By how much a call may miss its deadline.
const NEAR_ENOUGH: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) struct Socket {
    /// Or one of a Unix socket: what is done here is the same for both.
    stream: TcpStream,
    deadline: Instant,
    /// How long the socket waits now; for ever, if that was never set.
    waits_for: Option<Duration>,
    has_sent: bool,
}

/// A socket, or TLS over one.
pub(crate) trait Stream: Read + Write + Send {
    fn socket(&mut self) -> &mut Socket;
}

impl Stream for Socket {
    fn socket(&mut self) -> &mut Socket {
        self
    }
}

/// Where a server can be reached: a name may stand for several addresses.
pub(crate) enum Place {
    Tcp(Vec<SocketAddr>),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

impl Place {
    /// Takes as long as the resolver takes.
    pub(crate) fn find(address: &ConnectionAddr) -> io::Result<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Ok(Self::Tcp((host.as_str(), *port).to_socket_addrs()?.collect()))
            }
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Ok(Self::Unix(path.clone())),
            _ => Err(io::Error::new(ErrorKind::Unsupported, "this system has no such sockets")),
        }
    }

    pub(crate) fn connect(&self, settings: &TcpSettings, deadline: Instant) -> io::Result<Socket> {
        let stream = match self {
            Self::Tcp(addresses) => {
                let stream = connect_in_turn(addresses, deadline)?;
                stream.set_nodelay(settings.nodelay())?;
                if let Some(keepalive) = settings.keepalive() {
                    SockRef::from(&stream).set_tcp_keepalive(keepalive)?;
                }
                #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
                SockRef::from(&stream).set_tcp_user_timeout(settings.user_timeout())?;
                stream
            }
            #[cfg(unix)]
            Self::Unix(path) => {
                std::os::fd::OwnedFd::from(std::os::unix::net::UnixStream::connect(path)?).into()
            }
        };
        Ok(Socket { stream, deadline, waits_for: None, has_sent: false })
    }
}

/// One that swallows everything, such as that of a network which is not there, leaves a part of the time for
/// the others.
fn connect_in_turn(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for (n, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - n).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, share.max(NEAR_ENOUGH)) {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

impl Socket {
    /// What is done from now on has to be over at the deadline.
    pub(crate) fn begin(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.has_sent = false;
    }

    /// Whether anything was sent since then.
    pub(crate) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Whether it is known that nothing is there to be read, not even an end.
    #[cfg(unix)]
    pub(crate) fn is_silent(&self) -> bool {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let read = SockRef::from(&self.stream).recv_with_flags(&mut [MaybeUninit::uninit()], flags);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    #[cfg(not(unix))]
    pub(crate) fn is_silent(&self) -> bool {
        false
    }

    /// Whether it waits at all: else it has at once what is there.
    pub(crate) fn set_waiting(&mut self, is_waiting: bool) -> io::Result<()> {
        self.deadline = Instant::now() + self.waits_for.unwrap_or_default();
        self.stream.set_nonblocking(!is_waiting)
    }

    fn before_the_deadline<T>(
        &mut self,
        call: impl FnOnce(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        // Two system calls, a tenth of what a short command takes, for most calls begin with the same time.
        if self.waits_for.is_none_or(|waits_for| left.abs_diff(waits_for) > NEAR_ENOUGH) {
            self.stream.set_read_timeout(Some(left))?;
            self.stream.set_write_timeout(Some(left))?;
            self.waits_for = Some(left);
        }
        call(&mut self.stream)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.before_the_deadline(|stream| stream.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.before_the_deadline(|stream| stream.write(bytes))?;
        self.has_sent = true;
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use redis::io::tcp::socket2::{Domain, Socket, Type};

    use super::*;

    /// A deadline so near that nothing seems to have to be set.
    #[test]
    fn a_short_deadline_is_one_too() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::Tcp(vec![server.local_addr().unwrap()]);
        let mut socket = place.connect(&TcpSettings::default(), Instant::now() + NEAR_ENOUGH).unwrap();
        socket.begin(Instant::now() + NEAR_ENOUGH);
        assert!(socket.read(&mut [0]).is_err());
    }

    /// A black hole, as an address of a network that is not there, costs its share and no more.
    #[test]
    fn addresses_are_tried_in_turn() {
        let hole = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        hole.listen(0).unwrap();
        let address = hole.local_addr().unwrap().as_socket().unwrap();
        // Whoever comes after those that the kernel holds for it has no answer.
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100));
        let held: Vec<_> = std::iter::from_fn(|| connect().ok()).collect();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        let addresses = [address, server.local_addr().unwrap()];
        let stream = connect_in_turn(&addresses, deadline).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        assert!(Instant::now() < deadline && !held.is_empty());
    }
}
