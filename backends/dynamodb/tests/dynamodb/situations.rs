//! What goes wrong in a deployment: each has its own message, with what to do next.

use std::time::Duration;

use flagstore_core::{ErrorKind, FeatureStoreCore, Item, Kind, StoreError};
use flagstore_dynamodb::DynamoDbStore;
use flagstore_dynamodb::aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};

use crate::child::{self, Task};
use crate::support::proxy::Do;
use crate::support::{PATIENCE, Server, random_name, wait};
use crate::{assert_kind, cases, flag, flags};

cases![
    no_such_table,
    a_table_with_other_keys,
    no_credentials,
    no_region,
    credentials_that_aws_does_not_accept,
    not_allowed,
    throttled,
    an_endpoint_where_nobody_listens,
    an_endpoint_that_does_not_exist,
    an_endpoint_that_never_accepts,
    an_endpoint_that_speaks_no_http,
    https_without_tls,
    too_large,
    a_database_that_comes_up_later,
];

/// What every method that can fail says.
fn failures(store: &DynamoDbStore) -> [Option<StoreError>; 5] {
    [
        store.init(&flags(1, 1, 1)).err(),
        store.get(&Kind::FEATURES, "a").err(),
        store.get_all(&Kind::FEATURES).err(),
        store.upsert(&Kind::FEATURES, "a", &flag(1)).err(),
        store.is_initialized().err(),
    ]
}

/// Every method says so, with where and what to do, and no secret.
fn assert_all_say(store: &DynamoDbStore, kind: ErrorKind, says: &str) {
    for error in failures(store) {
        assert_kind(Err::<(), _>(error.expect("it cannot work")), kind, says);
    }
    assert!(!store.is_available());
}

fn patient(server: &Server) -> DynamoDbStore {
    server.builder().timeout(PATIENCE).build().unwrap()
}

fn no_such_table(server: &Server) {
    let server = Server { table: random_name(), ..server.clone() };
    let says = format!("table {} at {}: the table does not exist: create it", server.table, server.endpoint);
    assert_all_say(&patient(&server), ErrorKind::Unavailable, &says);
}

fn a_table_with_other_keys(server: &Server) {
    let server = Server { table: random_name(), ..server.clone() };
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let create = server
        .raw
        .create_table()
        .table_name(&server.table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(id.build().unwrap())
        .key_schema(
            KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap(),
        );
    wait(create.send()).unwrap();
    let says = "needs the partition key `namespace` (S) and the sort key `key` (S)";
    assert_all_say(&patient(&server), ErrorKind::Unavailable, says);
    wait(server.raw.delete_table().table_name(&server.table).send()).unwrap();
}

/// In a process whose environment has none.
fn no_credentials(server: &Server) {
    let endpoint = server.endpoint.as_str();
    let said = child::run(Task::Get, server, &[("AWS_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL", endpoint)]);
    assert!(said.starts_with("Unavailable dynamodb: get features/a: table "), "{said}");
    assert!(said.contains("no AWS credentials: set a provider on the builder, AWS_ACCESS_KEY_ID"), "{said}");
}

/// In a process whose environment has none.
fn no_region(server: &Server) {
    let said = child::run(Task::Get, server, &[]);
    assert!(said.starts_with("Unavailable dynamodb: get features/a: table "), "{said}");
    assert!(said.contains("no AWS region: set it on the builder, in AWS_REGION"), "{said}");
}

fn credentials_that_aws_does_not_accept(server: &Server) {
    for code in ["UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"] {
        let (_proxy, behind) = server.behind(move |_| Do::fail(400, code));
        let says = format!("AWS does not accept the credentials ({code})");
        assert_all_say(&patient(&behind), ErrorKind::Unavailable, &says);
    }
}

fn not_allowed(server: &Server) {
    let (_proxy, behind) = server.behind(|_| Do::fail(400, "AccessDeniedException"));
    assert_all_say(
        &patient(&behind),
        ErrorKind::Unavailable,
        "not allowed: give the role or user this permission",
    );
}

fn throttled(server: &Server) {
    let (_proxy, behind) = server.behind(|_| Do::throttle());
    let store = patient(&behind);
    let error = store.get(&Kind::FEATURES, "a");
    assert_kind(error, ErrorKind::Unavailable, "throttled: raise the table's capacity, or make it on-demand");
}

fn an_endpoint_where_nobody_listens(server: &Server) {
    let store = server.builder().endpoint("http://127.0.0.1:9").timeout(PATIENCE).build().unwrap();
    let says = "at http://127.0.0.1:9: cannot connect, or the connection broke: check the endpoint";
    assert_all_say(&store, ErrorKind::Unavailable, says);
}

fn an_endpoint_that_does_not_exist(server: &Server) {
    let store = server.builder().endpoint("http://nowhere.invalid").timeout(PATIENCE).build().unwrap();
    let error = store.get(&Kind::FEATURES, "a").unwrap_err();
    // A resolver without a network may also take its time.
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
    assert!(error.to_string().contains("http://nowhere.invalid"), "{error}");
}

/// As behind a firewall that drops packets: the queue of a socket that nobody accepts from is full.
fn an_endpoint_that_never_accepts(server: &Server) {
    if !cfg!(target_os = "linux") {
        return; // Other systems refuse.
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(connection) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        queue.push(connection);
    }
    let store = server.builder().endpoint(format!("http://{address}")).timeout(PATIENCE);
    let store = store.attempt_timeout(PATIENCE).connect_timeout(Duration::from_millis(50)).build().unwrap();
    let error = store.get(&Kind::FEATURES, "a");
    assert_kind(error, ErrorKind::Timeout, "no answer in time: check the network, or raise the timeouts");
    let error = store.upsert(&Kind::FEATURES, "a", &flag(1));
    assert_kind(error, ErrorKind::Timeout, "connect");
}

fn an_endpoint_that_speaks_no_http(server: &Server) {
    let (_proxy, behind) = server.behind(|_| Do::Close);
    let store = patient(&behind);
    let says = "cannot connect, or the connection broke: check the endpoint";
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Unavailable, says);
    // It was sent, and who knows.
    let (_proxy, behind) = server.behind(|request| match &*request.operation {
        "PutItem" => Do::Close,
        _ => Do::Forward,
    });
    let store = patient(&behind);
    assert_kind(
        store.upsert(&Kind::FEATURES, "a", &flag(1)),
        ErrorKind::Timeout,
        "the write may have happened",
    );
}

/// Only in a build without either of the features.
fn https_without_tls(server: &Server) {
    if cfg!(any(feature = "tls-rustls-aws-lc", feature = "tls-rustls-ring")) {
        return;
    }
    let store = server.builder().endpoint("https://127.0.0.1:9").timeout(PATIENCE).build().unwrap();
    let says = "no TLS is compiled: turn on one of the features tls-rustls-aws-lc and tls-rustls-ring";
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Unavailable, says);
}

fn too_large(server: &Server) {
    let large = Item::parse(format!(r#"{{"version":2,"filler":"{}"}}"#, "x".repeat(400_000))).unwrap();
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let error = behind.store().upsert(&Kind::FEATURES, "a", &large);
    assert_kind(
        error,
        ErrorKind::TooLarge,
        "upsert features/a: larger than the 400 KB that DynamoDB can hold",
    );
    assert!(proxy.take().is_empty(), "it is known without asking");
}

/// A store need not be built again. (Peers' bugs 18 and 37.)
fn a_database_that_comes_up_later(server: &Server) {
    let name = random_name();
    let store = Server { table: name.clone(), ..server.clone() }.store();
    assert!(!store.is_available());
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Unavailable, "does not exist");
    assert!(store.create_table_if_missing().unwrap());
    assert!(!store.create_table_if_missing().unwrap());
    assert!(store.is_available());
    store.init(&flags(3, 1, 1)).unwrap();
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 3);
    wait(server.raw.delete_table().table_name(&name).send()).unwrap();
}
