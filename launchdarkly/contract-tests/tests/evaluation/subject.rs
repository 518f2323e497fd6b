//! Everything that evaluates.

use std::fmt;
use std::sync::Arc;

use flagstore_conformance::{BigSegmentsFixture, Fixture};
use flagstore_core::{
    BigSegmentStoreWrapper, BigSegmentUpdates, BigSegmentsStatus, CacheMode, CachingStoreWrapper,
};
use flagstore_launchdarkly::{AllFlagsOptions, BigSegmentsClient, Evaluator};
use launchdarkly_server_sdk::{
    ConfigBuilder, Context, ContextBuilder, FlagDetailConfig, NullEventProcessorBuilder,
};

use crate::environment::environment;

/// A database under test, of which a case has this prefix to itself.
pub(crate) struct Database<'a> {
    fixture: &'a dyn Fixture,
    pub(crate) prefix: String,
}

impl<'a> Database<'a> {
    /// One with flags, and without anything of Big Segments.
    pub(crate) fn new(fixture: &'a dyn Fixture, prefix: &str) -> Self {
        fixture.open(prefix).unwrap().init(&environment()).unwrap();
        Self { fixture, prefix: prefix.to_owned() }
    }

    /// Another one in the same place, whose prefix begins with this one's.
    pub(crate) fn beside(&self, more: &str) -> Self {
        Self::new(self.fixture, &format!("{}{more}", self.prefix))
    }

    pub(crate) fn name(&self) -> &str {
        self.fixture.name()
    }

    pub(crate) fn big_segments(&self) -> &dyn BigSegmentsFixture {
        self.fixture.big_segments().unwrap()
    }

    /// The writing side.
    pub(crate) fn updates(&self) -> Arc<dyn BigSegmentUpdates> {
        self.big_segments().open(&self.prefix).unwrap()
    }

    /// The cache above it, or what does without.
    pub(crate) fn flags(&self, mode: CacheMode) -> CachingStoreWrapper {
        CachingStoreWrapper::builder(self.fixture.open(&self.prefix).unwrap()).mode(mode).build().unwrap()
    }

    /// Everything that evaluates, each with handles of its own, and as if it had just been started.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        self.subjects_above(&|| self.updates())
    }

    /// The same, with another store of Big Segments.
    pub(crate) fn subjects_above(&self, store: &dyn Fn() -> Arc<dyn BigSegmentUpdates>) -> Vec<Subject> {
        let big_segments = || BigSegmentStoreWrapper::builder(store()).build().unwrap();
        let of_mode = |(mode, cache)| {
            let evaluator = Evaluator::new(self.flags(mode)).with_big_segments(big_segments());
            let client = BigSegmentsClient::build(daemon(), self.flags(mode), big_segments()).unwrap();
            let name = |way: &str| format!("{way}, {cache}, over {}", self.name());
            [
                Subject { name: name("evaluator"), way: Way::Evaluator(evaluator) },
                Subject { name: name("client"), way: Way::Client(client) },
            ]
        };
        [(CacheMode::Off, "bare"), (CacheMode::Forever, "cached")].into_iter().flat_map(of_mode).collect()
    }
}

pub(crate) fn daemon() -> ConfigBuilder {
    ConfigBuilder::new("sdk-key").daemon_mode(true).event_processor(&NullEventProcessorBuilder::new())
}

pub(crate) fn user(key: &str) -> Context {
    ContextBuilder::new(key).build().unwrap()
}

pub(crate) struct Subject {
    name: String,
    way: Way,
}

enum Way {
    Evaluator(Evaluator),
    Client(BigSegmentsClient),
}

impl Subject {
    /// The value of a flag for this user, and the Big Segments status.
    pub(crate) fn get(&self, flag_key: &str, user_key: &str) -> (bool, Option<BigSegmentsStatus>) {
        let user = user(user_key);
        let evaluation = match &self.way {
            Way::Evaluator(evaluator) => evaluator.bool_variation_detail(&user, flag_key, false),
            Way::Client(client) => client.bool_variation_detail(&user, flag_key, false),
        };
        (evaluation.detail.value.unwrap(), evaluation.big_segments_status)
    }

    /// The values of these flags for this user, out of all flags, each with its status; the client has one for all.
    pub(crate) fn all<const N: usize>(
        &self,
        flag_keys: [&str; N],
        user_key: &str,
    ) -> [(bool, Option<BigSegmentsStatus>); N] {
        let user = user(user_key);
        match &self.way {
            Way::Evaluator(evaluator) => {
                let state = evaluator.all_flags(&user, AllFlagsOptions::new());
                flag_keys.map(|key| {
                    let value = state.value(key).and_then(|value| value.as_bool()).unwrap();
                    (value, state.big_segments_status(key))
                })
            }
            Way::Client(client) => {
                let (detail, status) = client.all_flags_detail(&user, FlagDetailConfig::new());
                let detail = serde_json::to_value(detail).unwrap();
                flag_keys.map(|key| (detail[key].as_bool().unwrap(), status))
            }
        }
    }

    pub(crate) fn is_client(&self) -> bool {
        matches!(self.way, Way::Client(_))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
