//! Transactions of others. While one has an item, DynamoDB refuses every other write to it. It ends in a moment, and its
//! item is not the database's trouble.

use std::future::Future;
use std::time::Duration;

use crate::error::Failure;

/// How often a write is tried in all. Meeting a transaction once is rare.
const ATTEMPTS: usize = 5;
/// The most that a write waits for a transaction to end, each time that it meets one.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Writes, and does so again while a transaction of somebody else's is in the way.
pub(crate) async fn outlast<T, F>(write: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    for _ in 1..ATTEMPTS {
        match write().await {
            Err(Failure::Conflict(_)) => tokio::time::sleep(LONGEST_PAUSE.mul_f64(fastrand::f64())).await,
            written => return written,
        }
    }
    write().await
}
