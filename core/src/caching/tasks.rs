//! Reads for tasks: whoever has to wait holds no thread. The database is asked on the threads of the wrapper.

use std::future::poll_fn;
use std::sync::Arc;

use super::flight::Boarding;
use super::room::Place;
use super::wrapper::{Answer, CachingStoreWrapper, Shared};
use crate::{Item, Kind, LiveItems, StoreError};

impl CachingStoreWrapper {
    /// As [`get`](FeatureStore::get), for tasks: whoever has to wait holds no thread.
    pub(crate) async fn get_async(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        let old = match self.0.look(kind, key) {
            Answer::Known(item) => return Ok(item),
            Answer::Ask(old) => old,
        };
        let place = Place::new(kind, key);
        let flight = match self.0.board(&place) {
            Boarding::Join(flight) => flight,
            Boarding::Lead(flight) => {
                let led = Arc::clone(&flight);
                self.0.workers.run(Box::new(move |shared: &Shared| shared.fly(&place, &led)));
                flight
            }
        };
        let item = poll_fn(|context| flight.poll(context.waker())).await;
        item.map(|item| item.filter(|item| !item.is_deleted())).or_else(|error| old.ok_or(error))
    }

    /// As [`all`](FeatureStore::all), for tasks.
    pub(crate) async fn all_async(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        let old = match self.0.look_at_all(kind) {
            Answer::Known(items) => return Ok(items),
            Answer::Ask(old) => old,
        };
        let flight = match self.0.board_all(kind) {
            Boarding::Join(flight) => flight,
            Boarding::Lead(flight) => {
                let (kind, led) = (kind.clone(), Arc::clone(&flight));
                self.0.workers.run(Box::new(move |shared: &Shared| shared.fly_all(&kind, &led)));
                flight
            }
        };
        poll_fn(|context| flight.poll(context.waker())).await.or_else(|error| old.ok_or(error))
    }
}
