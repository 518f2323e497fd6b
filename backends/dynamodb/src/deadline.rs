//! Who speaks first when the time is up.

use std::time::Duration;

/// The deadline for whoever can say what was not finished, shortly before that of whoever can only say that
/// nothing came.
pub(crate) fn sooner(timeout: Duration) -> Duration {
    timeout - timeout / 20
}
