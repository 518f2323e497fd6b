//! How many evaluations there are in a second, on one thread: of the official client in memory and over our Redis store
//! with each cache, and of our evaluator.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstore_core::{CacheMode, CachingStoreWrapper, FeatureStoreCore};
use flagstore_launchdarkly::{Evaluator, cached_data_store, data_store};
use flagstore_redis::RedisStore;
use launchdarkly_server_sdk::{
    Client, ConfigBuilder, Context, ContextBuilder, NullEventProcessorBuilder, PersistentDataStoreBuilder,
    TestData,
};
use tokio::runtime::Runtime;

use crate::{FLAGS, everything, key, text};

/// How long each of them evaluates.
const TIME: Duration = Duration::from_secs(1);
/// Between two looks at the clock.
const BATCH: usize = 100;

/// Every row: whose evaluations, and how many a second.
pub(crate) fn rows(store: RedisStore) -> Result<Vec<(&'static str, f64)>, Box<dyn Error>> {
    let context = ContextBuilder::new("user-3").build()?;
    let runtime = Runtime::new()?;
    let _inside = runtime.enter();
    let store: Arc<dyn FeatureStoreCore> = Arc::new(store);
    store.init(&everything())?;
    let cached = || CachingStoreWrapper::builder(Arc::clone(&store)).mode(CacheMode::Forever).build();
    let evaluator = Evaluator::new(cached()?);
    let mut rows = vec![("official client, in memory", of_client(&in_memory()?, &context))];
    for (name, mut data_store, is_cached_by_the_sdk) in [
        ("official client, flagstore-redis, no cache", data_store(Arc::clone(&store)), false),
        ("official client, flagstore-redis, our cache", cached_data_store(cached()?), false),
        ("official client, flagstore-redis, the SDK's cache", data_store(Arc::clone(&store)), true),
        ("official client, flagstore-redis, both caches", cached_data_store(cached()?), true),
    ] {
        let data_store =
            if is_cached_by_the_sdk { data_store.cache_forever() } else { data_store.no_caching() };
        rows.push((name, of_client(&over(data_store)?, &context)));
    }
    rows.push((
        "our evaluator, flagstore-redis, our cache",
        a_second(|flag| {
            let value = evaluator.str_variation(&context, flag, String::new());
            assert_ne!(value, "", "every flag is there");
            black_box(value);
        }),
    ));
    Ok(rows)
}

fn of_client(client: &Client, context: &Context) -> f64 {
    let rate = a_second(|flag| {
        let value = client.str_variation(context, flag, String::new());
        assert_ne!(value, "", "every flag is there");
        black_box(value);
    });
    client.close();
    rate
}

/// After each flag has been evaluated once.
fn a_second(evaluate: impl Fn(&str)) -> f64 {
    let keys: Vec<String> = (0..FLAGS).map(key).collect();
    keys.iter().for_each(|key| evaluate(key));
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < TIME {
        (calls..calls + BATCH).for_each(|call| evaluate(&keys[call % FLAGS]));
        calls += BATCH;
    }
    calls as f64 / began.elapsed().as_secs_f64()
}

fn over(data_store: &PersistentDataStoreBuilder) -> Result<Client, Box<dyn Error>> {
    let config = ConfigBuilder::new("sdk-key")
        .daemon_mode(true)
        .data_store(data_store)
        .event_processor(&NullEventProcessorBuilder::new());
    Ok(Client::build(config.build()?)?)
}

/// The official client as it comes, once it has all flags.
fn in_memory() -> Result<Client, Box<dyn Error>> {
    let data = TestData::new();
    for i in 0..FLAGS {
        data.use_preconfigured_flag(serde_json::from_str(&text(i, 1))?);
    }
    let config =
        ConfigBuilder::new("sdk-key").data_source(&data).event_processor(&NullEventProcessorBuilder::new());
    let client = Client::build(config.build()?)?;
    client.start_with_default_executor();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !client.initialized() {
        assert!(Instant::now() < deadline, "the client does not start");
        std::thread::yield_now();
    }
    Ok(client)
}
