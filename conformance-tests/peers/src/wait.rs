//! Waiting for what other processes do.

use std::time::{Duration, Instant};

/// Far above what anything takes, also on a machine with other work.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until there is something.
///
/// # Errors
///
/// What was waited for, after [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(format!("waited {PATIENCE:?} in vain for {what}"));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
