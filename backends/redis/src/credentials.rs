use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::{Condvar, Mutex};

pub(crate) type CredentialsCallback =
    dyn Fn() -> Result<Credentials, Box<dyn Error + Send + Sync>> + Send + Sync;

/// What a new connection authenticates with. Its `Debug` does not show the password.
#[derive(Clone)]
#[non_exhaustive]
pub struct Credentials {
    /// The ACL user; `None` for the one that is configured, or else the default user.
    pub username: Option<String>,
    /// The password or token.
    pub password: String,
}

impl Credentials {
    /// A password for the user that is configured, or else for the default user.
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self { username: None, password: password.into() }
    }

    /// A user with its password.
    #[must_use]
    pub fn user(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: Some(username.into()), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, password: _ } = self;
        f.debug_struct("Credentials").field("username", username).finish_non_exhaustive()
    }
}

/// Asks the callback for one connection at a time. Those that wait meanwhile use the same answer.
pub(crate) struct Source {
    callback: Box<CredentialsCallback>,
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Default)]
struct State {
    is_asking: bool,
    answers: u64,
    last: Option<Result<Credentials, String>>,
}

impl Source {
    pub(crate) fn new(callback: Box<CredentialsCallback>) -> Self {
        Self { callback, state: Mutex::default(), answered: Condvar::new() }
    }

    pub(crate) fn ask(&self) -> Result<Credentials, String> {
        let mut state = self.state.lock();
        let before = state.answers;
        while state.is_asking {
            self.answered.wait(&mut state);
        }
        if state.answers > before
            && let Some(answer) = &state.last
        {
            return answer.clone();
        }
        state.is_asking = true;
        drop(state);
        let asked = catch_unwind(AssertUnwindSafe(|| (self.callback)()));
        let answer = match asked {
            Ok(answer) => answer.map_err(|error| format!("the callback for credentials: {error}")),
            Err(panic) => Err(format!("the callback for credentials panicked: {}", message_of(&*panic))),
        };
        let mut state = self.state.lock();
        state.last = Some(answer.clone());
        (state.is_asking, state.answers) = (false, state.answers + 1);
        self.answered.notify_all();
        answer
    }
}

/// What a panic says.
pub(crate) fn message_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}
