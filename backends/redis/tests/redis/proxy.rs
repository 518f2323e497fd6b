//! Between a store and its server: slows down, delays and cuts.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) requests: Arc<Way>,
    pub(crate) replies: Arc<Way>,
    is_over: Arc<AtomicBool>,
}

/// One of the two directions.
pub(crate) struct Way {
    /// How many bytes go at once.
    chunk: AtomicUsize,
    /// The milliseconds before each of them.
    pause: AtomicU64,
    /// After so many bytes the connection is closed.
    allowed: AtomicUsize,
}

impl Proxy {
    pub(crate) fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let (requests, replies) = (Arc::new(Way::open()), Arc::new(Way::open()));
        let proxy = Self { port: listener.local_addr().unwrap().port(), requests, replies, is_over };
        let (requests, replies) = (Arc::clone(&proxy.requests), Arc::clone(&proxy.replies));
        let is_over = Arc::clone(&proxy.is_over);
        thread::spawn(move || {
            for client in listener.incoming().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", port)));
                let Ok(server) = server else { continue };
                [&client, &server].iter().for_each(|stream| stream.set_nodelay(true).unwrap());
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (requests, replies) = (Arc::clone(&requests), Arc::clone(&replies));
                thread::spawn(move || requests.forward(from, to));
                thread::spawn(move || replies.forward(server, client));
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.requests.cut_after(0);
        self.replies.cut_after(0);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Way {
    fn open() -> Self {
        let (chunk, allowed) = (AtomicUsize::new(65536), AtomicUsize::new(usize::MAX));
        Self { chunk, pause: AtomicU64::new(0), allowed }
    }

    /// So many bytes, each time after so many milliseconds.
    pub(crate) fn slow_down(&self, bytes: usize, milliseconds: u64) {
        self.chunk.store(bytes, Ordering::Relaxed);
        self.pause.store(milliseconds, Ordering::Relaxed);
    }

    /// As fast as it can, and whole.
    pub(crate) fn open_up(&self) {
        self.slow_down(65536, 0);
        self.cut_after(usize::MAX);
    }

    pub(crate) fn cut_after(&self, bytes: usize) {
        self.allowed.store(bytes, Ordering::Relaxed);
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 65536];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let left = self.allowed.load(Ordering::Relaxed);
            let mut rest = &buffer[..read.min(left)];
            if left != usize::MAX {
                self.allowed.fetch_sub(rest.len(), Ordering::Relaxed);
            }
            let is_cut = rest.len() < read;
            while !rest.is_empty() {
                thread::sleep(Duration::from_millis(self.pause.load(Ordering::Relaxed)));
                let (now, later) = rest.split_at(rest.len().min(self.chunk.load(Ordering::Relaxed)));
                rest = later;
                if to.write_all(now).is_err() {
                    return;
                }
            }
            if is_cut {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}
