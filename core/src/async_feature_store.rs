use crate::{
    AllData, CachingStoreWrapper, ErrorKind, FeatureStore, Item, Kind, LiveItems, StoreError, Upsert,
};

/// A [`CachingStoreWrapper`] for async callers: what is cached is there at once, and everything else runs on
/// tokio's threads for blocking work, so that the executor never waits for a database.
///
/// It works in multi-thread and current-thread runtimes of tokio, and panics outside of them, as everything of
/// tokio does. A future that is dropped does not stop a call that is under way: an update may still happen.
///
/// ```
/// use flagstore_core::{AsyncFeatureStore, CachingStoreWrapper, Item, Kind, MemoryStore};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = AsyncFeatureStore::new(CachingStoreWrapper::builder(MemoryStore::new()).build()?);
/// let flag = Item::parse(r#"{"key":"dark-mode","version":1}"#).unwrap();
/// store.upsert(&Kind::FEATURES, "dark-mode", &flag).await?;
/// assert_eq!(store.get(&Kind::FEATURES, "dark-mode").await?, Some(flag));
/// # Ok::<(), flagstore_core::StoreError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct AsyncFeatureStore(CachingStoreWrapper);

impl AsyncFeatureStore {
    /// The same store, with futures.
    #[must_use]
    pub fn new(store: CachingStoreWrapper) -> Self {
        Self(store)
    }

    /// The store itself, for its status, its statistics and whatever else is not a call to the database.
    #[must_use]
    pub fn store(&self) -> &CachingStoreWrapper {
        &self.0
    }

    /// As [`FeatureStore::init`].
    ///
    /// # Errors
    ///
    /// Those of the method it stands for.
    pub async fn init(&self, all_data: AllData) -> Result<(), StoreError> {
        self.off_executor(move |store| store.init(&all_data)).await
    }

    /// As [`FeatureStore::get`].
    ///
    /// # Errors
    ///
    /// Those of the method it stands for.
    pub async fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        self.0.get_async(kind, key).await
    }

    /// As [`FeatureStore::all`].
    ///
    /// # Errors
    ///
    /// Those of the method it stands for.
    pub async fn all(&self, kind: &Kind) -> Result<LiveItems, StoreError> {
        self.0.all_async(kind).await
    }

    /// As [`FeatureStore::upsert`].
    ///
    /// # Errors
    ///
    /// Those of the method it stands for.
    pub async fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let (kind, key, item) = (kind.clone(), key.to_owned(), item.clone());
        self.off_executor(move |store| store.upsert(&kind, &key, &item)).await
    }

    /// As [`FeatureStore::delete`].
    ///
    /// # Errors
    ///
    /// Those of the method it stands for.
    pub async fn delete(&self, kind: &Kind, key: &str, version: u64) -> Result<Upsert, StoreError> {
        let (kind, key) = (kind.clone(), key.to_owned());
        self.off_executor(move |store| store.delete(&kind, &key, version)).await
    }

    /// As [`FeatureStore::initialized`].
    pub async fn initialized(&self) -> bool {
        self.off_executor(|store| Ok(store.initialized())).await.unwrap_or(false)
    }

    async fn off_executor<T: Send + 'static>(
        &self,
        call: impl FnOnce(&CachingStoreWrapper) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.0.clone();
        let called = tokio::task::spawn_blocking(move || call(&store)).await;
        // It was not called if the runtime is shutting down, and did not return if the store panicked.
        called.unwrap_or_else(|error| Err(StoreError::new(ErrorKind::Other, "async", "call", error)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Waker};

    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::MemoryStore;

    fn filled() -> AsyncFeatureStore {
        let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
        store.init(&AllData::from_json(r#"{"flags":{"a":{"version":1}}}"#).unwrap()).unwrap();
        AsyncFeatureStore::new(store)
    }

    fn runtimes() -> [Runtime; 2] {
        [
            Builder::new_current_thread().build().unwrap(),
            Builder::new_multi_thread().worker_threads(1).build().unwrap(),
        ]
    }

    /// A hit needs no executor: its future is ready when it is polled first.
    #[test]
    fn a_hit_is_immediate() {
        let store = filled();
        let mut context = Context::from_waker(Waker::noop());
        let get = std::pin::pin!(store.get(&Kind::FEATURES, "a"));
        assert!(matches!(get.poll(&mut context), Poll::Ready(Ok(Some(_)))));
        let all = std::pin::pin!(store.all(&Kind::FEATURES));
        assert!(matches!(all.poll(&mut context), Poll::Ready(Ok(items)) if items.len() == 1));
    }

    /// Every operation does what its sync twin does, in both kinds of runtime.
    #[test]
    fn every_operation_works_in_both_runtimes() {
        for runtime in runtimes() {
            runtime.block_on(async {
                let store =
                    AsyncFeatureStore::new(CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap());
                assert!(!store.initialized().await);
                store.init(AllData::new()).await.unwrap();
                assert!(store.initialized().await);
                let item = Item::parse(r#"{"version":2}"#).unwrap();
                assert_eq!(store.get(&Kind::FEATURES, "a").await.unwrap(), None);
                assert_eq!(store.upsert(&Kind::FEATURES, "a", &item).await.unwrap(), Upsert::Applied);
                assert_eq!(store.get(&Kind::FEATURES, "a").await.unwrap(), Some(item.clone()));
                assert_eq!(store.all(&Kind::FEATURES).await.unwrap().len(), 1);
                assert_eq!(store.delete(&Kind::FEATURES, "a", 1).await.unwrap(), Upsert::Stale(item));
                assert_eq!(store.delete(&Kind::FEATURES, "a", 3).await.unwrap(), Upsert::Applied);
                assert_eq!(store.get(&Kind::FEATURES, "a").await.unwrap(), None);
            });
        }
    }

    /// While a database call is under way, other tasks of a runtime with a single thread go on.
    #[test]
    fn the_executor_goes_on_while_a_call_waits() {
        let store = AsyncFeatureStore::new(CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap());
        let (entered, is_entered) = tokio::sync::oneshot::channel();
        let (release, is_released) = std::sync::mpsc::channel();
        let blocked = store.off_executor(move |_| {
            entered.send(()).unwrap();
            is_released.recv().unwrap();
            Ok(())
        });
        runtimes()[0].block_on(async {
            let other_task = async {
                is_entered.await.unwrap();
                release.send(()).unwrap();
            };
            let (blocked, ()) = tokio::join!(blocked, other_task);
            blocked.unwrap();
        });
    }

    /// A store that panics is an error, and not the end of the task.
    #[test]
    fn a_panic_is_an_error() {
        let store = Arc::new(filled());
        let error = runtimes()[0].block_on(store.off_executor::<()>(|_| panic!("out of order"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
    }

    /// A store that holds its reads until it is told what to do, and counts them.
    #[derive(Debug, Default)]
    struct Held {
        inner: MemoryStore,
        reads: AtomicUsize,
        gate: std::sync::Mutex<()>,
    }

    impl std::fmt::Display for Held {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Held")
        }
    }

    impl crate::FeatureStoreCore for Held {
        fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
            self.inner.init(all_data)
        }

        fn get(&self, _: &Kind, _: &str) -> Result<Option<Item>, StoreError> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            drop(self.gate.lock());
            Err(StoreError::unanswered("held", "get", "no answer"))
        }

        fn get_all(&self, kind: &Kind) -> Result<crate::Items, StoreError> {
            self.inner.get_all(kind)
        }

        fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
            self.inner.upsert(kind, key, item)
        }

        fn is_initialized(&self) -> Result<bool, StoreError> {
            Ok(true)
        }

        fn is_available(&self) -> bool {
            false
        }

        fn describe(&self) -> &'static str {
            "held"
        }
    }

    /// Thousands of tasks that wait for a database in trouble hold no thread, and ask it once for each key.
    #[test]
    fn tasks_that_wait_hold_no_thread() {
        const TASKS: usize = 3_000;
        let (held, begun) = (Arc::new(Held::default()), Arc::new(AtomicUsize::new(0)));
        let store = AsyncFeatureStore::new(CachingStoreWrapper::builder(Arc::clone(&held)).build().unwrap());
        let gate = held.gate.lock().unwrap();
        let runtime = Builder::new_current_thread().build().unwrap();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (store, begun) = (store.clone(), Arc::clone(&begun));
                runtime.spawn(async move {
                    // In a current-thread runtime nobody else runs before it has to wait.
                    begun.fetch_add(1, Ordering::SeqCst);
                    store.get(&Kind::FEATURES, "a").await
                })
            })
            .collect();
        while begun.load(Ordering::SeqCst) < TASKS || held.reads.load(Ordering::SeqCst) == 0 {
            runtime.block_on(tokio::task::yield_now());
        }
        #[cfg(target_os = "linux")]
        {
            let names = std::fs::read_dir("/proc/self/task")
                .unwrap()
                .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
            let blocking = names.filter(|name| name.starts_with("tokio-")).count();
            assert!(blocking < 20, "{blocking} threads of tokio's hold {TASKS} tasks");
        }
        drop(gate);
        for task in tasks {
            assert_eq!(runtime.block_on(task).unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert_eq!(held.reads.load(Ordering::SeqCst), 1);
    }
}
