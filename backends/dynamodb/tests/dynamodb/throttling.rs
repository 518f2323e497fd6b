//! A table that takes so much a second and no more, as DynamoDB does and DynamoDB Local does not.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{ErrorKind, FeatureStoreCore, Kind};
use serde_json::{Value, json};

use crate::support::proxy::{Do, Request};
use crate::support::{PATIENCE, Server, s, wait};
use crate::{assert_kind, cases, flag, flags};

cases![
    an_init_adapts_to_what_a_partition_takes,
    the_applications_own_retries_are_left_alone,
    an_init_sends_each_request_once_under_its_own_backoff,
    the_reason_of_a_throttling_is_kept,
];

/// What one partition key takes: 1 000 write units a second, and what was not used in the last second.
struct Partition {
    left: f64,
    at: Instant,
    accepted: usize,
    refused: usize,
}

const UNITS_A_SECOND: f64 = 1000.0;

impl Partition {
    fn new() -> Self {
        Self { left: UNITS_A_SECOND, at: Instant::now(), accepted: 0, refused: 0 }
    }

    fn take(&mut self, units: usize) -> bool {
        let now = Instant::now();
        self.left = (self.left + UNITS_A_SECOND * (now - self.at).as_secs_f64()).min(UNITS_A_SECOND);
        self.at = now;
        let fits = self.left >= units as f64;
        if fits {
            self.left -= units as f64;
            self.accepted += units;
        } else {
            self.refused += units;
        }
        fits
    }

    /// Takes as many of the request's writes as there are units for, in order.
    fn judge(&mut self, request: &Request) -> Do {
        let body = request.body();
        let writes: Vec<&Value> = match &*request.operation {
            "BatchWriteItem" => body["RequestItems"]
                .as_object()
                .unwrap()
                .values()
                .flat_map(|w| w.as_array().unwrap())
                .collect(),
            "PutItem" => vec![&body],
            _ => return Do::Forward,
        };
        let accepted = writes.iter().take_while(|write| self.take(units(write))).count();
        self.refused += writes[accepted..].iter().skip(1).map(|write| units(write)).sum::<usize>();
        if accepted == 0 { Do::throttle() } else { Do::ProcessFirst(accepted) }
    }
}

fn units(write: &Value) -> usize {
    write.to_string().len().div_ceil(1024)
}

/// 3 000 units, of which the partition takes 1 000 at once. They are written about as fast as it takes them, and most
/// of what is sent is taken.
fn an_init_adapts_to_what_a_partition_takes(server: &Server) {
    let partition = Arc::new(Mutex::new(Partition::new()));
    let judge = Arc::clone(&partition);
    let (_proxy, behind) = server.behind(move |request| judge.lock().unwrap().judge(request));
    let start = Instant::now();
    behind.store().init(&flags(300, 1, 9_500)).unwrap();
    let took = start.elapsed();
    let all = server.store().get_all(&Kind::FEATURES).unwrap();
    assert_eq!((all.by_key.len(), all.unreadable.len()), (300, 0));
    let Partition { accepted, refused, .. } = *partition.lock().unwrap();
    println!("{accepted} units in {took:?}, {refused} refused");
    // What was under way when the partition had enough, and little more.
    assert!(refused < accepted / 2, "{refused} of {accepted} units were sent in vain");
}

/// The SDK's clients of a process and region share the tokens that retries cost. A table in trouble costs those of its
/// store only.
fn the_applications_own_retries_are_left_alone(server: &Server) {
    let (_proxy, failing) = server.behind(|_| Do::fail(500, "InternalServerError"));
    let store = failing.builder().timeout(PATIENCE).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert!(store.get(&Kind::FEATURES, "a").is_err());
                }
            });
        }
    });
    let (proxy, once_failing) = server.behind(|request| match request.number {
        0 => Do::fail(500, "InternalServerError"),
        _ => Do::Forward,
    });
    // A client of the application's, which is made as anyone would.
    let application = Server::at(&once_failing.endpoint, server.table.clone()).raw;
    let get = application.get_item().table_name(&server.table).key("namespace", s("a")).key("key", s("a"));
    wait(get.send()).unwrap();
    assert_eq!(proxy.take().len(), 2);
}

/// The SDK's attempts would come on top of ours.
fn an_init_sends_each_request_once_under_its_own_backoff(server: &Server) {
    let (proxy, behind) = server.behind(|request| match &*request.operation {
        "BatchWriteItem" => Do::throttle(),
        _ => Do::Forward,
    });
    let store = behind.builder().init_timeout(Duration::from_secs(2)).build().unwrap();
    assert_kind(store.init(&flags(25, 1, 10)), ErrorKind::Timeout, "25 writes were still throttled");
    let invocations = proxy.take().into_iter().filter(|request| request.operation == "BatchWriteItem");
    for request in invocations {
        assert_eq!(request.headers["amz-sdk-request"], "attempt=1; max=1");
    }
}

/// More capacity does not help a hot key, and a limit is raised elsewhere than the table's capacity.
fn the_reason_of_a_throttling_is_kept(server: &Server) {
    let reasons = [
        ("TableWriteKeyRangeThroughputExceeded", "more capacity does not help"),
        ("TableReadProvisionedThroughputExceeded", "raise the table's capacity"),
        ("TableWriteAccountLimitExceeded", "account"),
        ("TableReadMaxOnDemandThroughputExceeded", "maximum throughput"),
    ];
    for (reason, advice) in reasons {
        for code in ["ThrottlingException", "ProvisionedThroughputExceededException"] {
            // They spell it differently.
            let name = if code == "ThrottlingException" { "throttlingReasons" } else { "ThrottlingReasons" };
            let answer = json!({
                "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
                "message": "slow down",
                name: [{"reason": reason, "resource": "arn:aws:dynamodb:eu-west-1:1:table/flags"}],
            });
            let (_proxy, behind) = server.behind(move |request| match &*request.operation {
                // The proof of the table's shape.
                "Query" if request.number == 0 => Do::Forward,
                _ => Do::Answer(400, answer.to_string()),
            });
            let store =
                behind.builder().timeout(PATIENCE).init_timeout(Duration::from_millis(500)).build().unwrap();
            for error in [
                store.upsert(&Kind::FEATURES, "a", &flag(1)).err(),
                store.get(&Kind::FEATURES, "a").err(),
                store.get_all(&Kind::FEATURES).err(),
            ] {
                let error = error.unwrap();
                assert!(error.to_string().contains(reason) && error.to_string().contains(advice), "{error}");
                assert!(error.to_string().contains("slow down"), "{error}");
                assert_eq!(error.kind(), ErrorKind::Unavailable);
            }
            assert_kind(store.init(&flags(1, 1, 1)), ErrorKind::Unavailable, reason);
        }
    }
}
