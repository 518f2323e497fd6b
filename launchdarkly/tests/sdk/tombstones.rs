//! Deleted is deleted, whoever wrote it.

use flagstore_core::{Item, Kind, Upsert};
use launchdarkly_server_sdk::{EvalError, Reason};

use crate::support::{Store, daemon, daemon_client, evaluate, flag, parts, plug, put, stores, uncached};

const VERSION: u64 = 9;

/// Every tombstone that is in a shared database, by its writer. The flag or segment is always `gone`.
fn tombstones() -> Vec<(&'static str, Item)> {
    let texts = [
        (
            "Go, Relay: flag",
            concat!(
                r#"{"key":"$deleted","on":false,"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"#,
                r#""fallthrough":{},"offVariation":null,"variations":[],"clientSideAvailability":{"#,
                r#""usingMobileKey":false,"usingEnvironmentId":false},"clientSide":false,"salt":"","#,
                r#""trackEvents":false,"trackEventsFallthrough":false,"debugEventsUntilDate":null,"#,
                r#""version":9,"deleted":true}"#
            ),
        ),
        (
            "Go, Relay: segment",
            concat!(
                r#"{"key":"$deleted","included":[],"excluded":[],"salt":"","rules":[],"version":9,"#,
                r#""deleted":true}"#
            ),
        ),
        ("Java, .NET, Node", r#"{"version":9,"deleted":true}"#),
        ("Ruby", r#"{"key":"gone","version":9,"deleted":true}"#),
        ("Python", r#"{"key": "gone", "version": 9, "deleted": true}"#),
        ("Rust", r#"{"deleted":true,"key":"$deleted","version":9}"#),
        ("Rust, the other order", r#"{"version":9,"key":"$deleted","deleted":true}"#),
    ];
    let mut tombstones: Vec<_> = texts.map(|(writer, json)| (writer, Item::parse(json).unwrap())).into();
    tombstones.push(("Java, .NET on DynamoDB", Item::parse_versioned("gone", VERSION, "null").unwrap()));
    tombstones.push(("ours", Item::tombstone("gone", VERSION).unwrap()));
    tombstones
}

/// Runs a test for each tombstone in each store: as flag and as segment `gone`, beside a live flag `here`.
fn for_each(test: impl Fn(&Store, &str)) {
    for (writer, tombstone) in tombstones() {
        for store in stores() {
            put(&store, &Kind::FEATURES, "here", &flag("here", 1, true));
            for kind in [Kind::FEATURES, Kind::SEGMENTS] {
                assert_eq!(store.upsert(&kind, "gone", &tombstone).unwrap(), Upsert::Applied);
            }
            test(&store, &format!("{writer} in {store}"));
        }
    }
}

/// The SDK believes the descriptor, so version and deleted stand there.
#[test]
fn the_descriptor_of_every_tombstone_is_right() {
    for_each(|store, case| {
        let plug = plug(store);
        for found in
            [plug.flag("gone"), plug.segment("gone"), plug.all_flags().map(|mut all| all.remove("gone"))]
        {
            let (version, deleted, _) = parts(found.unwrap().unwrap());
            assert_eq!((version, deleted), (VERSION, true), "{case}");
        }
    });
}

/// No tombstone is a flag or a segment, and none empties the SDK's map of all flags.
#[test]
fn no_tombstone_comes_back_to_life_in_the_sdk() {
    for_each(|store, case| {
        let sdk = daemon(&uncached(store)).data_store_builder().build().unwrap();
        let sdk = sdk.read();
        assert!(sdk.to_store().flag("gone").is_none(), "{case}");
        assert!(sdk.to_store().segment("gone").is_none(), "{case}");
        let keys: Vec<_> = sdk.all_flags().into_keys().collect();
        assert_eq!(keys, ["here"], "{case}");
    });
}

/// A deleted flag is not found, and the flags beside it are.
#[test]
fn a_client_does_not_find_a_deleted_flag() {
    for_each(|store, case| {
        let client = daemon_client(store);
        let (_, reason) = evaluate(&client, "gone");
        assert_eq!(reason, Reason::Error { error: EvalError::FlagNotFound }, "{case}");
        assert_eq!(evaluate(&client, "here"), (true, Reason::Fallthrough { in_experiment: false }), "{case}");
    });
}

/// A tombstone's version keeps late updates out, until a newer one revives the flag.
#[test]
fn only_a_newer_update_revives_a_deleted_flag() {
    for_each(|store, case| {
        let sdk = daemon(&uncached(store)).data_store_builder().build().unwrap();
        for (version, revived) in [(VERSION - 1, false), (VERSION, false), (VERSION + 1, true)] {
            let update = serde_json::from_str(&flag("gone", version, true)).unwrap();
            sdk.write().upsert("gone", update).unwrap();
            assert_eq!(sdk.read().to_store().flag("gone").is_some(), revived, "{case}, version {version}");
        }
    });
}
