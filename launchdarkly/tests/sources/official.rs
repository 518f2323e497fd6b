//! Side by side with the source of the official client, on the same kind of service.

use std::time::Duration;

use flagstore_conformance::StandIn;
use flagstore_core::{
    CachingStoreWrapper, DataSource, DataSourceState, DataSourceUpdateSink, Kind, MemoryStore,
};
use flagstore_launchdarkly::Evaluator;
use flagstore_launchdarkly::launchdarkly_sdk_transport::HyperTransport;
use flagstore_launchdarkly::sources::{LaunchDarklyService, StreamingDataSourceBuilder};
use launchdarkly_server_sdk as sdk;

use crate::stand_in::stand_in;
use crate::support::{LONG, flag, flags, wait_until};

/// A client with the official streaming source, on a runtime of its own, when it has its flags.
fn official(service: &StandIn) -> (sdk::Client, tokio::runtime::Runtime) {
    official_over(service, None)
}

/// The same over a persistent store.
pub(crate) fn official_over(
    service: &StandIn,
    data_store: Option<&sdk::PersistentDataStoreBuilder>,
) -> (sdk::Client, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut endpoints = sdk::ServiceEndpointsBuilder::new();
    endpoints.relay_proxy(&service.url());
    let mut source = sdk::StreamingDataSourceBuilder::new();
    source.transport(HyperTransport::new().unwrap());
    let mut config = sdk::ConfigBuilder::new("sdk-key")
        .service_endpoints(&endpoints)
        .data_source(&source)
        .event_processor(&sdk::NullEventProcessorBuilder::new());
    if let Some(data_store) = data_store {
        config = config.data_store(data_store);
    }
    let client = sdk::Client::build(config.build().unwrap()).unwrap();
    {
        let _inside = runtime.enter();
        client.start_with_default_executor();
    }
    assert_eq!(runtime.block_on(client.wait_for_initialization(LONG)), Some(true));
    (client, runtime)
}

/// A stream that is held open and silent. Ours is interrupted and has the change of a flag from the next stream,
/// again and again; the official one waits for as long as it is let.
#[test]
fn a_silent_stream_is_noticed_and_the_official_source_hangs() {
    let service = || {
        let service = stand_in();
        service.init(&flags([("a", 1)]));
        service
    };
    let (theirs, ours) = (service(), service());
    let (client, _runtime) = official(&theirs);
    let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
    let sink = DataSourceUpdateSink::builder(store).build();
    let status = sink.status_provider();
    let (told, states) = std::sync::mpsc::channel();
    let _listener = status.add_listener(move |status| {
        let _ = told.send(status.state);
    });
    let builder =
        StreamingDataSourceBuilder::new(LaunchDarklyService::new("sdk-key").relay_proxy(ours.url()))
            .initial_reconnect_delay(Duration::from_millis(1))
            .silence_timeout(Duration::from_millis(200));
    let source = DataSource::start(&builder, sink).unwrap();
    let mut expected = [DataSourceState::Valid, DataSourceState::Interrupted].into_iter().cycle();
    for _ in 0..6 {
        assert_eq!(states.recv_timeout(LONG).ok(), expected.next());
    }
    assert!(ours.requests().len() >= 3);
    assert_eq!(theirs.requests().len(), 1, "the official source has noticed too");
    assert!(client.initialized());
    source.stop();
    client.close();
}

/// What the official one is told, ours is told as well, on one service.
#[test]
fn both_follow_the_same_service() {
    let service = stand_in();
    service.init(&flags([("a", 1)]));
    let (client, _runtime) = official(&service);
    let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
    let sink = DataSourceUpdateSink::builder(store.clone()).build();
    let builder =
        StreamingDataSourceBuilder::new(LaunchDarklyService::new("sdk-key").relay_proxy(service.url()));
    let source = DataSource::start(&builder, sink.clone()).unwrap();
    assert!(sink.status_provider().wait_for(DataSourceState::Valid, LONG));
    service.upsert(&Kind::FEATURES, "a", &flag("a", 2, false));
    let context = sdk::ContextBuilder::new("user").build().unwrap();
    wait_until("the official client", || !client.bool_variation(&context, "a", true));
    let evaluator = Evaluator::new(store);
    wait_until("ours", || !evaluator.bool_variation(&context, "a", true));
    // Both have sent what says who they are.
    let requests = service.requests();
    assert_eq!(requests[0].header("user-agent"), requests[1].header("user-agent"));
    source.stop();
    client.close();
}
