//! A table that is somebody else's, or of another shape: nothing is written to it.

use std::time::Duration;

use flagstore_core::{BigSegmentUpdates, ErrorKind, FeatureStoreCore, Kind, UnixMillis, Upsert};
use flagstore_dynamodb::aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};

use crate::support::proxy::Do;
use crate::support::{PATIENCE, Row, Server, n, random_name, s, wait};
use crate::{assert_kind, cases, flag, flags};

cases![
    a_table_of_another_shape_is_not_written_to,
    the_shape_is_proven_once,
    what_could_not_be_proven_is_not_written,
    a_table_that_was_made_anew_is_proven_when_it_is_there,
];

type Key = (&'static str, ScalarAttributeType);

/// A table with a partition key and perhaps a sort key.
fn create(server: &Server, keys: &[Key]) -> Server {
    let server = Server { table: random_name(), ..server.clone() };
    let mut create =
        server.raw.create_table().table_name(&server.table).billing_mode(BillingMode::PayPerRequest);
    for ((name, attribute_type), key_type) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
        let attribute =
            AttributeDefinition::builder().attribute_name(*name).attribute_type(attribute_type.clone());
        let key = KeySchemaElement::builder().attribute_name(*name).key_type(key_type);
        create = create.attribute_definitions(attribute.build().unwrap()).key_schema(key.build().unwrap());
    }
    wait(create.send()).unwrap();
    server
}

fn drop_table(server: &Server) {
    wait(server.raw.delete_table().table_name(&server.table).send()).unwrap();
}

/// Everything in the table, in some order of its own that does not change.
fn rows(server: &Server) -> Vec<Row> {
    let scan = server.raw.scan().table_name(&server.table).consistent_read(true);
    let mut rows = wait(scan.send()).unwrap().items.unwrap();
    rows.sort_by_key(|row| format!("{:?}", row.get("key")));
    rows
}

/// Whatever the shape, the rows of another application stay as they are: also where they have the keys of our own
/// items, which is where an unconditional put finds them.
fn a_table_of_another_shape_is_not_written_to(server: &Server) {
    use ScalarAttributeType::{B, N, S};
    let shapes: [&[Key]; 6] = [
        &[("key", S)],
        &[("namespace", S)],
        &[("key", S), ("namespace", S)],
        &[("namespace", S), ("id", S)],
        &[("namespace", S), ("key", N)],
        &[("namespace", B), ("key", S)],
    ];
    for shape in shapes {
        let server = create(server, shape);
        let namespace = server.namespace("features");
        for number in 0..30 {
            let of_type = |wanted: &ScalarAttributeType, text: &str| match wanted {
                N => n(number),
                B => AttributeValue::B(text.as_bytes().to_vec().into()),
                _ => s(text),
            };
            let mut row = Row::from([
                ("namespace".to_owned(), s(&namespace)),
                ("key".to_owned(), s(&format!("flag-{number}"))),
                ("id".to_owned(), n(number)),
                ("theirs".to_owned(), s("precious")),
            ]);
            for (name, key_type) in shape {
                let text = if *name == "namespace" { namespace.clone() } else { format!("flag-{number}") };
                row.insert((*name).to_owned(), of_type(key_type, &text));
            }
            wait(server.raw.put_item().table_name(&server.table).set_item(Some(row)).send()).unwrap();
        }
        let before = rows(&server);
        let store = server.builder().timeout(PATIENCE).build().unwrap();
        let says = "needs the partition key `namespace` (S) and the sort key `key` (S)";
        assert_kind(store.init(&flags(30, 1, 10)), ErrorKind::Unavailable, says);
        assert_kind(store.upsert(&Kind::FEATURES, "flag-1", &flag(1)), ErrorKind::Unavailable, says);
        assert_kind(store.set_metadata(UnixMillis(1)), ErrorKind::Unavailable, says);
        assert_eq!(rows(&server), before, "{shape:?}");
        drop_table(&server);
    }
}

/// By one small request before the first write of a store, whichever that is, and no more.
fn the_shape_is_proven_once(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.store();
    std::thread::scope(|scope| {
        for key in ["a", "b", "c", "d"] {
            let store = &store;
            scope.spawn(move || {
                assert_eq!(store.upsert(&Kind::FEATURES, key, &flag(1)).unwrap(), Upsert::Applied);
            });
        }
    });
    let operations = proxy.take_operations();
    assert_eq!(operations.iter().filter(|operation| *operation == "Query").count(), 1, "{operations:?}");
    assert_eq!(operations[0], "Query");
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &flag(2)).unwrap(), Upsert::Applied);
    assert_eq!(proxy.take_operations(), ["PutItem"]);

    let store = behind.store();
    store.init(&flags(1, 1, 1)).unwrap();
    proxy.take();
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &flag(3)).unwrap(), Upsert::Applied);
    assert_eq!(proxy.take_operations(), ["PutItem"]);
}

/// The proof can fail as any request can. Then the next write makes it.
fn what_could_not_be_proven_is_not_written(server: &Server) {
    let (proxy, behind) = server.behind(|request| match request.number {
        0 => Do::fail(400, "AccessDeniedException"),
        _ => Do::Forward,
    });
    let store = behind.store();
    let refused = store.upsert(&Kind::FEATURES, "a", &flag(1));
    assert_kind(refused, ErrorKind::Unavailable, "not allowed");
    assert_eq!(proxy.take_operations(), ["Query"]);
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &flag(1)).unwrap(), Upsert::Applied);
    assert_eq!(proxy.take_operations(), ["Query", "PutItem"]);
}

/// A table that is missing at first is no proof of anything.
fn a_table_that_was_made_anew_is_proven_when_it_is_there(server: &Server) {
    let server = Server { table: random_name(), ..server.clone() };
    let store = server.builder().timeout(Duration::from_secs(30)).build().unwrap();
    assert_kind(store.upsert(&Kind::FEATURES, "a", &flag(1)), ErrorKind::Unavailable, "does not exist");
    let foreign = create(&Server { ..server.clone() }, &[("key", ScalarAttributeType::S)]);
    let store_of_foreign = foreign.store();
    assert!(store_of_foreign.init(&flags(1, 1, 1)).is_err());
    drop_table(&foreign);
    assert!(store.create_table_if_missing().unwrap());
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &flag(1)).unwrap(), Upsert::Applied);
    drop_table(&server);
}
