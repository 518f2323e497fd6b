use std::io::Read;

use flagstore_conformance::stand_in::Answer;
use flagstore_core::{AllData, CachingStoreWrapper, DataSourceState, FeatureStore, Kind, MemoryStore};
use parking_lot::Mutex;

use super::super::clock::test::TestClock;
use super::super::fed::{Fed, LONG, flag, flags, stand_in, wait_until};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn polling(url: String) -> PollingDataSourceBuilder {
    PollingDataSourceBuilder::new(LaunchDarklyService::new("sdk-key").relay_proxy(url))
}

/// Everything that the service has, as it sent it, and again at the interval.
#[test]
fn polls_fill_the_store_and_follow() {
    let service = stand_in();
    service.init(&flags([("a", 1), ("b", 1)]));
    let (clock, time, sleeps) = TestClock::new();
    let fed = Fed::by(&polling(service.url()).clock(clock));
    fed.wait_for(DataSourceState::Valid);
    assert!(fed.source.initialized() && fed.source.is_alive() && fed.status.last_event().is_some());
    assert_eq!(fed.store.get(&Kind::FEATURES, "a").unwrap(), Some(flag("a", 1)));
    assert_eq!(sleeps.recv_timeout(LONG), Ok(30 * SECOND));
    service.init(&flags([("a", 2)]));
    time.advance(30 * SECOND);
    fed.wait_for_flag("a", Some(2));
    fed.wait_for_flag("b", None);
}

/// The service may send it in far fewer bytes.
#[test]
fn what_is_compressed_is_unpacked() {
    let service = stand_in();
    let (clock, time, sleeps) = TestClock::new();
    service.next(Answer::Encoded(
        "gzip".to_owned(),
        gzip(br#"{"flags":{"a":{"key":"a","version":7}},"segments":{}}"#),
    ));
    let fed = Fed::by(&polling(service.url()).clock(clock));
    fed.wait_for_flag("a", Some(7));
    assert_eq!(service.requests()[0].header("accept-encoding"), Some("gzip"));
    // A service that compresses nothing is understood as well.
    service.init(&flags([("a", 8)]));
    assert_eq!(sleeps.recv_timeout(LONG), Ok(30 * SECOND));
    time.advance(30 * SECOND);
    fed.wait_for_flag("a", Some(8));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

/// What has not changed is neither sent nor written: by what is in the store, it was not touched.
#[test]
fn what_has_not_changed_is_not_written() {
    let service = stand_in();
    service.init(&flags([("a", 1)]));
    let (clock, time, sleeps) = TestClock::new();
    let fed = Fed::by(&polling(service.url()).clock(clock));
    assert_eq!(sleeps.recv_timeout(LONG), Ok(30 * SECOND));
    fed.mark();
    time.advance(30 * SECOND);
    assert_eq!(sleeps.recv_timeout(LONG), Ok(30 * SECOND));
    let requests = service.requests();
    assert_eq!(requests[0].header("if-none-match"), None);
    assert_eq!(requests[1].header("if-none-match"), Some("\"revision-1\""));
    assert_eq!(fed.version("mark"), Some(1));
    assert_eq!(fed.status.status().state, DataSourceState::Valid);
}

/// The store asks for it when it has been away, and then what has not changed is written as well.
#[test]
fn a_refresh_asks_at_once_and_without_a_condition() {
    let service = stand_in();
    service.init(&flags([("a", 1)]));
    let (clock, _time, sleeps) = TestClock::new();
    let fed = Fed::by(&polling(service.url()).clock(clock));
    sleeps.recv_timeout(LONG).unwrap();
    fed.mark();
    fed.source.refresh();
    fed.wait_for_flag("mark", None);
    assert_eq!(service.requests()[1].header("if-none-match"), None);
}

/// The key, who asks, and what for.
#[test]
fn the_request_is_that_of_the_sdk() {
    let service = stand_in();
    let settings = LaunchDarklyService::new("sdk-key")
        .relay_proxy(service.url())
        .application_id("shop")
        .payload_filter("checkout");
    let _fed = Fed::by(&PollingDataSourceBuilder::new(settings));
    let request = service.wait_for_requests(1).remove(0);
    assert_eq!(request.path, "/sdk/latest-all?filter=checkout");
    assert_eq!(request.header("authorization"), Some("sdk-key"));
    assert_eq!(request.header("x-launchdarkly-tags"), Some("application-id/shop"));
}

/// 400, 408, 429, 5xx, a network that fails and data that cannot be read: the next poll comes at the interval.
#[test]
fn what_may_pass_is_polled_again_at_the_interval() {
    let service = stand_in();
    service.init(&flags([("a", 1)]));
    let (clock, time, sleeps) = TestClock::new();
    let fed = Fed::by(&polling(service.url()).clock(clock));
    sleeps.recv_timeout(LONG).unwrap();
    for (answer, kind) in [
        (Answer::Status(503), DataSourceErrorKind::ErrorResponse),
        (Answer::Status(429), DataSourceErrorKind::ErrorResponse),
        (Answer::HangUp, DataSourceErrorKind::NetworkError),
        (Answer::CutOff(b"{\"flags\":{},".to_vec()), DataSourceErrorKind::NetworkError),
        (Answer::Body(b"{\"flags\":{\"a\"".to_vec()), DataSourceErrorKind::InvalidData),
        (Answer::Body(b"<html>".to_vec()), DataSourceErrorKind::InvalidData),
        (Answer::Body(b"{}".to_vec()), DataSourceErrorKind::InvalidData),
        (Answer::Body(b"\xff".to_vec()), DataSourceErrorKind::InvalidData),
        (Answer::Encoded("gzip".to_owned(), b"{}".to_vec()), DataSourceErrorKind::InvalidData),
        (Answer::Encoded("gzip".to_owned(), gzip(b"{}")[..15].to_vec()), DataSourceErrorKind::InvalidData),
        (Answer::Encoded("br".to_owned(), b"{}".to_vec()), DataSourceErrorKind::InvalidData),
        (Answer::Raw(b"what?\r\n\r\n".to_vec()), DataSourceErrorKind::NetworkError),
        (Answer::Status(304), DataSourceErrorKind::ErrorResponse),
    ] {
        if matches!(answer, Answer::Status(304)) {
            // An answer to a condition that was not set.
            fed.source.refresh();
        }
        service.next(answer.clone());
        time.advance(30 * SECOND);
        assert_eq!(sleeps.recv_timeout(LONG), Ok(30 * SECOND), "{answer:?}");
        let status = fed.status.status();
        assert_eq!(status.state, DataSourceState::Interrupted, "{answer:?}");
        assert_eq!(status.last_error.unwrap().kind, kind, "{answer:?}");
        assert_eq!(fed.version("a"), Some(1));
    }
    time.advance(30 * SECOND);
    fed.wait_for(DataSourceState::Valid);
}

/// 401, 403, 404 and the like: after five minutes, ten, up to an hour, until two good polls in a row.
#[test]
fn what_is_refused_is_tried_again_rarely_and_for_ever() {
    let service = stand_in();
    service.always(Answer::Status(403));
    let (clock, time, sleeps) = TestClock::new();
    let fed = Fed::by(&polling(service.url()).clock(clock));
    let wait_refused = |longest: u32| {
        let (longest, sleep) = (longest * MINUTE, sleeps.recv_timeout(LONG).unwrap());
        assert!((longest / 2..=longest).contains(&sleep), "{sleep:?} of {longest:?}");
        sleep
    };
    for longest in [5, 10, 20, 40, 60] {
        time.advance(wait_refused(longest));
    }
    // One good poll is not enough.
    let sleep = wait_refused(60);
    service.next(Answer::Service);
    time.advance(sleep);
    assert_eq!(sleeps.recv_timeout(LONG), Ok(30 * SECOND));
    time.advance(30 * SECOND);
    let sleep = wait_refused(60);
    service.next(Answer::Service);
    service.next(Answer::Service);
    time.advance(sleep);
    for _ in 0..2 {
        assert_eq!(sleeps.recv_timeout(LONG), Ok(30 * SECOND));
        time.advance(30 * SECOND);
    }
    wait_refused(5);
    assert_eq!(fed.status.status().last_error.unwrap().status_code, 403);
}

/// It goes where it is sent, and the key does not.
#[test]
fn redirects_are_followed() {
    let (service, other) = (stand_in(), stand_in());
    other.init(&flags([("a", 1)]));
    service.next(Answer::Redirect(307, format!("{}/sdk/latest-all", other.url())));
    let fed = Fed::by(&polling(service.url()));
    fed.wait_for(DataSourceState::Valid);
    assert_eq!(fed.version("a"), Some(1));
    assert_eq!(other.requests()[0].header("authorization"), None);
}

/// Neither an answer nor the rest of one is waited for beyond the timeout.
#[test]
fn a_silent_service_is_an_error() {
    let service = stand_in();
    for answer in [Answer::Silence, Answer::Stream(b"{".to_vec())] {
        service.next(answer);
        let fed = Fed::by(&polling(service.url()).request_timeout(Duration::from_millis(200)));
        let error = fed.wait_for_error(DataSourceErrorKind::NetworkError);
        assert!(error.message.contains("no whole answer within 200ms (request_timeout)"), "{error}");
    }
}

/// A poll has one deadline, however often something comes.
#[test]
fn an_answer_that_trickles_is_an_error() {
    let service = stand_in();
    service.next(Answer::Stream(b"{".to_vec()));
    let fed = Fed::by(&polling(service.url()).request_timeout(Duration::from_millis(300)));
    wait_until("the end of the poll", || {
        service.send_raw(*b" ");
        fed.status.status().last_error.is_some()
    });
    let error = fed.wait_for_error(DataSourceErrorKind::NetworkError);
    assert!(error.message.contains("request_timeout"), "{error}");
}

/// Whatever it does.
#[test]
fn a_stop_ends_the_connection() {
    for answer in [Answer::Service, Answer::Silence, Answer::Status(503), Answer::Status(401)] {
        let service = stand_in();
        service.always(answer.clone());
        let fed = Fed::by(&polling(service.url()));
        service.wait_for_requests(1);
        fed.source.stop();
        wait_until("its end", || !fed.source.is_alive());
        service.wait_for_connections(0);
    }
}

/// Answers what it is told to.
#[derive(Debug, Default)]
struct Scripted(Mutex<Vec<(bool, Result<Requested, DataSourceErrorInfo>)>>);

impl FeatureRequester for Scripted {
    fn get_all_data(&self, even_if_unchanged: bool) -> Result<Requested, DataSourceErrorInfo> {
        let (expected, answer) = self.0.lock().pop().unwrap_or((false, Ok(Requested::NotModified)));
        assert_eq!(even_if_unchanged, expected);
        answer
    }
}

/// Whatever else has the data, by the same rules.
#[test]
fn another_requester_is_polled_by_the_same_rules() {
    let refused = DataSourceErrorInfo::response(404, "not there");
    let data = Requested::AllData(flags([("a", 1)]));
    let script = Scripted(Mutex::new(vec![
        (false, Ok(Requested::NotModified)),
        (true, Ok(data)),
        (true, Err(refused)),
    ]));
    let (clock, time, sleeps) = TestClock::new();
    let fed = Fed::by(&PollingDataSourceBuilder::of_requester(script).clock(clock));
    assert!(sleeps.recv_timeout(LONG).unwrap() > MINUTE);
    time.advance(5 * MINUTE);
    fed.wait_for(DataSourceState::Valid);
    for _ in 0..2 {
        assert_eq!(sleeps.recv_timeout(LONG), Ok(30 * SECOND));
        time.advance(30 * SECOND);
    }
    assert_eq!(fed.version("a"), Some(1));
    assert_eq!(fed.status.status().state, DataSourceState::Valid);
}

/// It is an error, and not the end.
#[test]
fn a_requester_that_panics_is_asked_again() {
    #[derive(Debug)]
    struct Panics(Mutex<bool>);
    impl FeatureRequester for Panics {
        fn get_all_data(&self, _: bool) -> Result<Requested, DataSourceErrorInfo> {
            if std::mem::replace(&mut *self.0.lock(), false) {
                panic!("as it was told to");
            }
            Ok(Requested::AllData(AllData::new().with(Kind::FEATURES, [("a", flag("a", 1))])))
        }
    }
    let builder = PollingDataSourceBuilder::of_requester(Panics(Mutex::new(true)));
    let fed = Fed::by(&builder.poll_interval_for_tests(Duration::from_millis(1)));
    fed.wait_for(DataSourceState::Valid);
    wait_until("the error", || {
        fed.status.status().last_error.is_some_and(|error| error.kind == DataSourceErrorKind::Unknown)
    });
}

/// Each names its setter.
#[test]
fn wrong_settings_are_refused() {
    let of = |builder: PollingDataSourceBuilder| {
        let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
        builder.create(DataSourceUpdateSink::builder(store).build()).unwrap_err().to_string()
    };
    let url = || "http://localhost".to_owned();
    let short = of(polling(url()).poll_interval(29 * SECOND));
    assert_eq!(short, "polling: build: poll_interval: must be at least 30s");
    assert!(of(polling(url()).poll_interval_for_tests(Duration::ZERO)).contains("build: poll_interval: "));
    assert!(of(polling(url()).request_timeout(Duration::ZERO)).contains("build: request_timeout: "));
    assert!(of(polling("x".to_owned())).contains("build: polling_url: "));
}
