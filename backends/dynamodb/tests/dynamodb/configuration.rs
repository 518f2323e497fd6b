//! Every setting has an effect. (Peers' bugs 31, 33: options that were silently ignored.)

use std::time::Duration;

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind, Upsert};
use flagstore_dynamodb::aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider};
use flagstore_dynamodb::{DynamoDbStore, SdkConfig};

use crate::child::{self, Task};
use crate::support::proxy::{Do, Proxy};
use crate::support::{PATIENCE, SECRETS, Server, credentials};
use crate::{assert_kind, cases, flag, flags};

cases![
    prefix_separates_stores_in_one_table,
    region_endpoint_and_credentials_provider_are_used,
    sdk_config_is_used_and_the_builder_counts_more,
    client_is_used_and_not_closed,
    timeout_bounds_a_ready_client,
    the_environment_is_used,
    the_environments_endpoint_for_dynamodb_counts_in_an_sdk_config,
    a_password_in_the_environments_endpoint_is_not_shown,
    timeout_is_the_deadline_of_all_calls_but_init,
    init_timeout_is_the_deadline_of_init,
    attempt_timeout_begins_another_attempt,
    max_attempts_is_how_often_a_request_is_sent,
    no_thread_is_left_behind,
];

fn authorization(proxy: &Proxy) -> String {
    proxy.take().remove(0).headers.remove("authorization").unwrap()
}

fn sdk_config(endpoint: &str) -> SdkConfig {
    SdkConfig::builder()
        .region(Region::new("eu-central-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials()))
        .build()
}

/// Stores of different prefixes see nothing of each other.
fn prefix_separates_stores_in_one_table(server: &Server) {
    let other = server.anew();
    let (one, two) = (server.store(), other.store());
    one.init(&flags(3, 1, 1)).unwrap();
    assert_eq!(two.upsert(&Kind::FEATURES, "flag-0", &flag(7)).unwrap(), Upsert::Applied);
    assert_eq!(one.get_all(&Kind::FEATURES).unwrap().by_key.len(), 3);
    assert_eq!(two.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1);
    assert!(one.is_initialized().unwrap() && !two.is_initialized().unwrap());
}

/// The request goes to the endpoint, and is signed for the region with the credentials.
fn region_endpoint_and_credentials_provider_are_used(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = behind.builder().region("ap-south-1").timeout(PATIENCE).build().unwrap();
    assert!(store.is_available() || !store.is_available());
    let authorization = authorization(&proxy);
    assert!(
        authorization.contains(SECRETS[0]) && authorization.contains("/ap-south-1/dynamodb/"),
        "{authorization}"
    );
}

/// All that the application has configured for AWS, unless the builder says otherwise.
fn sdk_config_is_used_and_the_builder_counts_more(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let builder =
        DynamoDbStore::builder(&server.table).timeout(PATIENCE).sdk_config(sdk_config(&behind.endpoint));
    let _ = builder.clone().build().unwrap().is_available();
    let of_config = authorization(&proxy);
    assert!(of_config.contains(SECRETS[0]) && of_config.contains("/eu-central-1/"), "{of_config}");

    let other = Credentials::new("otherid", "othersecret", None, None, "tests");
    let _ = builder.region("ap-south-1").credentials_provider(other).build().unwrap().is_available();
    let of_builder = authorization(&proxy);
    assert!(of_builder.contains("otherid") && of_builder.contains("/ap-south-1/"), "{of_builder}");
}

/// It works before, beside and after the store.
fn client_is_used_and_not_closed(server: &Server) {
    server.put("elsewhere", "a", []);
    let builder = DynamoDbStore::builder(&server.table).prefix(&server.prefix).client(server.raw.clone());
    let store = builder.timeout(PATIENCE).build().unwrap();
    store.init(&flags(30, 1, 1)).unwrap();
    assert_eq!(store.upsert(&Kind::FEATURES, "flag-1", &flag(2)).unwrap(), Upsert::Applied);
    assert!(server.row(&server.namespace("features"), "flag-1").is_some());
    drop(store);
    assert!(server.row(&server.namespace("features"), "flag-2").is_some());
}

/// A client without any timeouts.
fn timeout_bounds_a_ready_client(server: &Server) {
    let (_proxy, behind) = server.behind(|_| Do::Hang);
    let client = Server::at(&behind.endpoint, server.table.clone()).raw;
    let short = Duration::from_millis(100);
    let builder = DynamoDbStore::builder(&server.table).client(client).timeout(short).init_timeout(short);
    let store = builder.build().unwrap();
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Timeout, "no answer within the timeout of 100ms");
    assert_kind(store.init(&flags(1, 1, 1)), ErrorKind::Timeout, "no answer within the timeout of 100ms");
}

/// Region, endpoint and credentials of a process, for a store that was told nothing but its table.
fn the_environment_is_used(server: &Server) {
    let said = child::run(
        Task::Get,
        server,
        &[
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &server.endpoint),
            ("AWS_ACCESS_KEY_ID", SECRETS[0]),
            ("AWS_SECRET_ACCESS_KEY", SECRETS[1]),
        ],
    );
    assert_eq!(said.trim(), format!("found false in DynamoDB(us-east-1/{})", server.table));
}

/// An endpoint for DynamoDB alone counts more than one for all services, as it does for the SDK itself.
fn the_environments_endpoint_for_dynamodb_counts_in_an_sdk_config(server: &Server) {
    let said = child::run(
        Task::GetByConfig,
        server,
        &[
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &server.endpoint),
            ("AWS_ACCESS_KEY_ID", SECRETS[0]),
            ("AWS_SECRET_ACCESS_KEY", SECRETS[1]),
        ],
    );
    assert_eq!(said.trim(), format!("found false in DynamoDB({}/{})", server.endpoint, server.table));
}

/// The builder and an SdkConfig refuse one; the environment is the SDK's to read.
fn a_password_in_the_environments_endpoint_is_not_shown(server: &Server) {
    let said = child::run(
        Task::Get,
        server,
        &[
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://user:hunter2@127.0.0.1:9"),
            ("AWS_ACCESS_KEY_ID", SECRETS[0]),
            ("AWS_SECRET_ACCESS_KEY", SECRETS[1]),
        ],
    );
    assert!(said.contains("cannot connect") && !said.contains("hunter2"), "{said}");
}

/// Reads and updates end, and an init does not.
fn timeout_is_the_deadline_of_all_calls_but_init(server: &Server) {
    let (_proxy, behind) = server.behind(|_| Do::Delay(Duration::from_millis(300)));
    let store = behind.builder().timeout(Duration::from_millis(100)).init_timeout(PATIENCE).build().unwrap();
    store.init(&flags(1, 1, 1)).unwrap();
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Timeout, "get features/a");
    assert_kind(store.get_all(&Kind::FEATURES), ErrorKind::Timeout, "get_all");
    assert_kind(store.upsert(&Kind::FEATURES, "a", &flag(1)), ErrorKind::Timeout, "upsert features/a");
}

/// And the other way round.
fn init_timeout_is_the_deadline_of_init(server: &Server) {
    let (_proxy, behind) = server.behind(|_| Do::Delay(Duration::from_millis(300)));
    let builder = behind.builder().init_timeout(Duration::from_millis(100));
    let store = builder.timeout(PATIENCE).attempt_timeout(PATIENCE).build().unwrap();
    assert_kind(store.init(&flags(1, 1, 1)), ErrorKind::Timeout, "init");
    assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
}

/// The first attempt hangs, and the second one is made while there is time.
fn attempt_timeout_begins_another_attempt(server: &Server) {
    let (proxy, behind) = server.behind(|request| if request.number == 0 { Do::Hang } else { Do::Forward });
    let builder = behind.builder().timeout(PATIENCE).attempt_timeout(Duration::from_secs(2));
    assert_eq!(builder.build().unwrap().get(&Kind::FEATURES, "a").unwrap(), None);
    assert_eq!(proxy.take().len(), 2);
}

/// In all, the first one included.
fn max_attempts_is_how_often_a_request_is_sent(server: &Server) {
    for attempts in [1, 2, 4] {
        let (proxy, behind) = server.behind(|_| Do::fail(500, "InternalServerError"));
        let store = behind.builder().timeout(PATIENCE).max_attempts(attempts).build().unwrap();
        assert_kind(
            store.get(&Kind::FEATURES, "a"),
            ErrorKind::Unavailable,
            "DynamoDB failed, try again later",
        );
        assert_eq!(proxy.take().len(), attempts as usize);
    }
}

/// In a process of its own, where all such threads are the store's.
fn no_thread_is_left_behind(server: &Server) {
    if cfg!(target_os = "linux") {
        let said = child::run(Task::Threads, server, &[]);
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            ["2 threads", "2 threads", "2 threads of 50 stores", "0 threads in the end"]
        );
    }
}
