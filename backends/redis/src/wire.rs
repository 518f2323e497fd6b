use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use redis::{Parser, Value};

use crate::error::Failure;
use crate::socket::Stream;

/// Commands go out on it, and replies come in, each before the deadline of the operation.
pub(crate) trait Wire {
    /// Sends commands that have so many replies.
    fn send(&mut self, commands: &[u8], replies: usize, deadline: Instant) -> Result<(), Failure>;

    /// The next reply, or a message that no command has asked for.
    fn receive(&mut self, deadline: Instant) -> Result<Value, Failure>;

    /// Whether the server is known to accept MULTI from this user.
    fn takes_transactions(&mut self) -> &mut bool;
}

/// A connection to a server, which knows what was sent on it and what has not been answered.
pub(crate) struct Link {
    stream: Box<dyn Stream>,
    parser: Parser,
    /// How many replies are still to come. Those to an earlier operation, which has not waited for them, are
    /// received before the next one: a server that stops for a second costs no connection.
    owed: usize,
    /// Closed, out of step, or twice silent.
    is_broken: bool,
    takes_transactions: bool,
}

impl Link {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, parser: Parser::new(), owed: 0, is_broken: false, takes_transactions: false }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether an answer is still to come for which nobody has waited.
    pub(crate) fn is_owing(&self) -> bool {
        self.owed > 0
    }

    /// Whether nobody has closed it while it was idle: there would be an end to read, or last words.
    pub(crate) fn is_open(&mut self) -> bool {
        // One system call, and for most calls the only one.
        if self.owed > 0 || self.stream.socket().is_silent() {
            return true;
        }
        if self.stream.socket().set_waiting(false).is_err() {
            return false;
        }
        // What comes by TLS may be about TLS.
        let read = self.stream.read(&mut [0]);
        let is_silent = read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        is_silent && self.stream.socket().set_waiting(true).is_ok()
    }
}

impl Wire for Link {
    fn send(&mut self, commands: &[u8], replies: usize, deadline: Instant) -> Result<(), Failure> {
        self.stream.socket().begin(deadline);
        while self.owed > 0 {
            if let Err(failure) = self.receive(deadline) {
                self.is_broken = true;
                return Err(failure.before_it_was_sent());
            }
        }
        self.stream.write_all(commands).and_then(|()| self.stream.flush()).map_err(|error| {
            self.is_broken = true;
            Failure::Lost { error: error.into(), was_sent: self.stream.socket().has_sent() }
        })?;
        self.owed = replies;
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> Result<Value, Failure> {
        self.stream.socket().begin(deadline);
        match self.parser.parse_value(&mut self.stream) {
            Ok(message @ Value::Push { .. }) => Ok(message),
            Ok(reply) => {
                self.owed = self.owed.saturating_sub(1);
                Ok(reply)
            }
            Err(error) => {
                self.is_broken |= !error.is_timeout();
                Err(Failure::Lost { error, was_sent: true })
            }
        }
    }

    fn takes_transactions(&mut self) -> &mut bool {
        &mut self.takes_transactions
    }
}
