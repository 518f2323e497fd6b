//! A real Relay Proxy and our stores share a database, in both directions.

#![allow(clippy::unwrap_used, reason = "a test may as well panic where it cannot go on")]

mod big_segments;
mod listeners;

use std::process::ExitCode;
use std::sync::Arc;

use flagstore_core::Kind;
use flagstore_peers::data_system::WithSources;
use flagstore_peers::database::{Database, DatabaseKind};
use flagstore_peers::flags::{environment, flag, flag_of_segment, segment};
use flagstore_peers::peer::{Evaluated, Peer};
use flagstore_peers::program::folder;
use flagstore_peers::relay::RelayProxy;
use flagstore_peers::run::{Test, run, trial};
use flagstore_peers::rust::{Bare, UnderSdk};
use flagstore_peers::upstream::Upstream;
use flagstore_peers::wait::wait_for;
use serde_json::{Value, json};

type Outcome = Result<(), String>;

struct Setup {
    relay: RelayProxy,
    database: Database,
}

const TESTS: &[Test<Setup>] = &[
    ("what_a_relay_writes_at_first_is_evaluated_here", what_a_relay_writes_at_first_is_evaluated_here),
    ("what_changes_upstream_is_seen_here", what_changes_upstream_is_seen_here),
    ("a_flag_deleted_upstream_is_gone_here", a_flag_deleted_upstream_is_gone_here),
    ("a_relay_serves_what_our_store_wrote", a_relay_serves_what_our_store_wrote),
    ("a_relay_serves_what_the_rust_sdk_wrote", a_relay_serves_what_the_rust_sdk_wrote),
    ("a_relay_serves_what_our_source_wrote", a_relay_serves_what_our_source_wrote),
    ("a_relay_serves_what_our_store_changed", a_relay_serves_what_our_store_changed),
    (
        "what_the_synchroniser_writes_is_evaluated_here",
        big_segments::what_the_synchroniser_writes_is_evaluated_here,
    ),
    (
        "the_synchroniser_goes_on_where_we_have_ended",
        big_segments::the_synchroniser_goes_on_where_we_have_ended,
    ),
];

/// Where the database tells what others write.
const REDIS_TESTS: &[Test<Setup>] = &[(
    "who_listens_here_is_told_of_what_changes_upstream",
    listeners::who_listens_here_is_told_of_what_changes_upstream,
)];

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for kind in DatabaseKind::ALL {
        let setup = folder().and_then(|folder| {
            Ok(Arc::new(Setup { relay: RelayProxy::new(&folder), database: kind.find()? }))
        });
        let only_here = if kind == DatabaseKind::Redis { REDIS_TESTS } else { &[] };
        for (name, test) in TESTS.iter().chain(only_here) {
            trials.push(trial(format!("relay_{}::{name}", kind.name()), "relay", setup.clone(), *test));
        }
    }
    run(trials)
}

/// A flag of each sort, the version of the plain one being `version`.
fn data(version: u64) -> Value {
    let plain = flag("plain", version, &format!("v{version}"));
    let mut dependent = flag("dependent", 1, "plain was on");
    dependent["prerequisites"] = json!([{"key": "plain", "variation": 1}]);
    let flags = [plain, dependent, flag_of_segment("targeted", 1, "staff"), flag("Ελληνικά 日本", 1, "ñ")];
    environment(flags, [segment("staff", 1, &["alice"])])
}

/// Evaluates until a flag has this value, and returns everything of then.
fn evaluate_until(
    reader: &dyn Peer,
    database: &Database,
    flag: &str,
    value: &Value,
) -> Result<Evaluated, String> {
    let mut last = Ok(Evaluated::default());
    wait_for(&format!("{flag} to be {value} for {}", reader.name()), || {
        last =
            reader.evaluate(database, &["plain", "dependent", "targeted", "Ελληνικά 日本", "gone"], "alice");
        let found = last.as_ref().ok()?;
        // The two are not of one moment.
        (found.results[flag].value == *value && found.all.get(flag).unwrap_or(&Value::Null) == value)
            .then_some(())
    })
    .map_err(|error| format!("{error}; the last time it was {last:?}"))?;
    last
}

fn assert_all(found: &Evaluated, plain: &str) {
    let expected =
        json!({"plain": plain, "dependent": "plain was on", "targeted": "member", "Ελληνικά 日本": "ñ"});
    assert_eq!(json!(found.all), expected);
    for (flag, value) in expected.as_object().unwrap() {
        assert_eq!(found.results[flag].value, *value, "{flag}");
        assert_eq!(found.results[flag].error, None, "{flag}");
    }
    assert_eq!(found.results["gone"].error.as_deref(), Some("FLAG_NOT_FOUND"));
}

/// The first payload of a Relay is all there for a client in daemon mode, and for our store.
fn what_a_relay_writes_at_first_is_evaluated_here(setup: &Setup) -> Outcome {
    let (database, upstream) = (setup.database.anew(), Upstream::start(&data(1)));
    let _relay = setup.relay.start(&upstream, &database)?;
    wait_for("the Relay to mark the database", || database.store().is_initialized().ok()?.then_some(()))?;
    for reader in [&Bare as &dyn Peer, &UnderSdk] {
        assert_all(&evaluate_until(reader, &database, "plain", &json!("v1"))?, "v1");
    }
    Ok(())
}

/// A patch, also of a segment, goes through the Relay and the database to the client in daemon mode.
fn what_changes_upstream_is_seen_here(setup: &Setup) -> Outcome {
    let (database, upstream) = (setup.database.anew(), Upstream::start(&data(1)));
    let _relay = setup.relay.start(&upstream, &database)?;
    evaluate_until(&UnderSdk, &database, "plain", &json!("v1"))?;
    upstream.patch(&Kind::FEATURES, flag("plain", 2, "v2"));
    for reader in [&Bare as &dyn Peer, &UnderSdk] {
        assert_all(&evaluate_until(reader, &database, "plain", &json!("v2"))?, "v2");
    }
    upstream.patch(&Kind::SEGMENTS, segment("staff", 2, &["bob"]));
    for reader in [&Bare as &dyn Peer, &UnderSdk] {
        evaluate_until(reader, &database, "targeted", &json!("other"))?;
    }
    Ok(())
}

/// The Relay's tombstone, which looks much like a flag, is one to us, and spoils no other flag.
fn a_flag_deleted_upstream_is_gone_here(setup: &Setup) -> Outcome {
    let (database, upstream) = (setup.database.anew(), Upstream::start(&data(1)));
    let _relay = setup.relay.start(&upstream, &database)?;
    evaluate_until(&UnderSdk, &database, "targeted", &json!("member"))?;
    upstream.delete(&Kind::FEATURES, "targeted", 2);
    upstream.delete(&Kind::SEGMENTS, "staff", 2);
    database.wait_for_item(&Kind::SEGMENTS, "staff", 2)?;
    for reader in [&Bare as &dyn Peer, &UnderSdk] {
        let found = evaluate_until(reader, &database, "targeted", &Value::Null)?;
        assert_eq!(found.results["targeted"].error.as_deref(), Some("FLAG_NOT_FOUND"), "{}", reader.name());
        assert_eq!(found.all.len(), 3, "{}: {found:?}", reader.name());
    }
    let store = database.store();
    for (kind, key) in [(Kind::FEATURES, "targeted"), (Kind::SEGMENTS, "staff")] {
        let tombstone = store.get(&kind, key).unwrap().unwrap();
        assert_eq!((tombstone.version(), tombstone.is_deleted()), (2, true), "{kind}/{key}");
    }
    Ok(())
}

/// A Relay without LaunchDarkly serves what our store has been given.
fn a_relay_serves_what_our_store_wrote(setup: &Setup) -> Outcome {
    serves_what_is_written_by(&Bare, setup)
}

/// As above, for the Rust SDK over our store: what it leaves out, a Relay does not miss.
fn a_relay_serves_what_the_rust_sdk_wrote(setup: &Setup) -> Outcome {
    serves_what_is_written_by(&UnderSdk, setup)
}

/// As above, for our source, which fills the store in the SDK's place.
fn a_relay_serves_what_our_source_wrote(setup: &Setup) -> Outcome {
    serves_what_is_written_by(&WithSources, setup)
}

fn serves_what_is_written_by(writer: &dyn Peer, setup: &Setup) -> Outcome {
    let (database, upstream) = (setup.database.anew(), Upstream::start(&data(7)));
    let _writing = writer.follow(&upstream, &database)?;
    database.wait_for_item(&Kind::FEATURES, "plain", 7)?;
    assert_all(&evaluate_until(&setup.relay, &database, "plain", &json!("v7"))?, "v7");
    Ok(())
}

/// A Relay that is running sees what our store writes later, our tombstones included.
fn a_relay_serves_what_our_store_changed(setup: &Setup) -> Outcome {
    let (database, upstream) = (setup.database.anew(), Upstream::start(&data(1)));
    let _writing = Bare.follow(&upstream, &database)?;
    database.wait_for_item(&Kind::FEATURES, "plain", 1)?;
    let away = Upstream::away();
    let relay = setup.relay.start(&away, &database)?;
    assert_eq!(relay.get("/sdk/flags")?["plain"]["version"], 1);
    upstream.patch(&Kind::FEATURES, flag("plain", 2, "v2"));
    upstream.delete(&Kind::FEATURES, "targeted", 9);
    database.wait_for_item(&Kind::FEATURES, "targeted", 9)?;
    let served = relay.get("/sdk/flags")?;
    assert_eq!(served["plain"], flag("plain", 2, "v2"));
    assert_eq!(served["targeted"], Value::Null);
    assert_eq!(served.as_object().unwrap().len(), 3);
    Ok(())
}
