//! Evaluation of flags that depend on Big Segments, which the SDK by itself ignores: by an evaluator of ours, and
//! through the official client.

use flagstore_core::BigSegmentsStatus;
use launchdarkly_server_sdk::Detail;

mod all_flags;
mod big_segments_client;
mod evaluator;
mod membership;
mod parsed;
mod ready_flag;
mod scoped_store;
mod segment_forms;

pub use all_flags::{AllFlagsOptions, FlagsState};
pub use big_segments_client::BigSegmentsClient;
pub use evaluator::Evaluator;

/// The result of an evaluation, with what only Big Segments have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evaluation<T> {
    /// Value, variation and reason. There always is a value: the default at least.
    pub detail: Detail<T>,
    /// How far the result can be trusted as far as Big Segments go: the worst of those that it depends on. `None` if it
    /// depends on none.
    pub big_segments_status: Option<BigSegmentsStatus>,
}
