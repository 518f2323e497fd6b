use std::fmt;

use flagstore_core::{DecodeError, ErrorKind, StoreError};
use redis::{ErrorKind as Driver, RedisError, ServerErrorKind as Server};

/// The store's one-word name in errors.
pub(crate) const STORE: &str = "redis";

/// Why a call did not succeed, before it is known which call it was.
///
/// Cheap to clone, so that all who waited for one connection can be given its error.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// An answer, or none, to a command that was sent.
    #[error("{0}{advice}", advice = advice(.0))]
    Redis(#[from] RedisError),

    /// The connection could not be made, so no command was sent.
    #[error("cannot connect to {address}: {error}{advice}", advice = advice(.error))]
    Connect { address: String, error: RedisError },

    #[error("cannot connect: {0}")]
    NotConnected(String),

    #[error("no connection to {0} within the timeout")]
    StillConnecting(String),

    #[error("no connection was free within the timeout: others are using all of them")]
    NoConnection,

    #[error("the timeout was over before anything was sent")]
    Late,

    #[error("what is stored there is not an item: {0}")]
    NotAnItem(#[from] DecodeError),

    #[error("what is stored there is not UTF-8 text")]
    NotText,

    #[error("the server did not execute the transaction")]
    NotExecuted,

    #[error("others wrote the item again and again in the meantime; try again")]
    Raced,
}

impl Failure {
    /// What a caller of a reading operation can do about it.
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Redis(error) => classify(error),
            Self::Connect { .. }
            | Self::NotConnected(_)
            | Self::StillConnecting(_)
            | Self::NoConnection
            | Self::Late
            | Self::NotExecuted
            | Self::Raced => ErrorKind::Unavailable,
            Self::NotAnItem(_) | Self::NotText => ErrorKind::Corrupt,
        }
    }

    /// The failure as an error of this reading operation.
    pub(crate) fn during(self, operation: &'static str) -> StoreError {
        StoreError::new(self.kind(), STORE, operation, self)
    }

    /// The failure as an error of this writing operation. Without an answer, nobody knows whether the write
    /// happened, and of the kinds only `Timeout` says so.
    pub(crate) fn during_write(self, operation: &'static str) -> StoreError {
        let kind = if self.lost_the_answer() { ErrorKind::Timeout } else { self.kind() };
        StoreError::new(kind, STORE, operation, self)
    }

    fn lost_the_answer(&self) -> bool {
        matches!(self, Self::Redis(error) if matches!(error.kind(), Driver::Io | Driver::Parse))
    }

    /// Whether a connection can go on after it. Any other is closed.
    pub(crate) fn spares_the_connection(&self) -> bool {
        let in_step = match self {
            Self::Redis(error) => matches!(error.kind(), Driver::Server(_) | Driver::Extension),
            Self::NotAnItem(_) | Self::NotText | Self::NotExecuted | Self::Raced => true,
            // In the middle of several commands, so a WATCH may be left.
            Self::Late => false,
            Self::Connect { .. } | Self::NotConnected(_) | Self::StillConnecting(_) | Self::NoConnection => {
                false
            }
        };
        in_step && !self.concerns_the_server()
    }

    /// Whether all connections to that server are as good as lost: it is gone, is no master any more, or
    /// does not know the user any more.
    pub(crate) fn concerns_the_server(&self) -> bool {
        let Self::Redis(error) = self else { return false };
        // A transaction has an error for each of its commands.
        let answers = error.clone().into_server_errors().unwrap_or_default();
        matches!(error.kind(), Driver::Io | Driver::Parse)
            || answers.iter().any(|(_, answer)| {
                matches!(answer.code(), "READONLY" | "MASTERDOWN" | "NOAUTH" | "WRONGPASS")
            })
    }

    /// Whether the reason may be that the server runs no scripts for this user: the ACL forbids them, or a
    /// command in them, or it does not know the command.
    pub(crate) fn may_concern_scripts(&self) -> bool {
        self.is_server(Server::NoPerm) || self.is_server(Server::ResponseError)
    }

    pub(crate) fn is_server(&self, kind: Server) -> bool {
        matches!(self, Self::Redis(error) if error.kind() == Driver::Server(kind))
    }

    /// Where a node of a cluster says that the key is, and whether it is only on its way there.
    pub(crate) fn redirection(&self) -> Option<(String, Redirection)> {
        let Self::Redis(error) = self else { return None };
        let answers = error.clone().into_server_errors()?;
        answers.iter().find_map(|(_, answer)| {
            let redirection = match answer.kind()? {
                Server::Moved => Redirection::Moved,
                Server::Ask => Redirection::Ask,
                _ => return None,
            };
            // `3999 127.0.0.1:6381`
            Some((answer.details()?.split(' ').nth(1)?.to_owned(), redirection))
        })
    }

    /// The connection to this address failed, in words that do not repeat a secret: a server that does not
    /// know a command answers with all its arguments.
    pub(crate) fn connect(address: impl fmt::Display, error: RedisError, password: Option<&str>) -> Self {
        let address = address.to_string();
        if repeats(&error.to_string(), password) {
            Self::NotConnected(format!("{address} refused, in words that repeat the password"))
        } else {
            Self::Connect { address, error }
        }
    }

    /// A pool of the program's own had no connection, for a reason that may repeat what a server has said.
    pub(crate) fn of_pool(error: &dyn std::error::Error, password: Option<&str>) -> Self {
        let reason = error.to_string();
        if repeats(&reason, password) {
            Self::NotConnected("the pool says why, in words that repeat the password".to_owned())
        } else {
            Self::NotConnected(format!("the pool: {reason}"))
        }
    }
}

/// Whether a text shows the password.
fn repeats(text: &str, password: Option<&str>) -> bool {
    password.is_some_and(|secret| !secret.is_empty() && text.contains(secret))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redirection {
    Moved,
    Ask,
}

/// What a caller can do about an error of the driver.
pub(crate) fn classify(error: &RedisError) -> ErrorKind {
    match error.kind() {
        Driver::Io if error.is_timeout() => ErrorKind::Timeout,
        // Refused, reset, closed in the middle of a reply, TLS.
        Driver::Io => ErrorKind::Unavailable,
        // What answers is not a Redis server, or the connection is out of step.
        Driver::Parse => ErrorKind::Unavailable,
        // The user's or the password's turn to change, on one side or the other.
        Driver::AuthenticationFailed => ErrorKind::Unavailable,
        // A name that resolves to nothing, now.
        Driver::InvalidClientConfig => ErrorKind::Unavailable,
        Driver::Server(kind) => match kind {
            // Starting up, failing over, moving slots, without enough nodes.
            Server::BusyLoading
            | Server::ReadOnly
            | Server::MasterDown
            | Server::ClusterDown
            | Server::TryAgain
            | Server::Moved
            | Server::Ask => ErrorKind::Unavailable,
            // The transaction was refused as a whole, such as for want of memory.
            Server::ExecAbort => ErrorKind::Unavailable,
            // Somebody can give the user the permission.
            Server::NoPerm => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        },
        Driver::Extension => match error.code() {
            // Out of memory, a disk that cannot be written, too few replicas, somebody's endless script, and
            // a user who was removed.
            Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY" | "NOAUTH" | "WRONGPASS") => {
                ErrorKind::Unavailable
            }
            _ => ErrorKind::Other,
        },
        _ => ErrorKind::Other,
    }
}

/// What to do next, where that is clear.
fn advice(error: &RedisError) -> &'static str {
    match error.kind() {
        Driver::Io if error.is_timeout() => "; it took longer than the timeout",
        Driver::Io if error.is_connection_refusal() => "; check that the server runs at this address",
        Driver::AuthenticationFailed => "; check the user and the password",
        Driver::RESP3NotSupported => "; set the protocol to RESP2",
        Driver::Server(Server::ReadOnly) => "; this is a replica: connect to the master, or through Sentinel",
        Driver::Server(Server::NoPerm) => "; give the user the permission with ACL SETUSER",
        Driver::Server(Server::Moved | Server::CrossSlot) => "; this is a cluster: configure it as one",
        Driver::Extension => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => "; check the user and the password",
            Some("OOM") => "; raise maxmemory, or delete something else",
            Some("WRONGTYPE") => "; another application uses this key: give another prefix",
            _ => "",
        },
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// What the driver makes of this line of a server.
    fn answer(line: &str) -> RedisError {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
            Ok(redis::Value::ServerError(error)) => error.into(),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn io(kind: io::ErrorKind) -> RedisError {
        io::Error::from(kind).into()
    }

    /// Each error that `classify` names has the kind by which callers can act on it.
    #[test]
    fn every_named_error_has_its_kind() {
        use ErrorKind::{Other, Timeout, Unavailable};
        let table = [
            (io(io::ErrorKind::TimedOut), Timeout),
            (io(io::ErrorKind::WouldBlock), Timeout),
            (io(io::ErrorKind::ConnectionRefused), Unavailable),
            (io(io::ErrorKind::ConnectionReset), Unavailable),
            (io(io::ErrorKind::UnexpectedEof), Unavailable),
            (io(io::ErrorKind::BrokenPipe), Unavailable),
            ((Driver::Parse, "").into(), Unavailable),
            ((Driver::AuthenticationFailed, "").into(), Unavailable),
            ((Driver::InvalidClientConfig, "could not resolve").into(), Unavailable),
            ((Driver::UnexpectedReturnType, "").into(), Other),
            ((Driver::RESP3NotSupported, "").into(), Other),
            ((Driver::Client, "").into(), Other),
            (answer("LOADING Redis is loading the dataset in memory"), Unavailable),
            (answer("READONLY You can't write against a read only replica."), Unavailable),
            (answer("MASTERDOWN Link with MASTER is down"), Unavailable),
            (answer("CLUSTERDOWN Hash slot not served"), Unavailable),
            (answer("TRYAGAIN Multiple keys request during rehashing of slot"), Unavailable),
            (answer("MOVED 3999 127.0.0.1:6381"), Unavailable),
            (answer("ASK 3999 127.0.0.1:6381"), Unavailable),
            (answer("EXECABORT Transaction discarded because of previous errors."), Unavailable),
            (answer("NOPERM this user has no permissions to run the 'hset' command"), Unavailable),
            (answer("OOM command not allowed when used memory > 'maxmemory'."), Unavailable),
            (answer("MISCONF Redis is configured to save RDB snapshots"), Unavailable),
            (answer("NOREPLICAS Not enough good replicas to write."), Unavailable),
            (answer("BUSY Redis is busy running a script."), Unavailable),
            (answer("NOAUTH Authentication required."), Unavailable),
            (answer("WRONGPASS invalid username-password pair or user is disabled."), Unavailable),
            (answer("WRONGTYPE Operation against a key holding the wrong kind of value"), Other),
            (answer("CROSSSLOT Keys in request don't hash to the same slot"), Other),
            (answer("NOSCRIPT No matching script."), Other),
            (answer("ERR unknown command"), Other),
            (answer("WHATEVER comes next"), Other),
        ];
        for (error, kind) in table {
            assert_eq!(classify(&error), kind, "{error}");
        }
    }

    /// A write whose answer was lost may have happened, and says so; one that was never sent has not.
    #[test]
    fn a_write_without_an_answer_may_have_happened() {
        let lost = Failure::Redis(io(io::ErrorKind::UnexpectedEof));
        assert_eq!(lost.clone().during_write("upsert").kind(), ErrorKind::Timeout);
        assert_eq!(lost.during("get").kind(), ErrorKind::Unavailable);
        let refused = Failure::connect("localhost:1", io(io::ErrorKind::TimedOut), None);
        assert_eq!(refused.during_write("upsert").kind(), ErrorKind::Unavailable);
        let answered = Failure::Redis(answer("OOM command not allowed"));
        assert_eq!(answered.during_write("upsert").kind(), ErrorKind::Unavailable);
    }

    /// What cannot be read is about one item, not about the database.
    #[test]
    fn values_that_are_no_item_are_corrupt() {
        let error = flagstore_core::Item::parse("[]").unwrap_err();
        assert_eq!(Failure::from(error).during("get").kind(), ErrorKind::Corrupt);
        assert_eq!(Failure::NotText.during("get").kind(), ErrorKind::Corrupt);
    }

    /// A connection goes on after an answer about the command, and not after one about the connection.
    #[test]
    fn only_answers_spare_the_connection() {
        for line in ["WRONGTYPE x", "NOSCRIPT x", "OOM x", "NOPERM x", "EXECABORT x"] {
            assert!(Failure::Redis(answer(line)).spares_the_connection(), "{line}");
        }
        for line in ["READONLY x", "NOAUTH x"] {
            assert!(!Failure::Redis(answer(line)).spares_the_connection(), "{line}");
        }
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::UnexpectedEof] {
            assert!(!Failure::Redis(io(kind)).spares_the_connection());
        }
    }

    /// A message ends with what to do next.
    #[test]
    fn a_message_says_what_to_do_next() {
        let error = Failure::Redis(answer("READONLY x")).during("upsert");
        assert!(error.to_string().ends_with("connect to the master, or through Sentinel"), "{error}");
    }

    /// An old server repeats the arguments of a command that it does not know (bug 30).
    #[test]
    fn a_password_in_an_answer_is_not_shown() {
        let error = answer("ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'pa55'");
        let failure = Failure::connect("localhost:6379", error, Some("pa55"));
        let shown = format!("{failure} {failure:?} {:?}", failure.clone().during("get"));
        assert!(!shown.contains("pa55") && shown.contains("localhost:6379"), "{shown}");
    }

    /// What the pool of a program says may repeat what the server has said.
    #[test]
    fn a_pool_repeats_no_password() {
        let error = io::Error::other("unknown command `AUTH`, with args: `pa55`");
        for (password, repeats) in
            [(Some("pa55"), false), (Some("other"), true), (Some(""), true), (None, true)]
        {
            assert_eq!(Failure::of_pool(&error, password).to_string().contains("pa55"), repeats);
        }
    }
}
