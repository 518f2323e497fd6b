//! What all peers can do: ours and LaunchDarkly's.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Deserialize;
use serde_json::Value;

use crate::database::Database;
use crate::upstream::Upstream;

/// One implementation, which writes what LaunchDarkly sends and evaluates what others have written.
pub trait Peer: Debug + Send + Sync {
    /// As the tables call it.
    fn name(&self) -> &str;

    /// Of what it is made.
    fn versions(&self) -> String;

    /// Whether it asks for Big Segments, and says their status.
    fn evaluates_big_segments(&self) -> bool;

    /// Follows this stream, and writes what it says to the database, until what it returns is dropped.
    ///
    /// # Errors
    ///
    /// In the peer's own words.
    fn follow(&self, upstream: &Upstream, database: &Database) -> Result<Box<dyn Any>, String>;

    /// Evaluates flags for a user, with nothing but the database to go by.
    ///
    /// # Errors
    ///
    /// In the peer's own words.
    fn evaluate(&self, database: &Database, flags: &[&str], user: &str) -> Result<Evaluated, String>;
}

/// What a peer makes of the flags in a database.
#[derive(Debug, Default, Deserialize)]
pub struct Evaluated {
    /// Of the flags that were asked for.
    pub results: BTreeMap<String, Evaluation>,
    /// The values of all flags there are.
    pub all: BTreeMap<String, Value>,
}

/// What a peer makes of one flag.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Evaluation {
    /// `null` where there is an error.
    pub value: Value,
    /// LaunchDarkly's word for what is wrong, such as `FLAG_NOT_FOUND`.
    pub error: Option<String>,
    /// The status of the Big Segments that were asked about, such as `HEALTHY`.
    pub big_segments: Option<String>,
}
