//! The plug, called as the SDK calls it.

use std::collections::HashMap;
use std::sync::Arc;

use flagstore_core::{FeatureStoreCore, Item, Kind, Upsert};
use flagstore_launchdarkly::FlagstoreFactory;
use launchdarkly_server_sdk::{AllData, DataKind, PersistentDataStoreFactory, SerializedItem};

use crate::support::{Store, TestStore, flag, item, parts, plug, put, segment, serialized, stored, stores};

fn all_data(
    flags: &[(&str, SerializedItem)],
    segments: &[(&str, SerializedItem)],
) -> AllData<SerializedItem, SerializedItem> {
    let map = |items: &[(&str, SerializedItem)]| {
        items.iter().map(|(key, item)| ((*key).to_owned(), item.clone())).collect()
    };
    AllData { flags: map(flags), segments: map(segments) }
}

/// A key that was never written is no error.
#[test]
fn what_is_missing_is_none() {
    for store in stores() {
        let plug = plug(&store);
        assert!(plug.flag("dark-mode").unwrap().is_none(), "{store}");
        assert!(plug.segment("staff").unwrap().is_none(), "{store}");
        assert!(plug.all_flags().unwrap().is_empty(), "{store}");
        assert!(!plug.is_initialized(), "{store}");
    }
}

/// The SDK is given the text that is stored, whatever its spelling and its unknown properties.
#[test]
fn what_another_sdk_wrote_comes_out_byte_for_byte() {
    let flag_json =
        flag("dark-mode", 3, true).replace(r#""version":3"#, r#""new" : {"x":1e2}, "version" : 3"#);
    let segment_json = format!(" {}\n", segment("staff", 4, "user-1"));
    for store in stores() {
        put(&store, &Kind::FEATURES, "dark-mode", &flag_json);
        put(&store, &Kind::SEGMENTS, "staff", &segment_json);
        let plug = plug(&store);
        assert_eq!(parts(plug.flag("dark-mode").unwrap().unwrap()), (3, false, flag_json.clone()), "{store}");
        assert_eq!(
            parts(plug.segment("staff").unwrap().unwrap()),
            (4, false, segment_json.clone()),
            "{store}"
        );
        let mut all = plug.all_flags().unwrap();
        assert_eq!(parts(all.remove("dark-mode").unwrap()), (3, false, flag_json.clone()), "{store}");
        assert!(all.is_empty(), "segments are no flags: {store}");
    }
}

/// A live item says that it is not deleted, and is otherwise stored as given.
#[test]
fn deleted_false_is_added_once_and_only_where_it_is_missing() {
    let complete = flag("dark-mode", 1, true);
    let with = |from: &str, to: &str| complete.replace(from, to);
    let bare = with(r#","deleted":false"#, "");
    let behind = |more: &str| bare.replacen('{', &format!("{{{more},"), 1);
    let as_given = [
        complete.clone(),
        format!(" {complete}\r\n"),
        with(r#""deleted":false"#, "\"deleted\" : false "),
        with(r#""deleted""#, r#""d\u0065leted""#),
    ];
    let added = [
        bare.clone(),
        behind(r#""new":{"deleted":true}"#),
        behind(r#""new":[{"deleted":false}]"#),
        behind(r#""new":"\"deleted\":{""#),
        behind(r#""new":"}""#),
    ];
    let cases = as_given.iter().map(|json| (json, json.clone())).chain(
        added.iter().map(|json| (json, json.replacen(r#""salt":"""#, r#""salt":"","deleted":false"#, 1))),
    );
    for store in stores() {
        for (n, (given, expected)) in cases.clone().enumerate() {
            let key = format!("flag-{n}");
            assert!(plug(&store).upsert(DataKind::Flag, &key, serialized(1, false, given)).unwrap());
            assert_eq!(stored(&store, &Kind::FEATURES, &key), expected, "{store}: {given}");
            assert!(!item(&expected).is_deleted() && item(&expected).states_deleted());
        }
    }
}

/// What `init` writes is completed like what `upsert` writes.
#[test]
fn init_adds_deleted_false_too() {
    let (flag, segment) = (flag("a", 1, true), segment("s", 2, "user-1"));
    let bare = |json: &str| json.replace(r#","deleted":false"#, "");
    for store in stores() {
        let data = all_data(
            &[("a", serialized(1, false, &bare(&flag)))],
            &[("s", serialized(2, false, &bare(&segment)))],
        );
        plug(&store).init(data).unwrap();
        assert_eq!(stored(&store, &Kind::FEATURES, "a"), flag, "{store}");
        assert_eq!(stored(&store, &Kind::SEGMENTS, "s"), segment, "{store}");
        assert!(plug(&store).is_initialized(), "{store}");
    }
}

/// A deletion is written as everyone but Go writes it: with the item's own key.
#[test]
fn a_tombstone_is_written_with_the_key_of_its_item() {
    let from_sdk = serialized(5, true, r#"{"deleted":true,"key":"$deleted","version":5}"#);
    for store in stores() {
        assert!(plug(&store).upsert(DataKind::Flag, "dark-mode", from_sdk.clone()).unwrap(), "{store}");
        plug(&store).init(all_data(&[], &[("staff", from_sdk.clone())])).unwrap();
        plug(&store).upsert(DataKind::Flag, "dark-mode", from_sdk.clone()).unwrap();
        let flag = store.get(&Kind::FEATURES, "dark-mode").unwrap().unwrap();
        assert_eq!(flag, Item::tombstone("dark-mode", 5).unwrap(), "{store}");
        assert_eq!(flag.json(), r#"{"key":"dark-mode","version":5,"deleted":true}"#, "{store}");
        let segment = store.get(&Kind::SEGMENTS, "staff").unwrap().unwrap();
        assert_eq!(segment, Item::tombstone("staff", 5).unwrap(), "{store}");
    }
}

/// Where there are two versions, the SDK's own counts.
#[test]
fn the_version_beside_the_text_counts() {
    for store in stores() {
        plug(&store).upsert(DataKind::Flag, "a", serialized(7, false, r#"{"version":3}"#)).unwrap();
        assert_eq!(store.get(&Kind::FEATURES, "a").unwrap().unwrap().version(), 7, "{store}");
    }
}

/// The SDK learns from `false` that it has to read what is there.
#[test]
fn an_older_or_equal_update_gives_false_and_changes_nothing() {
    for store in stores() {
        let mut plug = plug(&store);
        let mut update = |kind, version| {
            plug.upsert(kind, "x", serialized(version, false, &format!(r#"{{"version":{version}}}"#)))
                .unwrap()
        };
        assert!(update(DataKind::Flag, 5), "{store}");
        assert!(!update(DataKind::Flag, 5) && !update(DataKind::Flag, 4), "{store}");
        assert!(update(DataKind::Segment, 0), "a segment of the same key is another item: {store}");
        assert!(!update(DataKind::Segment, 0), "{store}");
        assert!(update(DataKind::Flag, 6), "{store}");
        assert_eq!(store.get(&Kind::FEATURES, "x").unwrap().unwrap().version(), 6, "{store}");
        assert!(!plug.upsert(DataKind::Flag, "x", serialized(6, true, "")).unwrap(), "{store}");
    }
}

/// An item comes behind those that it refers to, though the SDK has no order at all.
#[test]
fn init_gives_segments_before_flags_and_prerequisites_before_dependents() {
    let test = Arc::new(TestStore::default());
    let store: Store = Arc::<TestStore>::clone(&test);
    let prerequisite = |key: &str| format!(r#"{{"prerequisites":[{{"key":"{key}","variation":0}}]}}"#);
    let flags = [
        ("a", serialized(1, false, &prerequisite("b"))),
        ("b", serialized(1, false, &prerequisite("c"))),
        ("c", serialized(1, false, "{}")),
    ];
    plug(&store).init(all_data(&flags, &[("s", serialized(1, false, "{}"))])).unwrap();
    let inits = test.inits.lock().unwrap();
    let order: Vec<_> = inits[0]
        .kinds()
        .flat_map(|(kind, items)| items.map(move |(key, _)| format!("{kind}/{key}")))
        .collect();
    assert_eq!(order, ["segments/s", "features/c", "features/b", "features/a"]);
}

/// What the SDK knows is all there is: what was there before is gone, whatever its version.
#[test]
fn init_replaces_both_kinds() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "old", &flag("old", 9, true));
        put(&store, &Kind::SEGMENTS, "old", &segment("old", 9, "user-1"));
        plug(&store).init(all_data(&[("new", serialized(1, false, "{}"))], &[])).unwrap();
        assert!(store.get_all(&Kind::SEGMENTS).unwrap().by_key.is_empty(), "{store}");
        let flags: Vec<_> = store.get_all(&Kind::FEATURES).unwrap().by_key.into_keys().collect();
        assert_eq!(flags, ["new"], "{store}");
    }
}

/// A text that no reader would understand never reaches the database.
#[test]
fn what_is_not_an_item_is_refused_by_name() {
    for store in stores() {
        let mut plug = plug(&store);
        for json in ["", "[]", "{", r#"{"version":-1}"#, r#"{"version":9007199254740993}"#] {
            let error = plug.upsert(DataKind::Segment, "staff", serialized(1, false, json)).unwrap_err();
            assert!(error.to_string().starts_with("segments/staff: "), "{json}: {error}");
            let error = plug.init(all_data(&[("dark-mode", serialized(1, false, json))], &[])).unwrap_err();
            assert!(error.to_string().starts_with("features/dark-mode: "), "{json}: {error}");
        }
        assert!(store.get(&Kind::SEGMENTS, "staff").unwrap().is_none(), "{store}");
        assert!(!store.is_initialized().unwrap(), "{store}");
    }
}

/// The SDK may ask a factory more than once, and a user may keep a clone.
#[test]
fn all_that_a_factory_makes_is_the_same_store() {
    for store in stores() {
        let factory = FlagstoreFactory::new(store);
        let mut one = factory.create_persistent_data_store().unwrap();
        let other = factory.clone().create_persistent_data_store().unwrap();
        one.init(AllData { flags: HashMap::new(), segments: HashMap::new() }).unwrap();
        one.upsert(DataKind::Flag, "a", serialized(1, false, &flag("a", 1, true))).unwrap();
        assert!(other.is_initialized() && other.flag("a").unwrap().is_some());
    }
}

/// An item that the SDK cannot parse is left out of all flags, where it would empty the map.
#[test]
fn a_flag_that_does_not_parse_is_left_out_and_spoils_no_other() {
    for store in stores() {
        put(&store, &Kind::FEATURES, "good", &flag("good", 1, true));
        put(&store, &Kind::FEATURES, "wrong", r#"{"key":"wrong","version":1,"on":"yes"}"#);
        assert_eq!(
            store.upsert(&Kind::FEATURES, "gone", &Item::tombstone("gone", 2).unwrap()).unwrap(),
            Upsert::Applied
        );
        let all = plug(&store).all_flags().unwrap();
        let mut keys: Vec<_> = all.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["gone", "good"], "tombstones are handed over: {store}");
        assert!(all["gone"].deleted && !all["good"].deleted, "{store}");
    }
}

/// A database that is away gives errors that say so, and is no reason to panic.
#[test]
fn a_failing_store_gives_its_errors() {
    let store: Store = Arc::new(TestStore { down: Some("connection refused"), ..TestStore::default() });
    let mut plug = plug(&store);
    let errors = [
        plug.flag("a").err(),
        plug.segment("a").err(),
        plug.all_flags().err(),
        plug.upsert(DataKind::Flag, "a", serialized(1, false, "{}")).err(),
        plug.init(all_data(&[], &[])).err(),
    ];
    let errors: Vec<_> = errors.into_iter().map(|error| error.unwrap().to_string()).collect();
    let expected = ["get", "get", "get_all", "upsert", "init"];
    assert_eq!(errors, expected.map(|operation| format!("test: {operation}: connection refused")));
    assert!(!plug.is_initialized());
}
