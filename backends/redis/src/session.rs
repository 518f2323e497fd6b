use std::time::{Duration, Instant};

use redis::{Cmd, Connection, FromRedisValue, Pipeline, RedisError, RedisResult, Value};

use crate::error::Failure;

/// By how much a call may miss its deadline.
const NEAR_ENOUGH: Duration = Duration::from_millis(2);

/// A connection for as long as a call takes.
pub(crate) struct Session<'a> {
    connection: &'a mut Connection,
    /// How long the socket waits now.
    waits_for: &'a mut Duration,
    deadline: Instant,
    /// A WATCH of which nobody knows whether it still holds: the next transaction would not be executed.
    is_watching: bool,
    /// The node of a cluster that is being given the key answers only who asks for it.
    pub(crate) is_asking: bool,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        connection: &'a mut Connection,
        waits_for: &'a mut Duration,
        deadline: Instant,
    ) -> Self {
        Self { connection, waits_for, deadline, is_watching: false, is_asking: false }
    }

    /// Whether the connection can be used again after this. What has been left in the middle of something
    /// cannot.
    pub(crate) fn can_go_on<T>(&self, result: &Result<T, Failure>) -> bool {
        !self.is_watching && result.as_ref().err().is_none_or(Failure::spares_the_connection)
    }

    pub(crate) fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Failure> {
        self.ask_for_it()?;
        self.ask(|connection| command.query(connection))
    }

    /// Executes a transaction: all of its commands without an error, or an error.
    pub(crate) fn execute(&mut self, transaction: &Pipeline) -> Result<(), Failure> {
        for answer in self.transact(transaction)? {
            answer.extract_error()?;
        }
        Ok(())
    }

    /// Executes a transaction, and returns what each of its commands answered, which may be an error: the
    /// server executes the others all the same.
    pub(crate) fn transact(&mut self, transaction: &Pipeline) -> Result<Vec<Value>, Failure> {
        let mut replies = self.exchange(&transaction.get_packed_pipeline(), transaction.len() + 2)?;
        self.is_watching = false;
        let executed = replies.pop();
        // A command that was refused makes EXEC fail, and says why.
        for reply in replies {
            reply.extract_error()?;
        }
        match executed {
            Some(Value::Array(answers)) => Ok(answers),
            Some(Value::ServerError(error)) => Err(RedisError::from(error).into()),
            // Nil: something that was watched has changed.
            _ => Err(Failure::NotExecuted),
        }
    }

    /// Watches a key, and gets a field of the hash under it in the same round trip.
    pub(crate) fn watch(&mut self, key: &str, field: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.is_watching = true;
        let mut commands = redis::pipe();
        commands.cmd("WATCH").arg(key).cmd("HGET").arg(key).arg(field);
        let mut value = None;
        for reply in self.exchange(&commands.get_packed_pipeline(), commands.len())? {
            value = match reply.extract_error()? {
                Value::BulkString(stored) => Some(stored),
                _ => None,
            };
        }
        Ok(value)
    }

    /// Sends several commands and receives their replies, errors included.
    ///
    /// The driver's own way goes on to wait for each further reply when one has not come in time.
    fn exchange(&mut self, commands: &[u8], count: usize) -> Result<Vec<Value>, Failure> {
        self.ask_for_it()?;
        self.ask(|connection| connection.send_packed_command(commands))?;
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            match self.ask(Connection::recv_response)? {
                Value::Push { .. } => {}
                reply => replies.push(reply),
            }
        }
        Ok(replies)
    }

    pub(crate) fn unwatch(&mut self) -> Result<(), Failure> {
        self.query::<()>(&redis::cmd("UNWATCH"))?;
        self.is_watching = false;
        Ok(())
    }

    fn ask_for_it(&mut self) -> Result<(), Failure> {
        if self.is_asking { self.ask(|connection| redis::cmd("ASKING").exec(connection)) } else { Ok(()) }
    }

    fn ask<T>(&mut self, ask: impl FnOnce(&mut Connection) -> RedisResult<T>) -> Result<T, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Late);
        }
        // Two system calls, a tenth of what a short command takes, for most calls begin with the same time.
        if left.abs_diff(*self.waits_for) > NEAR_ENOUGH {
            self.connection.set_read_timeout(Some(left))?;
            self.connection.set_write_timeout(Some(left))?;
            *self.waits_for = left;
        }
        Ok(ask(self.connection)?)
    }
}
