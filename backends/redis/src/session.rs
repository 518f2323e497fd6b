use std::time::Instant;

use redis::{Cmd, FromRedisValue, Pipeline, Value};

use crate::error::Failure;
use crate::wire::Wire;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// A connection for as long as an operation takes.
pub(crate) struct Session<'a> {
    wire: &'a mut dyn Wire,
    deadline: Instant,
    /// A WATCH or MULTI whose end nobody has seen: the connection is of no use to others.
    is_in_between: bool,
    /// The node of a cluster that is being given the key answers only who asks for it.
    is_asking: bool,
}

impl<'a> Session<'a> {
    pub(crate) fn new(wire: &'a mut dyn Wire, deadline: Instant) -> Self {
        Self { wire, deadline, is_in_between: false, is_asking: false }
    }

    pub(crate) fn set_asking(&mut self, is_asking: bool) {
        self.is_asking = is_asking;
    }

    /// Whether the connection is left in the middle of something.
    pub(crate) fn is_in_between(&self) -> bool {
        self.is_in_between
    }

    pub(crate) fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Failure> {
        let reply = self.exchange(&command.get_packed_command(), 1)?.pop().unwrap_or(Value::Nil);
        T::from_redis_value(answer(reply)?).map_err(|error| Failure::Unexpected(error.to_string()))
    }

    /// Executes a transaction: all of its commands without an error, or an error.
    pub(crate) fn execute(&mut self, commands: &mut Pipeline) -> Result<(), Failure> {
        self.transact(commands)?.into_iter().try_for_each(|reply| answer(reply).map(drop))
    }

    /// Executes a transaction, and returns what each of its commands answered, which may be an error: the
    /// server executes the others all the same.
    pub(crate) fn transact(&mut self, commands: &mut Pipeline) -> Result<Vec<Value>, Failure> {
        let transaction = commands.atomic().get_packed_pipeline();
        let count = commands.len() + 2;
        let is_known = *self.wire.takes_transactions();
        let mut replies = match transaction.strip_prefix(MULTI) {
            // Without MULTI the rest would be executed command by command, so the first time it goes alone.
            Some(rest) if !is_known => {
                let was_in_between = std::mem::replace(&mut self.is_in_between, true);
                let mut replies = self.exchange(MULTI, 1).map_err(Failure::before_it_was_sent)?;
                if let Some(Value::ServerError(_)) = replies.first() {
                    self.is_in_between = was_in_between;
                    return Err(Failure::no_transaction(replies));
                }
                replies.append(&mut self.exchange_as_it_is(rest, count - 1)?);
                replies
            }
            _ => self.exchange(&transaction, count)?,
        };
        self.is_in_between = false;
        *self.wire.takes_transactions() = !matches!(replies.first(), Some(Value::ServerError(_)));
        if !*self.wire.takes_transactions() {
            // A permission that was taken away on an open connection.
            return Err(Failure::InPart(Box::new(Failure::no_transaction(replies))));
        }
        let executed = replies.pop();
        // A command that was refused makes EXEC fail, and says why.
        for reply in replies {
            answer(reply)?;
        }
        match answer(executed.unwrap_or(Value::Nil))? {
            Value::Array(answers) => Ok(answers),
            // Nil: something that was watched has changed.
            _ => Err(Failure::NotExecuted),
        }
    }

    /// Watches a key, and reads a text in the same round trip.
    pub(crate) fn watch(&mut self, key: &str, read: &Cmd) -> Result<Option<Vec<u8>>, Failure> {
        self.is_in_between = true;
        let mut commands = redis::cmd("WATCH").arg(key).get_packed_command();
        if self.is_asking {
            commands.extend_from_slice(ASKING);
        }
        read.write_packed_command(&mut commands);
        let mut replies = self.exchange(&commands, 2 + usize::from(self.is_asking))?;
        let stored = replies.pop();
        for reply in replies {
            answer(reply)?;
        }
        match answer(stored.unwrap_or(Value::Nil))? {
            Value::BulkString(stored) => Ok(Some(stored)),
            _ => Ok(None),
        }
    }

    pub(crate) fn unwatch(&mut self) -> Result<(), Failure> {
        self.query::<()>(&redis::cmd("UNWATCH"))?;
        self.is_in_between = false;
        Ok(())
    }

    /// Sends commands and receives their replies, errors included.
    fn exchange(&mut self, commands: &[u8], count: usize) -> Result<Vec<Value>, Failure> {
        if !self.is_asking {
            return self.exchange_as_it_is(commands, count);
        }
        // It counts for one command, or for one transaction.
        let mut replies = self.exchange_as_it_is(&[ASKING, commands].concat(), count + 1)?;
        replies.remove(0);
        Ok(replies)
    }

    fn exchange_as_it_is(&mut self, commands: &[u8], count: usize) -> Result<Vec<Value>, Failure> {
        self.send(commands, count)?;
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            replies.push(self.receive()?);
        }
        Ok(replies)
    }

    pub(crate) fn send(&mut self, commands: &[u8], count: usize) -> Result<(), Failure> {
        self.wire.send(commands, count, self.deadline)
    }

    /// The next reply, which may be an error.
    pub(crate) fn receive(&mut self) -> Result<Value, Failure> {
        loop {
            match self.wire.receive(self.deadline)? {
                Value::Push { .. } => {}
                reply => return Ok(reply),
            }
        }
    }
}

/// The reply, if it is no error.
pub(crate) fn answer(reply: Value) -> Result<Value, Failure> {
    match reply {
        Value::ServerError(error) => Err(Failure::Answer(error.into())),
        reply => Ok(reply),
    }
}
