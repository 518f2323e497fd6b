//! Evaluation with Big Segments, by our evaluator and through the official client, bare and behind the cache.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that helpers are part of them"
)]

mod all_flags;
mod fault;
mod harness;
mod mutants;
mod official;
mod scope;
mod segments;
mod support;
