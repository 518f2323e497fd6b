//! A small HTTP proxy in front of the server, for faults that the server does not produce, and to count
//! requests.
//!
//! HTTP/1.1 on the loopback device, a thread for each connection, as much of the protocol as the SDK and
//! DynamoDB Local speak.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What a client asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Such as `GetItem`.
    pub operation: String,
    /// The body as it came.
    pub text: Vec<u8>,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// How many requests came before it.
    pub number: usize,
    /// How many of its operation came before it.
    pub nth: usize,
    /// How many were being answered when it came, itself included.
    pub beside: usize,
}

impl Request {
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.text).unwrap()
    }
}

/// What the proxy does with a request.
#[derive(Debug, Clone)]
pub enum Do {
    Forward,
    /// Forwards it after this time.
    Delay(Duration),
    /// Forwards it and closes the connection in place of the answer.
    LoseAnswer,
    /// Closes the connection.
    Close,
    /// Never answers.
    Hang,
    /// Answers itself, with this status and text.
    Answer(u16, String),
    /// Forwards a BatchWriteItem without the writes of which this is true, given the request's number and
    /// theirs, and answers that they are unprocessed.
    Unprocessed(fn(usize, usize) -> bool),
    /// Forwards so many writes of a BatchWriteItem, and answers that the others are unprocessed. Whatever else it is,
    /// it is forwarded.
    ProcessFirst(usize),
}

impl Do {
    /// Answers with an error of DynamoDB's.
    pub fn fail(status: u16, code: &str) -> Self {
        let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "as the test wants"});
        Self::Answer(status, body.to_string())
    }

    pub fn throttle() -> Self {
        Self::fail(400, "ProvisionedThroughputExceededException")
    }
}

type Rule = dyn Fn(&Request) -> Do + Send + Sync;

struct Shared {
    upstream: String,
    rule: Box<Rule>,
    requests: Mutex<Vec<Request>>,
    seen: AtomicUsize,
    seen_of: Mutex<BTreeMap<String, usize>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
    closed: AtomicBool,
    is_metered: AtomicBool,
    units: Mutex<Units>,
    /// How often all connections were forgotten, and what comes of those that were.
    forgotten: AtomicUsize,
    of_forgotten: Mutex<Do>,
}

/// What the server says that its answers cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Units {
    pub read: f64,
    pub written: f64,
}

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Forwards to this endpoint as the rule says.
    pub fn start(endpoint: &str, rule: impl Fn(&Request) -> Do + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: endpoint.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned(),
            rule: Box::new(rule),
            requests: Mutex::default(),
            seen: AtomicUsize::new(0),
            seen_of: Mutex::default(),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            is_metered: AtomicBool::new(false),
            units: Mutex::default(),
            forgotten: AtomicUsize::new(0),
            of_forgotten: Mutex::new(Do::Hang),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if serving.closed.load(Ordering::Acquire) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // An error ends this connection only: the client's or the rule's doing.
                thread::spawn(move || client.and_then(|client| serve(client, &serving)));
            }
        });
        Self { address, shared }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests since the last call, in the order in which they came.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }

    /// The operations of all requests since the last call.
    pub fn take_operations(&self) -> Vec<String> {
        self.take().into_iter().map(|request| request.operation).collect()
    }

    /// From now on has the server say with each answer what it costs.
    pub fn meter(&self) {
        self.shared.is_metered.store(true, Ordering::Release);
    }

    /// What all answers have cost since the last call.
    pub fn take_units(&self) -> Units {
        std::mem::take(&mut self.shared.units.lock().unwrap())
    }

    /// Forgets the connections that there are, as a NAT does: with `Do::Hang` what is sent on them is lost, and neither
    /// end is told; with `Do::Close` they break when something is sent.
    pub fn forget(&self, of_forgotten: Do) {
        *self.shared.of_forgotten.lock().unwrap() = of_forgotten;
        self.shared.forgotten.fetch_add(1, Ordering::AcqRel);
    }

    /// How many requests were ever answered at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_running.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut from_client = BufReader::new(client.try_clone()?);
    let mut to_client = client;
    let mut upstream: Option<BufReader<TcpStream>> = None;
    let forgotten = shared.forgotten.load(Ordering::Acquire);
    while let Some((head, body)) = read_message(&mut from_client)? {
        let request = {
            let mut requests = shared.requests.lock().unwrap();
            let running = shared.running.fetch_add(1, Ordering::AcqRel) + 1;
            shared.most_running.fetch_max(running, Ordering::AcqRel);
            let number = shared.seen.fetch_add(1, Ordering::AcqRel);
            let request = parse(&head, &body);
            let mut seen = shared.seen_of.lock().unwrap();
            let nth = seen.entry(request.operation.clone()).or_default();
            let request = Request { number, nth: *nth, beside: running, ..request };
            *nth += 1;
            requests.push(request.clone());
            request
        };
        let is_forgotten = shared.forgotten.load(Ordering::Acquire) != forgotten;
        let action = match is_forgotten {
            true => shared.of_forgotten.lock().unwrap().clone(),
            false => (shared.rule)(&request),
        };
        let hang = matches!(action, Do::Hang);
        let done = act(action, &request, &head, body, shared, &mut upstream);
        shared.running.fetch_sub(1, Ordering::AcqRel);
        match done? {
            Some(answer) => to_client.write_all(&answer)?,
            None => {
                if hang {
                    // Until the client gives up.
                    let _ = from_client.read(&mut [0]);
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The answer, or `None` if there is none.
fn act(
    action: Do,
    request: &Request,
    head: &[String],
    body: Vec<u8>,
    shared: &Shared,
    upstream: &mut Option<BufReader<TcpStream>>,
) -> std::io::Result<Option<Vec<u8>>> {
    match action {
        Do::Forward => forward(head, &body, shared, upstream).map(Some),
        Do::Delay(time) => {
            thread::sleep(time);
            forward(head, &body, shared, upstream).map(Some)
        }
        Do::LoseAnswer => forward(head, &body, shared, upstream).map(|_| None),
        Do::Close | Do::Hang => Ok(None),
        Do::Answer(status, text) => Ok(Some(answer(status, &text))),
        Do::ProcessFirst(_) if request.operation != "BatchWriteItem" => {
            forward(head, &body, shared, upstream).map(Some)
        }
        Do::Unprocessed(_) | Do::ProcessFirst(_) => {
            let is_unprocessed = |request: usize, n: usize| match action {
                Do::Unprocessed(is_unprocessed) => is_unprocessed(request, n),
                Do::ProcessFirst(count) => n >= count,
                _ => false,
            };
            let body = request.body();
            let (table, writes) = body["RequestItems"].as_object().unwrap().iter().next().unwrap();
            let writes = writes.as_array().unwrap().iter().cloned().enumerate();
            let (unprocessed, processed): (Vec<_>, Vec<_>) =
                writes.partition(|(n, _)| is_unprocessed(request.number, *n));
            let only = |writes: Vec<(usize, Value)>| -> Value {
                let writes: Vec<Value> = writes.into_iter().map(|(_, write)| write).collect();
                if writes.is_empty() { json!({}) } else { json!({ table.as_str(): writes }) }
            };
            if !processed.is_empty() {
                let body = json!({ "RequestItems": only(processed) }).to_string().into_bytes();
                let written = forward(head, &body, shared, upstream)?;
                if !written.starts_with(b"HTTP/1.1 200") {
                    return Ok(Some(written));
                }
            }
            Ok(Some(answer(200, &json!({ "UnprocessedItems": only(unprocessed) }).to_string())))
        }
    }
}

fn forward(
    head: &[String],
    body: &[u8],
    shared: &Shared,
    upstream: &mut Option<BufReader<TcpStream>>,
) -> std::io::Result<Vec<u8>> {
    if upstream.is_none() {
        let connection = TcpStream::connect(&shared.upstream)?;
        connection.set_nodelay(true)?;
        *upstream = Some(BufReader::new(connection));
    }
    let upstream = upstream.as_mut().unwrap();
    let is_metered = shared.is_metered.load(Ordering::Acquire);
    let body = if is_metered { &asking_for_units(body) } else { body };
    let mut sent = Vec::with_capacity(body.len() + 2048);
    for line in head.iter().filter(|line| !line.to_ascii_lowercase().starts_with("content-length:")) {
        sent.extend_from_slice(line.as_bytes());
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    sent.extend_from_slice(body);
    upstream.get_mut().write_all(&sent)?;
    let operation = parse(head, body).operation;
    let (head, body) = read_message(upstream)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    if is_metered {
        let mut units = shared.units.lock().unwrap();
        let of_operation = match &*operation {
            "Query" | "GetItem" => &mut units.read,
            _ => &mut units.written,
        };
        *of_operation += units_in(&body);
    }
    let mut answer = head.join("\r\n").into_bytes();
    answer.extend_from_slice(b"\r\n\r\n");
    answer.extend_from_slice(&body);
    Ok(answer)
}

fn asking_for_units(body: &[u8]) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    body["ReturnConsumedCapacity"] = "TOTAL".into();
    body.to_string().into_bytes()
}

/// Of one table or of a list of them.
fn units_in(answer: &[u8]) -> f64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let consumed = match &answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.clone(),
        table => vec![table.clone()],
    };
    consumed.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum()
}

fn answer(status: u16, text: &str) -> Vec<u8> {
    let length = text.len();
    format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n{text}"
    )
    .into_bytes()
}

/// Head and body of a request or an answer. `None` at the end of the connection.
pub fn read_message(from: &mut impl BufRead) -> std::io::Result<Option<(Vec<String>, Vec<u8>)>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        head.push(line.to_owned());
    }
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn parse(head: &[String], body: &[u8]) -> Request {
    let target = header(head, "x-amz-target").unwrap_or_default();
    let headers = head.iter().filter_map(|line| line.split_once(':'));
    Request {
        operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
        text: body.to_vec(),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
        number: 0,
        nth: 0,
        beside: 0,
    }
}
