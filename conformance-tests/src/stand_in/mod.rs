//! A stand-in of the LaunchDarkly service that a test drives.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, Item, Kind};

mod answer;
mod environment;
mod http;

pub use answer::Answer;
use environment::Environment;
pub use http::Request;

/// How long the methods that wait do so before they panic.
const PATIENCE: Duration = Duration::from_secs(60);

/// A small server that answers as LaunchDarkly does: server-sent events on `/all`, polls on `/sdk/latest-all`
/// with an `ETag`, and events on `/bulk` and `/diagnostic`, which it throws away.
///
/// [`next`](Self::next) and [`always`](Self::always) have it answer otherwise, and
/// [`send_raw`](Self::send_raw) sends any bytes to the streams that are open. It speaks plain HTTP on a free
/// port of this machine, and sends no heartbeats unless told to. Dropping it ends every connection.
pub struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    environment: Environment,
    next: VecDeque<Answer>,
    always: Option<Answer>,
    requests: Vec<Request>,
    connections: BTreeMap<u64, TcpStream>,
    streams: BTreeMap<u64, Sender<Piece>>,
    accepted: u64,
    is_over: bool,
}

/// What a stream is told to do.
enum Piece {
    Bytes(Arc<[u8]>),
    End,
}

impl StandIn {
    /// Starts it with an environment that has no flags.
    ///
    /// # Errors
    ///
    /// When the system gives no port.
    pub fn start() -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts it at this address, as a service that comes back where it was.
    ///
    /// # Errors
    ///
    /// When the address is not free.
    pub fn start_at(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let accepting = Arc::clone(&shared);
        thread::Builder::new().name("stand-in".to_owned()).spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, for streaming, polling and events alike.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves this environment from now on, and sends it to every stream.
    pub fn init(&self, all_data: &AllData) {
        let mut state = self.shared.lock();
        state.environment.init(all_data);
        let put = environment::put(&state.environment);
        state.send(put);
    }

    /// Changes an item, and tells every stream.
    pub fn upsert(&self, kind: &Kind, key: &str, item: &Item) {
        let mut state = self.shared.lock();
        state.environment.upsert(kind, key, item);
        state.send(environment::patch(kind, key, item));
    }

    /// Deletes an item, and tells every stream.
    ///
    /// # Panics
    ///
    /// When no item can have that version.
    pub fn delete(&self, kind: &Kind, key: &str, version: u64) {
        let tombstone = Item::tombstone(key, version).unwrap_or_else(|error| panic!("{error}"));
        let mut state = self.shared.lock();
        state.environment.upsert(kind, key, &tombstone);
        state.send(environment::delete(kind, key, version));
    }

    /// Sends a comment to every stream, as LaunchDarkly does every three minutes.
    pub fn heartbeat(&self) {
        self.send_raw(*b":\n");
    }

    /// Sends an event of any name to every stream.
    pub fn send(&self, event: &str, data: &str) {
        self.send_raw(environment::event(event, data));
    }

    /// Sends these bytes to every stream, in a piece of their own.
    pub fn send_raw(&self, bytes: impl Into<Arc<[u8]>>) {
        self.shared.lock().send(bytes);
    }

    /// Ends every stream properly, as the service does from time to time.
    pub fn end_streams(&self) {
        for stream in self.shared.lock().streams.values() {
            let _ = stream.send(Piece::End);
        }
    }

    /// Cuts every connection.
    pub fn cut_connections(&self) {
        self.shared.lock().cut();
    }

    /// Has the next request answered so, whatever it asks for. Several are used up one after the other.
    pub fn next(&self, answer: Answer) {
        self.shared.lock().next.push_back(answer);
    }

    /// Has every request answered so from now on; by [`Answer::Service`] all is well again.
    pub fn always(&self, answer: Answer) {
        self.shared.lock().always = Some(answer);
    }

    /// Every request that has come in.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// Waits until that many requests have come in, and returns all there are.
    ///
    /// # Panics
    ///
    /// When they do not come within a minute.
    pub fn wait_for_requests(&self, count: usize) -> Vec<Request> {
        let what = format!("{count} requests");
        self.shared.wait_until(&what, |state| state.requests.len() >= count).requests.clone()
    }

    /// Waits until exactly that many streams are open.
    ///
    /// # Panics
    ///
    /// When that does not happen within a minute.
    pub fn wait_for_streams(&self, count: usize) {
        drop(self.shared.wait_until(&format!("{count} streams"), |state| state.streams.len() == count));
    }

    /// Waits until exactly that many connections are open.
    ///
    /// # Panics
    ///
    /// When that does not happen within a minute.
    pub fn wait_for_connections(&self, count: usize) {
        let what = format!("{count} connections");
        drop(self.shared.wait_until(&what, |state| state.connections.len() == count));
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        state.cut();
        drop(state);
        // Wakes the thread that accepts, which then sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StandIn({})", self.address)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics while it drives the stand-in has failed for a better reason than this.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the lock, and tells those who wait that something has changed.
    fn changed(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.changed.notify_all();
    }

    fn wait_until(&self, what: &str, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        while !condition(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}");
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }
}

impl State {
    fn send(&self, bytes: impl Into<Arc<[u8]>>) {
        let bytes = bytes.into();
        for stream in self.streams.values() {
            // Fails when its client has just gone.
            let _ = stream.send(Piece::Bytes(Arc::clone(&bytes)));
        }
    }

    fn cut(&mut self) {
        for connection in self.connections.values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for socket in listener.incoming() {
        let mut state = shared.lock();
        if state.is_over {
            return;
        }
        let Ok(socket) = socket else { continue };
        let Ok(handle) = socket.try_clone() else { continue };
        let number = state.accepted;
        state.accepted += 1;
        state.connections.insert(number, handle);
        shared.changed(state);
        let connection = Connection { number, socket, shared: Arc::clone(shared) };
        thread::spawn(move || connection.serve());
    }
}

/// A client's connection, on a thread of its own.
struct Connection {
    number: u64,
    socket: TcpStream,
    shared: Arc<Shared>,
}

impl Connection {
    fn serve(self) {
        // An error is one of the connection, whose end is all that there is to do about it.
        let _ = self.answer_all();
        let _ = self.socket.shutdown(Shutdown::Both);
        let mut state = self.shared.lock();
        state.streams.remove(&self.number);
        state.connections.remove(&self.number);
        self.shared.changed(state);
    }

    fn answer_all(&self) -> io::Result<()> {
        self.socket.set_nodelay(true)?;
        let mut reader = BufReader::new(self.socket.try_clone()?);
        while let Some(request) = Request::read(&mut reader)? {
            let mut state = self.shared.lock();
            state.requests.push(request.clone());
            let answer = state.next.pop_front().or_else(|| state.always.clone());
            self.shared.changed(state);
            if !self.answer(&request, answer.unwrap_or(Answer::Service), &mut reader)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the connection can take another request.
    fn answer(
        &self,
        request: &Request,
        answer: Answer,
        reader: &mut BufReader<TcpStream>,
    ) -> io::Result<bool> {
        match answer {
            Answer::Service => return self.serve_request(request, reader),
            Answer::Status(status) => self.write(&http::response(status, &[], b""))?,
            Answer::Redirect(status, location) => {
                self.write(&http::response(status, &[("Location", &location)], b""))?;
            }
            Answer::Body(body) => self.write(&http::response(200, &[], &body))?,
            Answer::Encoded(encoding, body) => {
                self.write(&http::response(200, &[("Content-Encoding", &encoding)], &body))?;
            }
            Answer::Stream(bytes) => return self.stream(reader, |_| bytes).map(|()| false),
            Answer::Raw(bytes) => return self.write(&bytes).map(|()| false),
            Answer::CutOff(bytes) => {
                let whole = http::response(200, &[], &[bytes.clone(), bytes.clone()].concat());
                return self.write(&whole[..whole.len() - bytes.len()]).map(|()| false);
            }
            Answer::Silence => return wait_for_the_end(reader).map(|()| false),
            Answer::HangUp => return Ok(false),
            Answer::Late(delay, answer) => {
                thread::sleep(delay);
                return self.answer(request, *answer, reader);
            }
        }
        Ok(true)
    }

    fn serve_request(&self, request: &Request, reader: &mut BufReader<TcpStream>) -> io::Result<bool> {
        match request.route() {
            "/all" => return self.stream(reader, environment::put).map(|()| false),
            "/sdk/latest-all" => self.poll(request)?,
            "/bulk" | "/diagnostic" => self.write(&http::response(202, &[], b""))?,
            _ => self.write(&http::response(404, &[], b""))?,
        }
        Ok(true)
    }

    fn poll(&self, request: &Request) -> io::Result<()> {
        let state = self.shared.lock();
        let (etag, json) = (state.environment.etag(), state.environment.json());
        drop(state);
        let headers = [("ETag", etag.as_str()), ("Content-Type", "application/json")];
        if request.header("if-none-match") == Some(&etag) {
            self.write(&http::response(304, &headers[..1], b""))
        } else {
            self.write(&http::response(200, &headers, json.as_bytes()))
        }
    }

    /// Streams until the client goes, or the test ends it.
    fn stream(
        &self,
        reader: &mut BufReader<TcpStream>,
        first: impl FnOnce(&Environment) -> Vec<u8>,
    ) -> io::Result<()> {
        self.write(&http::stream_head())?;
        let (sender, pieces) = channel();
        // Under one lock, so that no change falls between what it begins with and what it is told.
        let mut state = self.shared.lock();
        let _ = sender.send(Piece::Bytes(first(&state.environment).into()));
        state.streams.insert(self.number, sender);
        self.shared.changed(state);
        let mut socket = self.socket.try_clone()?;
        thread::spawn(move || {
            for piece in pieces {
                let written = match piece {
                    Piece::Bytes(bytes) if bytes.is_empty() => Ok(()),
                    Piece::Bytes(bytes) => http::write_chunk(&mut socket, &bytes),
                    Piece::End => {
                        http::write_chunk(&mut socket, b"").and_then(|()| socket.shutdown(Shutdown::Both))
                    }
                };
                if written.is_err() {
                    break;
                }
            }
        });
        wait_for_the_end(reader)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.socket).write_all(bytes)
    }
}

/// Waits until the client closes the connection, or somebody cuts it.
fn wait_for_the_end(reader: &mut BufReader<TcpStream>) -> io::Result<()> {
    io::copy(reader, &mut io::sink()).map(drop)
}
