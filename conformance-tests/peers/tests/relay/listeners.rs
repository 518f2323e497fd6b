//! A process that only reads, beside a Relay, is told what changes.

use std::sync::mpsc::{Receiver, channel};

use flagstore_core::{CacheMode, Kind, Subscription};
use flagstore_launchdarkly::DataSystem;
use flagstore_peers::flags::{flag, segment};
use flagstore_peers::rust::context;
use flagstore_peers::upstream::Upstream;
use flagstore_peers::wait::PATIENCE;
use launchdarkly_server_sdk::FlagValue;

use crate::{Outcome, Setup, data};

/// The value of a flag changes upstream, the Relay writes it, and our listener hears of it, with a cache that would
/// otherwise last for ever: the first payload, a patch, a patch of a segment, and a deletion.
pub(crate) fn who_listens_here_is_told_of_what_changes_upstream(setup: &Setup) -> Outcome {
    let (database, upstream) = (setup.database.anew(), Upstream::start(&data(1)));
    let system = DataSystem::builder(database.store())
        .changes(database.redis_changes())
        .cache(|cache| cache.mode(CacheMode::Forever))
        .build()
        .map_err(|error| error.to_string())?;
    let (_plain, plain) = listen(&system, "plain");
    let (_targeted, targeted) = listen(&system, "targeted");
    let _relay = setup.relay.start(&upstream, &database)?;
    assert_eq!(next(&plain)?, change("default", "v1"));
    assert_eq!(next(&targeted)?, change("default", "member"));
    upstream.patch(&Kind::FEATURES, flag("plain", 2, "v2"));
    assert_eq!(next(&plain)?, change("v1", "v2"));
    upstream.patch(&Kind::SEGMENTS, segment("staff", 2, &["bob"]));
    assert_eq!(next(&targeted)?, change("member", "other"));
    upstream.delete(&Kind::FEATURES, "plain", 3);
    assert_eq!(next(&plain)?, change("v2", "default"));
    Ok(())
}

type Change = (FlagValue, FlagValue);

fn listen(system: &DataSystem, flag: &str) -> (Subscription, Receiver<Change>) {
    let (tell, told) = channel();
    let listener =
        system.add_flag_value_change_listener(flag, context("alice"), text("default"), move |change| {
            drop(tell.send((change.old_value, change.new_value)));
        });
    (listener, told)
}

fn change(old: &str, new: &str) -> Change {
    (text(old), text(new))
}

fn text(value: &str) -> FlagValue {
    FlagValue::Str(value.to_owned())
}

fn next(told: &Receiver<Change>) -> Result<Change, String> {
    told.recv_timeout(PATIENCE).map_err(|error| format!("the listener was not told: {error}"))
}
