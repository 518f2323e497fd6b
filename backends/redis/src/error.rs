use std::fmt;

use flagstore_core::{DecodeError, ErrorKind, StoreError};
use redis::{RedisError, ServerError, ServerErrorKind as Server, Value};

/// The store's one-word name in errors.
pub(crate) const STORE: &str = "redis";

pub(crate) fn wrong(field: &str, reason: impl fmt::Display) -> StoreError {
    StoreError::config(STORE, field, reason)
}

/// Why a call did not succeed, before it is known which call it was.
///
/// Cheap to clone, so that all who waited for one connection can be given its error.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}{advice}", advice = .0.advice())]
    Answer(Answer),

    /// The connection failed, and whether any of what it was for had been sent.
    #[error("{}", words_of(.error, *.was_sent))]
    Lost { error: RedisError, was_sent: bool },

    /// So nothing was sent.
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

    #[error("the server answered with something else: {0}")]
    Unexpected(String),

    #[error("what is stored there is not a time, which would be a number of milliseconds since 1970")]
    NotATime,

    #[error("the server did not execute the transaction")]
    NotExecuted,

    /// Nothing of it was executed.
    #[error("the server takes no transaction: {0}; give the user MULTI and EXEC with ACL SETUSER")]
    NoTransaction(Answer),

    #[error("others wrote the item again and again in the meantime; try again")]
    Raced,

    /// Of several writes, some have happened.
    #[error("a part was written, and then: {0}")]
    InPart(Box<Self>),
}

impl Failure {
    /// What a caller can do about it. Only `Timeout` says that a write may have happened.
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Answer(answer) | Self::NoTransaction(answer) => answer.classify(),
            Self::Lost { was_sent: true, .. } | Self::InPart(_) => ErrorKind::Timeout,
            Self::Lost { was_sent: false, .. }
            | Self::NotConnected(_)
            | Self::StillConnecting(_)
            | Self::NoConnection
            | Self::Late
            | Self::NotExecuted
            | Self::Raced => ErrorKind::Unavailable,
            Self::NotAnItem(_) | Self::NotText | Self::NotATime => ErrorKind::Corrupt,
            Self::Unexpected(_) => ErrorKind::Other,
        }
    }

    /// The failure as an error of this operation.
    pub(crate) fn during(self, operation: &'static str) -> StoreError {
        match self.kind() {
            ErrorKind::Timeout => StoreError::unanswered(STORE, operation, self),
            kind => StoreError::new(kind, STORE, operation, self),
        }
    }

    /// The connection was closed, by the server or on the way. What was `sent` and not answered may have been
    /// done; nothing else was.
    pub(crate) fn is_closed_connection(&self) -> bool {
        matches!(self, Self::Lost { error, .. } if !error.is_timeout())
    }

    /// The connection was closed, and doing it again on another one does nothing twice.
    pub(crate) fn may_be_repeated(&self, is_read: bool) -> bool {
        self.is_closed_connection() && (is_read || !self.was_sent())
    }

    /// There is no connection to be had, so nothing was sent.
    pub(crate) fn is_no_connection(&self) -> bool {
        matches!(self, Self::NotConnected(_) | Self::StillConnecting(_))
    }

    pub(crate) fn was_sent(&self) -> bool {
        !matches!(self, Self::Lost { was_sent: false, .. })
    }

    /// The same for what came before.
    pub(crate) fn before_it_was_sent(self) -> Self {
        match self {
            Self::Lost { error, .. } => Self::Lost { error, was_sent: false },
            failure => failure,
        }
    }

    /// MULTI was refused.
    pub(crate) fn no_transaction(replies: Vec<Value>) -> Self {
        match replies.into_iter().next() {
            Some(Value::ServerError(error)) => {
                let answer = Answer::from(error);
                // Else it is about more than this command.
                let is_refused = matches!(answer.kind, Some(Server::NoPerm | Server::ResponseError));
                if is_refused { Self::NoTransaction(answer) } else { Self::Answer(answer) }
            }
            _ => Self::NotExecuted,
        }
    }

    /// Whether other connections to that server are as good as lost: it is no master any more, or does not
    /// know the user any more.
    pub(crate) fn concerns_the_server(&self) -> bool {
        matches!(self, Self::Answer(answer)
            if matches!(answer.code.as_str(), "READONLY" | "MASTERDOWN" | "NOAUTH" | "WRONGPASS"))
    }

    /// Whether the reason may be that the server runs no scripts for this user: the ACL forbids them, or a
    /// command in them, or it does not know the command.
    pub(crate) fn may_concern_scripts(&self) -> bool {
        self.is_answer(Server::NoPerm) || self.is_answer(Server::ResponseError)
    }

    /// Whether the server, or what it lets this user do, has no such thing.
    pub(crate) fn is_refusal(&self) -> bool {
        let has_no_such_protocol = matches!(self, Self::Answer(answer) if answer.code == "NOPROTO");
        matches!(self, Self::NoTransaction(_)) || self.may_concern_scripts() || has_no_such_protocol
    }

    pub(crate) fn is_answer(&self, kind: Server) -> bool {
        matches!(self, Self::Answer(answer) if answer.kind == Some(kind))
    }

    /// Where a node of a cluster says that the key is, and whether it is only on its way there.
    pub(crate) fn redirection(&self) -> Option<(&str, Redirection)> {
        let Self::Answer(answer) = self else { return None };
        let redirection = match answer.kind? {
            Server::Moved => Redirection::Moved,
            Server::Ask => Redirection::Ask,
            _ => return None,
        };
        // `MOVED 3999 127.0.0.1:6381`
        Some((answer.words.split(' ').nth(2)?, redirection))
    }

    /// The connection to this address failed, in words that do not repeat a secret.
    pub(crate) fn connect(
        address: impl fmt::Display,
        cause: &dyn fmt::Display,
        password: Option<&str>,
    ) -> Self {
        Self::NotConnected(match cause.to_string() {
            words if repeats(&words, password) => {
                format!("{address}: refused, in words that repeat the password")
            }
            words => format!("{address}: {words}"),
        })
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

/// An error in the server's own words, without the arguments that it repeats in some.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    kind: Option<Server>,
    code: String,
    words: String,
}

impl From<ServerError> for Answer {
    fn from(error: ServerError) -> Self {
        let details = error.details().unwrap_or_default();
        // `unknown command 'AUTH', with args beginning with: 'pa55'`
        let details = details.split(", with args").next().unwrap_or_default();
        Self {
            kind: error.kind(),
            code: error.code().to_owned(),
            words: format!("{} {details}", error.code()),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words.trim_end())
    }
}

impl Answer {
    /// What a caller can do about it.
    fn classify(&self) -> ErrorKind {
        match self.code.as_str() {
            // Starting up, failing over, moving slots, without enough nodes.
            "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK"
            // The transaction was refused as a whole, such as for want of memory.
            | "EXECABORT"
            // Somebody can give the user the permission, or add the user again.
            | "NOPERM" | "NOAUTH" | "WRONGPASS"
            // Out of memory, a disk that cannot be written, too few replicas, somebody's endless script.
            | "OOM" | "MISCONF" | "NOREPLICAS" | "BUSY" => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        }
    }

    /// What to do next, where that is clear.
    fn advice(&self) -> &'static str {
        match self.code.as_str() {
            "READONLY" => "; this is a replica: connect to the master, or through Sentinel",
            "NOPERM" => "; give the user the permission with ACL SETUSER",
            "MOVED" | "CROSSSLOT" => "; this is a cluster: configure it as one",
            "NOAUTH" | "WRONGPASS" => "; check the user and the password",
            "OOM" => "; raise maxmemory, or delete something else",
            "WRONGTYPE" => "; another application uses this key: give another prefix",
            _ => "",
        }
    }
}

fn words_of(error: &RedisError, was_sent: bool) -> String {
    match (error.is_timeout(), was_sent) {
        (true, true) => "no answer within the timeout".to_owned(),
        (true, false) => "the timeout was over before it was sent".to_owned(),
        _ if error.is_connection_refusal() => format!("{error}; check that the server runs at this address"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// What the driver makes of this line of a server.
    fn answered(line: &str) -> Failure {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
            Ok(Value::ServerError(error)) => Failure::Answer(error.into()),
            other => panic!("{line}: {other:?}"),
        }
    }

    /// What the server does not do just now, it may do.
    #[test]
    fn a_refusal_is_for_good() {
        for line in ["NOPERM x", "ERR unknown subcommand", "NOPROTO x"] {
            assert!(answered(line).is_refusal(), "{line}");
        }
        for line in ["LOADING x", "BUSY x", "MASTERDOWN x", "NOAUTH x"] {
            assert!(!answered(line).is_refusal(), "{line}");
        }
    }

    fn lost(kind: io::ErrorKind, was_sent: bool) -> Failure {
        Failure::Lost { error: io::Error::from(kind).into(), was_sent }
    }

    /// Each error that `classify` names has the kind by which callers can act on it.
    #[test]
    fn every_named_error_has_its_kind() {
        let named = "LOADING READONLY MASTERDOWN CLUSTERDOWN TRYAGAIN MOVED ASK EXECABORT NOPERM NOAUTH WRONGPASS \
                     OOM MISCONF NOREPLICAS BUSY";
        for code in named.split_whitespace() {
            let failure = answered(&format!("{code} 3999 127.0.0.1:6381"));
            assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure}");
        }
        for line in ["WRONGTYPE x", "CROSSSLOT x", "NOSCRIPT x", "ERR unknown command", "WHATEVER comes next"]
        {
            assert_eq!(answered(line).kind(), ErrorKind::Other, "{line}");
        }
    }

    /// What was sent and not answered may have happened, and only `Timeout` says so.
    #[test]
    fn what_was_sent_and_not_answered_is_a_timeout() {
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset] {
            assert_eq!(lost(kind, true).kind(), ErrorKind::Timeout);
            assert_eq!(lost(kind, false).kind(), ErrorKind::Unavailable);
        }
        let partly = Failure::InPart(Box::new(answered("OOM x")));
        assert_eq!(partly.kind(), ErrorKind::Timeout);
    }

    /// What cannot be read is about one item, not about the database.
    #[test]
    fn values_that_are_no_item_are_corrupt() {
        let error = flagstore_core::Item::parse("[]").unwrap_err();
        assert_eq!(Failure::from(error).kind(), ErrorKind::Corrupt);
        assert_eq!(Failure::NotText.kind(), ErrorKind::Corrupt);
    }

    /// A message ends with what to do next.
    #[test]
    fn a_message_says_what_to_do_next() {
        let error = answered("READONLY x").during("upsert");
        assert!(error.to_string().ends_with("connect to the master, or through Sentinel"), "{error}");
    }

    /// A server repeats the arguments of a command that it does not know (bug 30).
    #[test]
    fn arguments_in_an_answer_are_not_shown() {
        for line in [
            "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'pa55'",
            "ERR unknown command `AUTH`, with args beginning with: `pa55`, ",
        ] {
            let failure = answered(line);
            let shown = format!("{failure} {failure:?} {:?}", failure.clone().during("get"));
            assert!(!shown.contains("pa55") && shown.contains("unknown command"), "{shown}");
        }
        for (password, repeats) in
            [(Some("pa55"), false), (Some("other"), true), (Some(""), true), (None, true)]
        {
            let shown = Failure::connect("localhost:6379", &"`AUTH` with `pa55`", password).to_string();
            assert_eq!(shown.contains("pa55"), repeats, "{shown}");
        }
    }
}
