//! The little of HTTP/1.1 that the stand-in speaks: enough to send every byte where a test wants it.

use std::io::{self, BufRead, BufWriter, Read, Write};
use std::time::Instant;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    /// The path with its query: `/all?filter=checkout`.
    pub path: String,
    /// When it had come in.
    pub at: Instant,
    headers: Vec<(String, String)>,
}

impl Request {
    /// The value of the header, whatever the case of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The path without its query.
    #[must_use]
    pub fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Reads the next one of a connection. `None` at its end.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            line.clear();
            from.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let request = Self { path, at: Instant::now(), headers };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        io::copy(&mut from.take(length), &mut io::sink())?;
        Ok(Some(request))
    }
}

/// A whole response.
pub(super) fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut response = head(status, headers);
    response.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
    response.extend(body);
    response
}

/// The head of a stream, whose bytes follow in [chunks](write_chunk). Nothing else comes on its connection.
pub(super) fn stream_head() -> Vec<u8> {
    let mut head = head(200, &[("Content-Type", "text/event-stream"), ("Connection", "close")]);
    head.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    head
}

/// Sends a piece of a stream. An empty one ends it.
pub(super) fn write_chunk(stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    // So that a short piece goes out as one packet.
    let mut stream = BufWriter::new(stream);
    write!(stream, "{:x}\r\n", bytes.len())?;
    stream.write_all(bytes)?;
    stream.write_all(b"\r\n")?;
    stream.flush()
}

fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} stand-in\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.into_bytes()
}
