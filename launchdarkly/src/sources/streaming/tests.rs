use flagstore_conformance::stand_in::Answer;
use flagstore_core::{CachingStoreWrapper, DataSourceState, FeatureStore, Kind, MemoryStore};

use super::super::clock::test::TestClock;
use super::super::fed::{Fed, LONG, flag, flags, stand_in, wait_until};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn streaming(url: String) -> StreamingDataSourceBuilder {
    StreamingDataSourceBuilder::new(LaunchDarklyService::new("sdk-key").relay_proxy(url))
}

/// One that comes back soon, for tests that are not about delays.
fn quick(url: String) -> StreamingDataSourceBuilder {
    streaming(url).initial_reconnect_delay(Duration::from_millis(1))
}

/// Everything at first, then each change, as the service sent it.
#[test]
fn a_stream_fills_the_store_and_follows() {
    let service = stand_in();
    service.init(&flags([("a", 1), ("b", 1)]));
    let fed = Fed::by(&streaming(service.url()));
    fed.wait_for(DataSourceState::Valid);
    assert!(fed.source.initialized() && fed.source.is_alive());
    assert_eq!(fed.store.get(&Kind::FEATURES, "a").unwrap(), Some(flag("a", 1)));
    service.upsert(&Kind::FEATURES, "a", &flag("a", 2));
    service.upsert(&Kind::SEGMENTS, "s", &flag("s", 1));
    service.delete(&Kind::FEATURES, "b", 2);
    fed.wait_for_flag("b", None);
    assert_eq!(fed.store.get(&Kind::FEATURES, "a").unwrap(), Some(flag("a", 2)));
    assert_eq!(fed.store.get(&Kind::SEGMENTS, "s").unwrap(), Some(flag("s", 1)));
}

/// What came before it does not win.
#[test]
fn an_older_patch_changes_nothing() {
    let service = stand_in();
    service.init(&flags([("a", 5)]));
    let fed = Fed::by(&streaming(service.url()));
    fed.wait_for(DataSourceState::Valid);
    service.upsert(&Kind::FEATURES, "a", &flag("a", 4));
    service.delete(&Kind::FEATURES, "a", 5);
    service.upsert(&Kind::FEATURES, "last", &flag("last", 1));
    fed.wait_for_flag("last", Some(1));
    assert_eq!(fed.version("a"), Some(5));
}

/// The key, who asks, and what for.
#[test]
fn the_request_is_that_of_the_sdk() {
    let service = stand_in();
    let settings = LaunchDarklyService::new("sdk-key")
        .relay_proxy(service.url())
        .application_id("shop")
        .payload_filter("checkout")
        .header("x-team", "blue");
    let _fed = Fed::by(&StreamingDataSourceBuilder::new(settings));
    let request = service.wait_for_requests(1).remove(0);
    assert_eq!(request.path, "/all?filter=checkout");
    assert_eq!(request.header("authorization"), Some("sdk-key"));
    assert_eq!(request.header("accept"), Some("text/event-stream"));
    assert_eq!(request.header("x-launchdarkly-tags"), Some("application-id/shop"));
    assert_eq!(request.header("x-team"), Some("blue"));
    assert!(request.header("user-agent").unwrap().starts_with("RustServerClient/"));
}

/// A service that keeps silent is not there, whatever the connection says. The outage at a large user was this.
#[test]
fn a_silent_stream_is_closed_and_opened_again() {
    let service = stand_in();
    service.init(&flags([("a", 1)]));
    let fed = Fed::by(&quick(service.url()).silence_timeout(Duration::from_millis(300)));
    fed.wait_for(DataSourceState::Valid);
    service.wait_for_requests(2);
    let error = fed.status.status().last_error.unwrap();
    assert_eq!(error.kind, DataSourceErrorKind::NetworkError);
    assert!(error.message.contains("nothing came for 300ms"), "{error}");
    fed.wait_for(DataSourceState::Valid);
    service.wait_for_streams(1);
}

/// Also one that takes the request and never answers.
#[test]
fn a_silent_answer_is_not_waited_for() {
    let service = stand_in();
    service.next(Answer::Silence);
    let fed = Fed::by(&quick(service.url()).silence_timeout(Duration::from_millis(300)));
    fed.wait_for(DataSourceState::Valid);
    assert_eq!(service.requests().len(), 2);
    assert!(fed.status.status().last_error.unwrap().message.contains("nothing came for 300ms"));
}

/// Heartbeats are enough, and are noted.
#[test]
fn heartbeats_keep_a_stream_alive() {
    let service = stand_in();
    let fed = Fed::by(&quick(service.url()).silence_timeout(SECOND));
    fed.wait_for(DataSourceState::Valid);
    let first = fed.status.last_event().unwrap();
    let end = std::time::Instant::now() + 2 * SECOND;
    wait_until("two seconds of heartbeats", || {
        service.heartbeat();
        std::time::Instant::now() > end
    });
    assert_eq!(service.requests().len(), 1);
    assert!(fed.status.last_event().unwrap() > first);
}

/// The headers of a stream say nothing of its data.
#[test]
fn response_headers_are_no_event() {
    let service = stand_in();
    service.next(Answer::Stream(Vec::new()));
    let fed = Fed::by(&streaming(service.url()));
    service.wait_for_streams(1);
    assert_eq!(fed.status.last_event(), None);
    service.heartbeat();
    wait_until("the heartbeat", || fed.status.last_event().is_some());
    assert_eq!(fed.status.status().state, DataSourceState::Initializing);
}

/// Each begins the stream anew, and the good data after it counts.
#[test]
fn what_cannot_be_read_restarts_the_stream() {
    for garbage in [
        "event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":\n\n".as_bytes(),
        b"event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{\"a\":{\"version\":\"x\"}},\"segments\":{}}}\n\n",
        b"event: patch\ndata: {\"path\":\"/flags/a\",\"data\":[]}\n\n",
        b"event: delete\ndata: {\"path\":\"/flags/a\"}\n\n",
        b"data\xff: x\n\n",
    ] {
        let service = stand_in();
        service.init(&flags([("a", 1)]));
        service.next(Answer::Stream(garbage.to_vec()));
        let fed = Fed::by(&quick(service.url()));
        let error = fed.wait_for_error(DataSourceErrorKind::InvalidData);
        fed.wait_for(DataSourceState::Valid);
        fed.wait_for_flag("a", Some(1));
        assert!(!error.message.is_empty());
    }
}

/// What later versions of the service may send.
#[test]
fn what_is_not_known_is_passed_over() {
    let service = stand_in();
    let fed = Fed::by(&streaming(service.url()));
    fed.wait_for(DataSourceState::Valid);
    service.send("goodbye", "{}");
    service.send("patch", r#"{"path":"/configurations/c","data":{"version":1}}"#);
    service.upsert(&Kind::FEATURES, "a", &flag("a", 1));
    fed.wait_for_flag("a", Some(1));
    assert_eq!((service.requests().len(), fed.status.status().last_error), (1, None));
}

/// Wherever the network cuts it, within a character, a line or an event.
#[test]
fn a_stream_may_come_byte_by_byte() {
    let service = stand_in();
    let fed = Fed::by(&streaming(service.url()));
    fed.wait_for(DataSourceState::Valid);
    let json = "{\"version\":1,\"name\":\"h\u{e9}llo \u{1f680}\"}";
    let event = format!("event: patch\r\ndata: {{\"path\":\"/flags/a\",\r\ndata: \"data\":{json}}}\r\n\r\n");
    for byte in event.bytes() {
        service.send_raw([byte]);
    }
    fed.wait_for_flag("a", Some(1));
    assert_eq!(fed.store.get(&Kind::FEATURES, "a").unwrap().unwrap().json(), json);
}

/// Twenty megabytes in one event.
#[test]
fn a_huge_payload_comes_whole() {
    let service = stand_in();
    let note = "x".repeat(1000);
    let items = (0..20_000).map(|n| {
        let json = format!(r#"{{"key":"flag-{n}","version":1,"note":"{note}"}}"#);
        (format!("flag-{n}"), flagstore_core::Item::parse(json).unwrap())
    });
    service.init(&flagstore_core::AllData::new().with(Kind::FEATURES, items));
    let fed = Fed::by(&streaming(service.url()));
    fed.wait_for(DataSourceState::Valid);
    assert_eq!(fed.store.all(&Kind::FEATURES).unwrap().len(), 20_000);
}

/// The kept data stays, and what changed meanwhile comes with the new stream.
#[test]
fn a_stream_that_breaks_is_opened_again() {
    type Break = fn(&flagstore_conformance::StandIn);
    let breaks: [Break; 2] = [|service| service.end_streams(), |service| service.cut_connections()];
    for break_it in breaks {
        let service = stand_in();
        service.init(&flags([("a", 1)]));
        let (clock, time, sleeps) = TestClock::new();
        let fed = Fed::by(&streaming(service.url()).clock(clock));
        fed.wait_for(DataSourceState::Valid);
        break_it(&service);
        assert!(sleeps.recv_timeout(LONG).unwrap() <= SECOND);
        assert_eq!(fed.status.status().state, DataSourceState::Interrupted);
        assert_eq!(fed.status.status().last_error.unwrap().kind, DataSourceErrorKind::NetworkError);
        assert_eq!(fed.version("a"), Some(1));
        service.init(&flags([("a", 2)]));
        time.advance(SECOND);
        fed.wait_for(DataSourceState::Valid);
        fed.wait_for_flag("a", Some(2));
    }
}

/// 400, 408, 429, 5xx and a network that fails: after one second, two, up to 30, each shortened by half at most.
#[test]
fn what_may_pass_is_tried_again_ever_slower() {
    let service = stand_in();
    for answer in [
        Answer::Status(503),
        Answer::Status(429),
        Answer::HangUp,
        Answer::Status(400),
        Answer::Raw(b"what?\r\n\r\n".to_vec()),
        Answer::Status(408),
        Answer::Status(500),
    ] {
        service.next(answer);
    }
    let (clock, time, sleeps) = TestClock::new();
    let fed = Fed::by(&streaming(service.url()).clock(clock));
    for longest in [1, 2, 4, 8, 16, 30, 30] {
        let (longest, sleep) = (longest * SECOND, sleeps.recv_timeout(LONG).unwrap());
        assert!((longest / 2..=longest).contains(&sleep), "{sleep:?} of {longest:?}");
        assert_eq!(fed.status.status().state, DataSourceState::Initializing);
        time.advance(sleep);
    }
    fed.wait_for(DataSourceState::Valid);
    assert_eq!(fed.status.status().last_error.unwrap().status_code, 500);
}

/// 401, 403, 404 and the like: after five minutes, ten, up to an hour, and never given up.
#[test]
fn what_is_refused_is_tried_again_rarely_and_for_ever() {
    let service = stand_in();
    service.init(&flags([("a", 1)]));
    let (clock, time, sleeps) = TestClock::new();
    let fed = Fed::by(&streaming(service.url()).clock(clock));
    fed.wait_for(DataSourceState::Valid);
    service.always(Answer::Status(401));
    service.cut_connections();
    time.advance(sleeps.recv_timeout(LONG).unwrap());
    for longest in [5, 10, 20, 40, 60, 60] {
        let (longest, sleep) = (longest * MINUTE, sleeps.recv_timeout(LONG).unwrap());
        assert!((longest / 2..=longest).contains(&sleep), "{sleep:?} of {longest:?}");
        let status = fed.status.status();
        assert_eq!(status.state, DataSourceState::Interrupted);
        let error = status.last_error.unwrap();
        assert_eq!((error.kind, error.status_code), (DataSourceErrorKind::ErrorResponse, 401));
        assert!(error.message.contains("check the SDK key") && !error.message.contains("sdk-key"));
        time.advance(sleep);
    }
    sleeps.recv_timeout(LONG).unwrap();
    service.always(Answer::Service);
    time.advance(60 * MINUTE);
    fed.wait_for(DataSourceState::Valid);
}

/// After a minute of a stream that works, counted from what came first on it.
#[test]
fn a_healthy_minute_begins_the_delays_anew() {
    let service = stand_in();
    for _ in 0..4 {
        service.next(Answer::Status(503));
    }
    let (clock, time, sleeps) = TestClock::new();
    let fed = Fed::by(&streaming(service.url()).clock(clock));
    for _ in 0..4 {
        time.advance(sleeps.recv_timeout(LONG).unwrap());
    }
    fed.wait_for(DataSourceState::Valid);
    service.end_streams();
    let sleep = sleeps.recv_timeout(LONG).unwrap();
    assert!(sleep >= 8 * SECOND, "{sleep:?} after a stream that ended at once");
    time.advance(sleep);
    fed.wait_for(DataSourceState::Valid);
    time.advance(MINUTE);
    service.end_streams();
    assert!(sleeps.recv_timeout(LONG).unwrap() <= SECOND);
}

/// It goes where it is sent, for this time.
#[test]
fn redirects_are_followed() {
    let (service, other) = (stand_in(), stand_in());
    other.init(&flags([("a", 1)]));
    for status in [301, 302, 303, 307, 308] {
        service.next(Answer::Redirect(status, "/elsewhere/all".to_owned()));
        service.next(Answer::Redirect(status, format!("{}/all", other.url())));
        let fed = Fed::by(&streaming(service.url()));
        fed.wait_for(DataSourceState::Valid);
        assert_eq!(fed.version("a"), Some(1), "{status}");
    }
    assert_eq!(service.requests()[1].path, "/elsewhere/all");
    // The key is for the one whom the application has named, and so are all headers that it may have set.
    for header in ["authorization", "x-launchdarkly-wrapper"] {
        assert!(service.requests().iter().all(|request| request.header(header).is_some()));
        assert!(other.requests().iter().all(|request| request.header(header).is_none()));
    }
    assert!(other.requests().iter().all(|request| request.header("user-agent").is_some()));
}

/// A circle ends, and so does a way to nowhere.
#[test]
fn redirects_without_an_end_are_an_error() {
    let service = stand_in();
    for location in ["/all", "nowhere"] {
        service.always(Answer::Redirect(301, location.to_owned()));
        let fed = Fed::by(&quick(service.url()));
        let error = fed.wait_for_error(DataSourceErrorKind::NetworkError);
        assert!(error.message.contains("redirected more than 10 times") || error.message.contains("nowhere"));
    }
}

/// Nobody there is an error of the network, and no end.
#[test]
fn a_service_that_is_not_there_is_waited_for() {
    let address = stand_in().address();
    let fed = Fed::by(&quick(format!("http://{address}")));
    // A connection that came while the last listener was closing is reset. Those after it are refused.
    wait_until("a refusal", || {
        let error = fed.status.status().last_error;
        error.is_some_and(|error| {
            error.kind == DataSourceErrorKind::NetworkError
                && error.message.to_lowercase().contains("refused")
        })
    });
    let service = flagstore_conformance::StandIn::start_at(address).unwrap();
    service.init(&flags([("a", 1)]));
    fed.wait_for(DataSourceState::Valid);
}

/// The store asks for it when it has been away.
#[test]
fn a_refresh_opens_a_new_stream() {
    let service = stand_in();
    let fed = Fed::by(&streaming(service.url()));
    fed.wait_for(DataSourceState::Valid);
    fed.source.refresh();
    service.wait_for_requests(2);
    service.wait_for_streams(1);
    assert_eq!(fed.status.status().last_error, None);
}

/// Whatever it does, and a second time it does nothing.
#[cfg(target_os = "linux")]
#[test]
fn a_stop_ends_thread_and_connection() {
    use super::super::fed::threads;

    for answer in [
        Answer::Service,
        Answer::Stream(Vec::new()),
        Answer::Silence,
        Answer::Status(503),
        Answer::Status(401),
    ] {
        let service = stand_in();
        service.always(answer.clone());
        let (clock, _time, sleeps) = TestClock::new();
        let fed = Fed::by(&streaming(service.url()).clock(clock));
        service.wait_for_requests(1);
        if matches!(answer, Answer::Status(_)) {
            sleeps.recv_timeout(LONG).unwrap();
        }
        fed.source.stop();
        wait_until("its end", || !fed.source.is_alive());
        service.wait_for_connections(0);
        fed.source.stop();
        fed.source.start();
        assert!(!fed.source.is_alive());
        assert_eq!(service.requests().len(), 1, "{answer:?}");
    }
    let service = stand_in();
    let mine: Vec<_> = (0..3).map(|_| Fed::by(&streaming(service.url()))).collect();
    service.wait_for_streams(3);
    assert!(threads(Streaming::THREAD) >= 3);
    drop(mine);
    service.wait_for_connections(0);
}

/// Dropping it is as good.
#[test]
fn a_dropped_source_ends() {
    let service = stand_in();
    let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
    let source = streaming(service.url()).create(DataSourceUpdateSink::builder(store).build()).unwrap();
    source.start();
    service.wait_for_streams(1);
    drop(source);
    service.wait_for_connections(0);
}

/// From within a runtime of the application's own.
#[test]
fn a_source_is_started_and_stopped_inside_any_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let service = stand_in();
    runtime.block_on(async {
        let fed = Fed::by(&streaming(service.url()));
        service.wait_for_streams(1);
        fed.source.stop();
        drop(fed);
    });
    service.wait_for_connections(0);
}

/// Each names its setter.
#[test]
fn wrong_settings_are_refused() {
    let of = |builder: StreamingDataSourceBuilder| {
        let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
        builder.create(DataSourceUpdateSink::builder(store).build()).unwrap_err().to_string()
    };
    let url = || "http://localhost".to_owned();
    assert!(of(streaming(url()).silence_timeout(Duration::ZERO)).contains("build: silence_timeout: "));
    assert!(
        of(quick(url()).initial_reconnect_delay(Duration::ZERO)).contains("build: initial_reconnect_delay: ")
    );
    assert!(of(streaming("x".to_owned())).contains("build: streaming_url: "));
}
