use std::error::Error;
use std::fmt;

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
