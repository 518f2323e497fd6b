//! Credentials and region that take their time, or never come. No call cancels what all calls need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use flagstore_core::{
    CacheMode, CachingStoreWrapper, ErrorKind, FeatureStore, FeatureStoreCore, Kind, StoreError,
};
use flagstore_dynamodb::DynamoDbStore;
use flagstore_dynamodb::aws_sdk_dynamodb::Client;
use flagstore_dynamodb::aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use flagstore_dynamodb::aws_sdk_dynamodb::config::{Credentials, ProvideCredentials};
use flagstore_dynamodb::aws_sdk_dynamodb::error::BoxError;

use crate::child::{self, Task};
use crate::support::proxy::Do;
use crate::support::{PATIENCE, SECRETS, Server};
use crate::{assert_kind, cases, flag, flags};

cases![
    slow_credentials_are_there_in_the_end,
    slow_credentials_do_not_fail_a_call_that_has_the_time,
    slow_credentials_of_a_ready_client_are_there_in_the_end,
    credentials_are_renewed_while_the_old_ones_still_hold,
    a_renewal_that_fails_is_tried_again_while_the_old_ones_still_hold,
    a_renewal_that_goes_on_failing_is_tried_less_often,
    credentials_that_have_expired_already_are_named,
    credentials_that_expired_are_waited_for,
    a_wrapper_gets_over_slow_credentials,
    a_source_that_fails_is_named_at_once_and_asked_again,
    credentials_that_aws_refuses_are_asked_for_anew,
    a_call_waits_for_credentials_no_longer_than_its_timeout,
    without_region_and_with_a_mute_metadata_service_the_region_is_named,
    without_credentials_and_with_a_mute_metadata_service_the_credentials_are_named,
];

/// A source of credentials that takes this long each time.
#[derive(Debug, Clone)]
struct Source {
    takes: Duration,
    valid_for: Option<Duration>,
    /// Which loads fail, by their number.
    fails: fn(usize) -> bool,
    loads: Arc<AtomicUsize>,
}

impl Source {
    fn that_takes(takes: Duration) -> Self {
        Self { takes, valid_for: None, fails: |_| false, loads: Arc::default() }
    }

    fn valid_for(self, time: Duration) -> Self {
        Self { valid_for: Some(time), ..self }
    }

    fn failing(self, fails: fn(usize) -> bool) -> Self {
        Self { fails, ..self }
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::Acquire)
    }

    async fn load(&self) -> Result<Credentials, BoxError> {
        let number = self.loads.fetch_add(1, Ordering::AcqRel);
        tokio::time::sleep(self.takes).await;
        if (self.fails)(number) {
            return Err("the vault is sealed".into());
        }
        let expiry = self.valid_for.map(|time| SystemTime::now() + time);
        Ok(Credentials::new(SECRETS[0], SECRETS[1], Some(SECRETS[2].to_owned()), expiry, "tests"))
    }
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::new(async {
            self.load().await.map_err(aws_credential_types::provider::error::CredentialsError::provider_error)
        })
    }
}

/// With the default timeouts, which is what this is about.
fn store(server: &Server, source: &Source) -> DynamoDbStore {
    server.builder().credentials_provider(source.clone()).build().unwrap()
}

/// Reads until it works, and returns the errors until then.
fn errors_until_it_works(store: &DynamoDbStore) -> Vec<StoreError> {
    let deadline = Instant::now() + PATIENCE;
    let mut errors = Vec::new();
    while let Err(error) = store.get(&Kind::FEATURES, "a") {
        assert!(Instant::now() < deadline, "{error}");
        errors.push(error);
    }
    errors
}

/// A process that only reads. The first calls wait and say for what, and the load goes on without them.
fn slow_credentials_are_there_in_the_end(server: &Server) {
    thread::scope(|scope| {
        for seconds in [1, 3, 10] {
            scope.spawn(move || {
                let source = Source::that_takes(Duration::from_secs(seconds));
                let store = store(server, &source);
                let start = Instant::now();
                let errors = errors_until_it_works(&store);
                println!(
                    "credentials that take {seconds} s: {} calls said so, and the next one worked after {:.1?}",
                    errors.len(),
                    start.elapsed()
                );
                assert_eq!(source.loads(), 1, "the load is not begun anew");
                assert!(seconds > 2 || errors.is_empty(), "{errors:?}");
                for error in errors {
                    assert_kind(
                        Err::<(), _>(error),
                        ErrorKind::Unavailable,
                        "waited for the AWS credentials",
                    );
                }
                store.init(&flags(1, 1, 1)).unwrap();
                assert_eq!(source.loads(), 1);
            });
        }
    });
}

/// They take longer than an attempt, and than all of them.
fn slow_credentials_do_not_fail_a_call_that_has_the_time(server: &Server) {
    let source = Source::that_takes(Duration::from_secs(3));
    let store = server.builder().credentials_provider(source).timeout(PATIENCE).build().unwrap();
    assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
}

/// A client that was handed in loads them itself. No call of the store cancels that either, and each says what it has
/// waited for, also if the client has timeouts of its own.
fn slow_credentials_of_a_ready_client_are_there_in_the_end(server: &Server) {
    let of_attempt = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(600)).build();
    for timeouts in [TimeoutConfig::disabled(), of_attempt] {
        let source = Source::that_takes(Duration::from_secs(3));
        let config = server.raw.config().to_builder().credentials_provider(source.clone());
        let client = Client::from_conf(config.timeout_config(timeouts).build());
        let builder = DynamoDbStore::builder(&server.table).prefix(&server.prefix);
        let store = builder.client(client).build().unwrap();
        let errors = errors_until_it_works(&store);
        assert!(!errors.is_empty());
        for error in errors {
            assert!(!error.to_string().contains("check the network"), "{error}");
            assert_kind(Err::<(), _>(error), ErrorKind::Timeout, "its own provider for AWS credentials");
        }
        assert_eq!(source.loads(), 1);
    }
}

/// So nobody waits for a renewal, however slow the source is.
fn credentials_are_renewed_while_the_old_ones_still_hold(server: &Server) {
    let source = Source::that_takes(Duration::from_millis(700)).valid_for(Duration::from_secs(4));
    let store = store(server, &source);
    assert_eq!(errors_until_it_works(&store).len(), 0);
    let deadline = Instant::now() + PATIENCE;
    while source.loads() < 4 {
        assert!(Instant::now() < deadline, "no renewal");
        assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
    }
}

/// A short trouble of the source is nobody's.
fn a_renewal_that_fails_is_tried_again_while_the_old_ones_still_hold(server: &Server) {
    let source = Source::that_takes(Duration::from_millis(10))
        .valid_for(Duration::from_secs(5))
        .failing(|load| load % 2 == 1);
    let store = store(server, &source);
    let deadline = Instant::now() + PATIENCE;
    while source.loads() < 5 {
        assert!(Instant::now() < deadline, "no renewal");
        assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
    }
}

/// While the old ones hold there is time, and a source in trouble is not asked ten times a second by everyone.
fn a_renewal_that_goes_on_failing_is_tried_less_often(server: &Server) {
    let source = Source::that_takes(Duration::ZERO)
        // Due for renewal at once.
        .valid_for(Duration::from_secs(60))
        .failing(|load| load > 0);
    let store = store(server, &source);
    assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
    let loads_after = |loads| {
        let deadline = Instant::now() + PATIENCE;
        while source.loads() < loads {
            assert!(Instant::now() < deadline, "no renewal");
            thread::yield_now();
        }
        Instant::now()
    };
    let second = loads_after(2);
    // After 0.1 and 0.1 s, 0.1 and 0.2 s, 0.1 and 0.4 s.
    assert!(loads_after(5) - second > Duration::from_millis(900));
    assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
}

/// By a source that gives old ones, or a clock that is wrong. It is asked again for the next call, and for none else.
fn credentials_that_have_expired_already_are_named(server: &Server) {
    let source = Source::that_takes(Duration::ZERO).valid_for(Duration::ZERO);
    let store = store(server, &source);
    let says = "what it gives has expired already";
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Unavailable, says);
    let loads = source.loads();
    thread::sleep(Duration::from_millis(500));
    assert!(source.loads() <= loads + 1, "{} loads, and nobody wants them", source.loads());
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Unavailable, says);
}

/// Such as after the machine slept. They are never used.
fn credentials_that_expired_are_waited_for(server: &Server) {
    // Valid for no longer than it takes to load the next ones.
    let source = Source::that_takes(Duration::from_millis(500)).valid_for(Duration::from_millis(300));
    let store = store(server, &source);
    for _ in 0..3 {
        assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
        thread::sleep(Duration::from_millis(400));
    }
    assert!(source.loads() >= 3);
}

/// A call that waited in vain makes the database unavailable, and the credentials make it available again: at first, and
/// whenever they are renewed, here always too late.
fn a_wrapper_gets_over_slow_credentials(server: &Server) {
    let source = Source::that_takes(Duration::from_secs(3)).valid_for(Duration::from_secs(1));
    let wrapper = CachingStoreWrapper::builder(store(server, &source)).mode(CacheMode::Off).build().unwrap();
    let status = wrapper.status_provider();
    assert!(wrapper.get(&Kind::FEATURES, "a").is_err());
    assert!(!status.status().available);
    let deadline = Instant::now() + PATIENCE;
    for renewal in 1..=3 {
        while source.loads() < renewal || !status.status().available {
            assert!(Instant::now() < deadline, "after {} loads: {:?}", source.loads(), status.status());
            let _ = wrapper.get(&Kind::FEATURES, "a");
        }
    }
}

/// Its own words are kept, nobody waits for what has failed, and later it is asked again.
fn a_source_that_fails_is_named_at_once_and_asked_again(server: &Server) {
    let source = Source::that_takes(Duration::from_millis(10)).failing(|load| load < 2);
    let store = store(server, &source);
    let error = store.get(&Kind::FEATURES, "a");
    assert_kind(error, ErrorKind::Unavailable, "the vault is sealed");
    for error in errors_until_it_works(&store) {
        assert_kind(Err::<(), _>(error), ErrorKind::Unavailable, "the vault is sealed");
    }
    assert_eq!(source.loads(), 3);
}

/// Such as after they were replaced, or taken back before their time.
fn credentials_that_aws_refuses_are_asked_for_anew(server: &Server) {
    let (_proxy, behind) = server.behind(|request| match request.number {
        1 => Do::fail(400, "ExpiredTokenException"),
        _ => Do::Forward,
    });
    let source = Source::that_takes(Duration::from_millis(10));
    let store = behind.builder().credentials_provider(source.clone()).timeout(PATIENCE).build().unwrap();
    assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
    let says = "AWS does not accept the credentials (ExpiredTokenException)";
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Unavailable, says);
    assert_eq!(source.loads(), 1);
    assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
    assert_eq!(source.loads(), 2);
}

/// Every method says what it waited for. Nothing was sent, so nothing is in doubt.
fn a_call_waits_for_credentials_no_longer_than_its_timeout(server: &Server) {
    let source = Source::that_takes(2 * PATIENCE);
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let short = Duration::from_millis(100);
    let builder = behind.builder().credentials_provider(source.clone());
    let store = builder.timeout(short).init_timeout(short).build().unwrap();
    let says = "waited for the AWS credentials";
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Unavailable, says);
    assert_kind(store.get_all(&Kind::FEATURES), ErrorKind::Unavailable, says);
    assert_kind(store.upsert(&Kind::FEATURES, "a", &flag(1)), ErrorKind::Unavailable, says);
    assert_kind(store.init(&flags(1, 1, 1)), ErrorKind::Unavailable, says);
    assert_kind(store.is_initialized(), ErrorKind::Unavailable, says);
    assert!(!store.is_available());
    assert_eq!((source.loads(), proxy.take().len()), (1, 0));
}

/// The endpoint of a metadata service that accepts and never answers, as in a container that is one hop too far.
fn mute() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

/// In a process whose environment has none. It says so in the end, and from then on at once.
fn without_region_and_with_a_mute_metadata_service_the_region_is_named(server: &Server) {
    let (_listener, metadata) = mute();
    let environment =
        [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*metadata), ("AWS_EC2_METADATA_DISABLED", "false")];
    let said = child::run(Task::GetOften, server, &environment);
    for line in said.lines() {
        assert!(line.contains("AWS region"), "{line}");
        assert!(!line.contains("check the network"), "{line}");
    }
    assert!(said.contains("waited for the AWS region"), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.contains("no AWS region: set it on the builder, in AWS_REGION"), "{said}");
    assert!(last.contains("metadata service"), "{said}");
}

/// With a region, but nothing else.
fn without_credentials_and_with_a_mute_metadata_service_the_credentials_are_named(server: &Server) {
    let (_listener, metadata) = mute();
    let environment = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &server.endpoint),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*metadata),
        ("AWS_EC2_METADATA_DISABLED", "false"),
    ];
    let said = child::run(Task::GetOften, server, &environment);
    for line in said.lines() {
        assert!(line.contains("AWS credentials"), "{line}");
        assert!(!line.contains("check the network"), "{line}");
    }
    let last = said.lines().last().unwrap();
    assert!(last.contains("no AWS credentials: set a provider on the builder"), "{said}");
    assert!(last.contains("metadata service"), "{said}");
}
