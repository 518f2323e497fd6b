//! What a network and a busy DynamoDB do, and DynamoDB Local does not.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind, Upsert};
use flagstore_dynamodb::DynamoDbStore;
use flagstore_dynamodb::aws_sdk_dynamodb::Client;

use crate::support::plain_client::plain_client;
use crate::support::proxy::{Do, Proxy, Request};
use crate::support::{PATIENCE, Server};
use crate::{assert_kind, cases, flag, flags};

cases![
    an_init_ends_whole_under_throttling,
    an_init_ends_whole_with_unprocessed_writes,
    an_init_of_deletes_ends_whole_with_unprocessed_writes,
    an_init_that_stays_unprocessed_ends_at_its_deadline,
    an_init_that_fails_does_not_mark_the_store,
    an_init_that_may_have_written_is_a_timeout,
    an_init_whose_reads_are_throttled_has_written_nothing,
    a_passing_fault_is_not_seen,
    a_lost_answer_of_an_applied_update_is_applied,
    a_lost_answer_of_a_stale_update_is_stale,
    an_update_that_may_have_happened_is_a_timeout,
    an_update_that_was_throttled_has_not_happened,
    a_read_that_is_throttled_ends,
    a_broken_answer_is_an_error,
    a_server_that_never_answers_is_a_timeout,
    a_slow_server_is_no_fault,
    a_failing_query_between_pages_is_an_error,
    a_custom_http_client_that_loses_an_answer_is_in_doubt,
    a_custom_http_client_that_cannot_connect_has_sent_nothing,
    a_transaction_of_others_is_waited_for,
    a_transaction_that_does_not_end_is_no_outage,
    what_the_server_refuses_has_its_own_kind,
    connections_that_the_network_forgot_cost_one_call_at_most,
    connections_that_the_network_forgot_cost_each_thread_one_call_at_most,
];

/// True for about 30 of 100 numbers, spread evenly and the same in each run.
fn is_unlucky(number: usize) -> bool {
    number.wrapping_mul(0x9e37_79b9) % 1000 < 300
}

fn is_unlucky_in_batch(request: usize, write: usize) -> bool {
    is_unlucky(request * 25 + write)
}

fn assert_whole(server: &Server, count: usize) {
    let store = server.store();
    let all = store.get_all(&Kind::FEATURES).unwrap();
    assert_eq!((all.by_key.len(), all.unreadable.len()), (count, 0));
    assert!(all.by_key.values().all(|item| item.version() == 1));
    assert!(store.is_initialized().unwrap());
}

/// Three of ten writes throttled, the mark included.
fn an_init_ends_whole_under_throttling(server: &Server) {
    let (_proxy, behind) = server.behind(|request| match &*request.operation {
        "BatchWriteItem" | "PutItem" if is_unlucky(request.number) => Do::throttle(),
        _ => Do::Forward,
    });
    behind.store().init(&flags(500, 1, 10)).unwrap();
    assert_whole(server, 500);
}

/// Three of ten writes come back as unprocessed, which no official SDK sends again.
fn an_init_ends_whole_with_unprocessed_writes(server: &Server) {
    let (proxy, behind) = server.behind(|request| match &*request.operation {
        "BatchWriteItem" => Do::Unprocessed(is_unlucky_in_batch),
        _ => Do::Forward,
    });
    behind.store().init(&flags(500, 1, 10)).unwrap();
    assert_whole(server, 500);
    let batches = proxy.take_operations().iter().filter(|operation| *operation == "BatchWriteItem").count();
    assert!(batches > 20, "{batches}");
}

/// Left-overs too.
fn an_init_of_deletes_ends_whole_with_unprocessed_writes(server: &Server) {
    server.store().init(&flags(100, 1, 10)).unwrap();
    let (_proxy, behind) = server.behind(|request| match &*request.operation {
        // All of them, the first time.
        "BatchWriteItem" if request.nth < 2 => Do::Unprocessed(|_, _| true),
        "BatchWriteItem" => Do::Unprocessed(is_unlucky_in_batch),
        _ => Do::Forward,
    });
    behind.store().init(&flags(5, 1, 10)).unwrap();
    assert_whole(server, 5);
}

/// It says how much is left, and what to do, and the store is not initialized.
fn an_init_that_stays_unprocessed_ends_at_its_deadline(server: &Server) {
    for fault in [Do::Unprocessed(|_, n| n < 5), Do::throttle()] {
        let left = if matches!(fault, Do::Unprocessed(_)) { "5 writes" } else { "25 writes" };
        let server = server.anew();
        let (_proxy, behind) = server.behind(move |request| match &*request.operation {
            "BatchWriteItem" => fault.clone(),
            _ => Do::Forward,
        });
        let store = behind.builder().timeout(PATIENCE).attempt_timeout(PATIENCE);
        let store = store.init_timeout(Duration::from_secs(2)).build().unwrap();
        let error = store.init(&flags(25, 1, 10));
        assert_kind(error, ErrorKind::Timeout, &format!("{left} were still throttled or unprocessed"));
        assert!(!server.store().is_initialized().unwrap());
    }
}

/// Who sees the mark would take the rest for whole. The read of the keys is part of it, whatever was put beside.
fn an_init_that_fails_does_not_mark_the_store(server: &Server) {
    for failing in ["BatchWriteItem", "Query"] {
        let (_proxy, behind) = server.behind(move |request| match &*request.operation {
            operation if operation == failing => Do::fail(400, "AccessDeniedException"),
            _ => Do::Forward,
        });
        assert_kind(behind.store().init(&flags(100, 1, 10)), ErrorKind::Unavailable, "not allowed");
        assert!(!server.store().is_initialized().unwrap());
    }
}

/// Whether an answer was lost, or one request was refused after others had been taken.
fn an_init_that_may_have_written_is_a_timeout(server: &Server) {
    let refused = || Do::fail(400, "AccessDeniedException");
    for failing in ["BatchWriteItem", "PutItem"] {
        for (lost, says) in [(true, "may have happened"), (false, "not allowed")] {
            let (_proxy, behind) = server.anew().behind(move |request| match &*request.operation {
                operation if operation == failing && lost => Do::LoseAnswer,
                operation if operation == failing && (request.nth > 0 || failing == "PutItem") => refused(),
                _ => Do::Forward,
            });
            let builder = behind.builder().timeout(PATIENCE).attempt_timeout(PATIENCE);
            let store = builder.max_attempts(1).init_concurrency(1).build().unwrap();
            assert_kind(store.init(&flags(60, 1, 10)), ErrorKind::Timeout, says);
        }
    }
}

/// It says so, and nothing of writes.
fn an_init_whose_reads_are_throttled_has_written_nothing(server: &Server) {
    let (_proxy, behind) = server.behind(|request| match &*request.operation {
        "Query" => Do::throttle(),
        _ => Do::Forward,
    });
    let store = behind.builder().init_timeout(Duration::from_secs(1)).build().unwrap();
    let error = store.init(&flags(1, 1, 10));
    assert_kind(error, ErrorKind::Unavailable, "in vain until the init timeout: raise the table's capacity");
}

/// Each fault once, which the SDK gets over by itself.
fn a_passing_fault_is_not_seen(server: &Server) {
    let faults = [
        Do::throttle(),
        Do::fail(500, "InternalServerError"),
        Do::Answer(503, "down".to_owned()),
        Do::Close,
        Do::Hang,
    ];
    for (version, fault) in (1..).zip(faults) {
        for operation in ["PutItem", "GetItem", "Query"] {
            let fault = fault.clone();
            let (proxy, behind) = server.behind(move |request| match request.nth {
                0 if request.operation == operation => fault.clone(),
                _ => Do::Forward,
            });
            let store = behind.builder().timeout(PATIENCE).attempt_timeout(Duration::from_secs(2));
            let store = store.build().unwrap();
            match operation {
                "PutItem" => {
                    assert_eq!(store.upsert(&Kind::FEATURES, "a", &flag(version)).unwrap(), Upsert::Applied);
                }
                "GetItem" => assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), Some(flag(version))),
                _ => assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 1),
            }
            assert_eq!(proxy.take_operations().iter().filter(|seen| *seen == operation).count(), 2);
        }
    }
}

fn once_lost(request: &Request) -> Do {
    if request.operation == "PutItem" && request.nth == 0 { Do::LoseAnswer } else { Do::Forward }
}

/// The SDK repeats the write, which then finds its own item there: not somebody else's.
fn a_lost_answer_of_an_applied_update_is_applied(server: &Server) {
    let (proxy, behind) = server.behind(once_lost);
    assert_eq!(behind.store().upsert(&Kind::FEATURES, "a", &flag(2)).unwrap(), Upsert::Applied);
    assert_eq!(proxy.take_operations(), ["Query", "PutItem", "PutItem"]);
    assert_eq!(server.store().upsert(&Kind::FEATURES, "a", &flag(2)).unwrap(), Upsert::Stale(flag(2)));
}

/// And if the item there is another one, then that is said.
fn a_lost_answer_of_a_stale_update_is_stale(server: &Server) {
    let _ = server.store().upsert(&Kind::FEATURES, "a", &flag(3)).unwrap();
    let (_proxy, behind) = server.behind(once_lost);
    assert_eq!(behind.store().upsert(&Kind::FEATURES, "a", &flag(2)).unwrap(), Upsert::Stale(flag(3)));
}

/// Whatever the last attempt says, the first one may have written.
fn an_update_that_may_have_happened_is_a_timeout(server: &Server) {
    let later: [fn() -> Do; 4] =
        [|| Do::Close, Do::throttle, || Do::fail(400, "AccessDeniedException"), || Do::LoseAnswer];
    for (version, later) in (1..).zip(later) {
        let (_proxy, behind) = server.behind(move |request| match (&*request.operation, request.nth) {
            ("PutItem", 0) => Do::LoseAnswer,
            ("PutItem", _) => later(),
            _ => Do::Forward,
        });
        let store = behind.builder().timeout(PATIENCE).max_attempts(2).build().unwrap();
        let error = store.upsert(&Kind::FEATURES, "a", &flag(version));
        assert!(matches!(error, Err(_) | Ok(Upsert::Applied)), "{error:?}");
        assert_kind(error, ErrorKind::Timeout, "upsert features/a");
        assert_eq!(server.store().get(&Kind::FEATURES, "a").unwrap(), Some(flag(version)));
    }
}

/// DynamoDB says that it has not written, so nothing is in doubt.
fn an_update_that_was_throttled_has_not_happened(server: &Server) {
    let (proxy, behind) = server.behind(|request| match &*request.operation {
        "PutItem" => Do::throttle(),
        _ => Do::Forward,
    });
    let error = behind.builder().timeout(PATIENCE).build().unwrap().upsert(&Kind::FEATURES, "a", &flag(1));
    assert_kind(error, ErrorKind::Unavailable, "throttled: raise the table's capacity");
    assert_eq!(proxy.take_operations(), ["Query", "PutItem", "PutItem", "PutItem"]);
    assert_eq!(server.store().get(&Kind::FEATURES, "a").unwrap(), None);
}

/// (Peers' bug 12: a throttled read never came back. Bugs 36 and 52: nor did its error.)
fn a_read_that_is_throttled_ends(server: &Server) {
    let (_proxy, behind) = server.behind(|_| Do::throttle());
    let store = behind.builder().timeout(PATIENCE).build().unwrap();
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Unavailable, "get features/a: ");
    assert_kind(store.get_all(&Kind::FEATURES), ErrorKind::Unavailable, "throttled");
    assert_kind(store.is_initialized(), ErrorKind::Unavailable, "throttled");
    assert!(!store.is_available());
}

/// Neither an item nor its absence, whatever it is.
fn a_broken_answer_is_an_error(server: &Server) {
    let broken = [
        (200, "<html>please log in</html>"),
        (200, r#"{"Item": 5, "Items": 5}"#),
        (404, "<html>not found</html>"),
        (403, "denied by the proxy"),
        (502, ""),
    ];
    for (status, text) in broken {
        let (_proxy, behind) = server.behind(move |_| Do::Answer(status, text.to_owned()));
        let store = behind.builder().timeout(PATIENCE).build().unwrap();
        let says = "the answer is not DynamoDB's: check the endpoint";
        assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Unavailable, says);
        assert_kind(store.get_all(&Kind::FEATURES), ErrorKind::Unavailable, says);
        assert!(!store.is_available());
        // It may be DynamoDB's answer all the same, garbled on the way.
        if !text.starts_with('{') {
            let (_proxy, behind) = server.behind(move |request| match &*request.operation {
                "PutItem" => Do::Answer(status, text.to_owned()),
                _ => Do::Forward,
            });
            let store = behind.builder().timeout(PATIENCE).build().unwrap();
            let upserted = store.upsert(&Kind::FEATURES, "a", &flag(1));
            assert_kind(
                upserted,
                ErrorKind::Timeout,
                "the write may have happened: the answer is not DynamoDB's",
            );
        }
    }
}

/// Every call ends at its deadline.
fn a_server_that_never_answers_is_a_timeout(server: &Server) {
    let (_proxy, behind) = server.behind(|_| Do::Hang);
    let short = Duration::from_millis(100);
    let store = behind.builder().timeout(short).init_timeout(short).build().unwrap();
    assert_kind(store.get(&Kind::FEATURES, "a"), ErrorKind::Timeout, "no answer");
    assert_kind(store.get_all(&Kind::FEATURES), ErrorKind::Timeout, "no answer");
    assert_kind(store.upsert(&Kind::FEATURES, "a", &flag(1)), ErrorKind::Timeout, "no answer");
    assert_kind(store.init(&flags(1, 1, 1)), ErrorKind::Timeout, "no answer");
    assert_kind(store.is_initialized(), ErrorKind::Timeout, "no answer");
    assert!(!store.is_available());
}

/// Within the timeouts it takes as long as it takes.
fn a_slow_server_is_no_fault(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Delay(Duration::from_millis(50)));
    let store = behind.store();
    store.init(&flags(30, 1, 10)).unwrap();
    assert_eq!(store.get_all(&Kind::FEATURES).unwrap().by_key.len(), 30);
    assert_eq!(proxy.take().len(), 6);
}

/// Half of the items would be taken for all.
fn a_failing_query_between_pages_is_an_error(server: &Server) {
    server.store().init(&flags(15, 1, 100_000)).unwrap();
    let pages = AtomicUsize::new(0);
    let (_proxy, behind) = server.behind(move |_| match pages.fetch_add(1, Ordering::AcqRel) {
        0 => Do::Forward,
        _ => Do::fail(400, "AccessDeniedException"),
    });
    assert_kind(behind.store().get_all(&Kind::FEATURES), ErrorKind::Unavailable, "not allowed");
}

/// The store with a client whose HTTP client tells nothing of its connections.
fn with_plain_client(server: &Server) -> DynamoDbStore {
    let raw = Server::at(&server.endpoint, server.table.clone()).raw;
    let client = Client::from_conf(raw.config().to_builder().http_client(plain_client()).build());
    DynamoDbStore::builder(&server.table)
        .prefix(&server.prefix)
        .client(client)
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

/// The SDK's own says whether it had a connection. Of one that says nothing the worst is assumed.
fn a_custom_http_client_that_loses_an_answer_is_in_doubt(server: &Server) {
    let (proxy, behind) = server.behind(|request| match &*request.operation {
        "PutItem" if request.nth == 0 => Do::LoseAnswer,
        _ => Do::Forward,
    });
    let store = with_plain_client(&behind);
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &flag(2)).unwrap(), Upsert::Applied);
    assert_eq!(proxy.take_operations(), ["Query", "PutItem", "PutItem"]);

    let (_proxy, behind) = server.behind(|request| match &*request.operation {
        "PutItem" => Do::LoseAnswer,
        _ => Do::Forward,
    });
    let error = with_plain_client(&behind).upsert(&Kind::FEATURES, "a", &flag(3));
    assert_kind(error, ErrorKind::Timeout, "the write may have happened");
}

/// A refused connection is the one error of which nothing but connecting is capable.
fn a_custom_http_client_that_cannot_connect_has_sent_nothing(server: &Server) {
    let (proxy, behind) = server.behind(|_| Do::Forward);
    let store = with_plain_client(&behind);
    assert_eq!(store.upsert(&Kind::FEATURES, "a", &flag(1)).unwrap(), Upsert::Applied);
    drop(proxy);
    let (address, deadline) = (behind.endpoint.trim_start_matches("http://"), Instant::now() + PATIENCE);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "the proxy still listens");
    }
    let error = store.upsert(&Kind::FEATURES, "a", &flag(2));
    assert_kind(error, ErrorKind::Unavailable, "cannot connect");
}

/// Transactions end in a moment.
fn a_transaction_of_others_is_waited_for(server: &Server) {
    let (proxy, behind) = server.behind(|request| match &*request.operation {
        "PutItem" if request.nth < 2 => Do::fail(400, "TransactionConflictException"),
        _ => Do::Forward,
    });
    assert_eq!(behind.store().upsert(&Kind::FEATURES, "a", &flag(1)).unwrap(), Upsert::Applied);
    assert_eq!(proxy.take_operations(), ["Query", "PutItem", "PutItem", "PutItem"]);

    let (_proxy, behind) = server.behind(|request| match &*request.operation {
        "BatchWriteItem" if request.nth == 0 => Do::fail(400, "TransactionConflictException"),
        _ => Do::Forward,
    });
    behind.store().init(&flags(3, 1, 1)).unwrap();
}

/// The item's, and nobody else's: the status stays.
fn a_transaction_that_does_not_end_is_no_outage(server: &Server) {
    let (_proxy, behind) = server.behind(|request| match &*request.operation {
        "PutItem" => Do::fail(400, "TransactionConflictException"),
        _ => Do::Forward,
    });
    let error = behind.store().upsert(&Kind::FEATURES, "a", &flag(1));
    assert_kind(error, ErrorKind::Other, "a transaction of somebody else's has the item");
}

/// As what a caller can do about it.
fn what_the_server_refuses_has_its_own_kind(server: &Server) {
    let refused = [
        ("ReplicatedWriteConflictException", ErrorKind::Unavailable, "ReplicatedWriteConflictException"),
        ("ItemCollectionSizeLimitExceededException", ErrorKind::TooLarge, "local indexes"),
        ("ValidationException", ErrorKind::Other, "ValidationException: as the test wants"),
        ("RequestTimeTooSkewed", ErrorKind::Unavailable, "this machine's clock is wrong"),
    ];
    for (code, kind, says) in refused {
        let (_proxy, behind) = server.behind(move |request| match &*request.operation {
            "PutItem" => Do::fail(400, code),
            _ => Do::Forward,
        });
        assert_kind(behind.store().upsert(&Kind::FEATURES, "a", &flag(1)), kind, says);
    }
}

/// So many idle connections in the store's pool.
fn open_connections(store: &DynamoDbStore, count: usize) {
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| store.get(&Kind::FEATURES, "a").unwrap());
        }
    });
}

/// A proxy that has so many connections open at the same time, before it answers the first of them.
fn with_connections(server: &Server, count: usize) -> (Proxy, DynamoDbStore) {
    let seen = Arc::new(AtomicUsize::new(0));
    let (proxy, behind) = server.behind(move |_| {
        seen.fetch_add(1, Ordering::AcqRel);
        let deadline = Instant::now() + PATIENCE;
        while seen.load(Ordering::Acquire) < count && Instant::now() < deadline {
            thread::yield_now();
        }
        Do::Forward
    });
    let patient = behind.builder().timeout(PATIENCE).attempt_timeout(Duration::from_secs(5)).build().unwrap();
    open_connections(&patient, count);
    assert_eq!(proxy.most_at_once(), count);
    (proxy, patient)
}

/// The first that is not answered takes the trust from all others.
fn connections_that_the_network_forgot_cost_one_call_at_most(server: &Server) {
    for (count, of_forgotten) in [(1, Do::Hang), (24, Do::Hang), (24, Do::Close)] {
        let (proxy, store) = with_connections(server, count);
        proxy.forget(of_forgotten);
        proxy.take();
        assert_eq!(store.get(&Kind::FEATURES, "a").unwrap(), None);
        // One was lost, and the next attempt had a new connection.
        assert_eq!(proxy.take().len(), 2, "{count} connections");
    }
}

/// All take a dead one at the same time, and only once.
fn connections_that_the_network_forgot_cost_each_thread_one_call_at_most(server: &Server) {
    let (proxy, store) = with_connections(server, 16);
    proxy.forget(Do::Hang);
    proxy.take();
    open_connections(&store, 8);
    assert!(proxy.take().len() <= 16);
}
