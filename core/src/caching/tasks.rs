//! Reads for tasks: whoever has to wait holds no thread. The database is asked on the threads of the wrapper.

use std::future::poll_fn;
use std::sync::Arc;

use super::flight::Boarding;
use super::load::Subject;
use super::room::Place;
use super::wrapper::{Answer, CachingStoreWrapper, Shared};
use crate::{Item, Kind, LiveItems, StoreError};

impl CachingStoreWrapper {
    /// As [`get`](crate::FeatureStore::get), for tasks.
    pub(crate) async fn get_async(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        match self.0.look(kind, key) {
            Answer::Known(item) => Ok(item),
            Answer::Ask(old) => match self.0.arrival(Place::new(kind, key)).await {
                Ok(item) => Ok(item.filter(|item| !item.is_deleted())),
                Err(error) => old.ok_or(error),
            },
        }
    }

    /// As [`all`](crate::FeatureStore::all), for tasks.
    pub(crate) async fn all_async(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        match self.0.look_at_all(kind) {
            Answer::Known(items) => Ok(items),
            Answer::Ask(old) => self.0.arrival(kind.clone()).await.or_else(|error| old.ok_or(error)),
        }
    }
}

impl Shared {
    async fn arrival<S>(&self, subject: S) -> Result<S::Answer, StoreError>
    where
        S: Subject<Answer: Send + 'static> + Send + 'static,
    {
        let flight = match self.loads.board(&subject) {
            Boarding::Join(flight) => flight,
            Boarding::Lead(flight) => {
                let led = Arc::clone(&flight);
                self.workers.run(self, Box::new(move |shared: &Self| shared.loads.fly(&subject, &led)));
                flight
            }
        };
        poll_fn(|context| flight.poll(context.waker())).await
    }
}
