//! How the store comes to its client, and keeps it able to sign: one task finds the region and loads and renews the
//! credentials.
//!
//! The task has its own clock. A call waits for it, within its own deadline, and never cancels it: a source of
//! credentials that takes longer than a call does is there for the next one.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_dynamodb::Client;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::client::Settings;
use crate::error::Failure;
use crate::identity::{self, Identity, Loads, Unhurried};

/// No source that works takes longer.
const LONGEST_LOAD: Duration = Duration::from_secs(60);

/// After a load the source is left alone for as long as that took, so it is never asked more than half of the
/// time, and within these limits.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the client comes from. The first call starts the task, since reading the environment may take requests,
/// and `build` makes none.
pub(crate) struct Connection {
    settings: Arc<Settings>,
    state: Arc<watch::Sender<State>>,
    /// Tells the task that a call has found nothing that it could use.
    wanted: Arc<Notify>,
    /// `None` for a client that was handed in, which needs no preparation.
    task: Option<OnceLock<AbortHandle>>,
    /// None for a client that is ours.
    loads_of_client: Loads,
}

/// How far the task has come.
enum State {
    Preparing(Step),
    /// The client, and until when its credentials count.
    Ready(Client, Option<SystemTime>),
    /// What calls are told until the task succeeds.
    Failed(Failure),
}

/// What a call may have to wait for.
#[derive(Debug, Clone, Copy)]
enum Step {
    Region,
    Credentials,
}

fn is_valid(expiry: Option<SystemTime>) -> bool {
    expiry.is_none_or(|expiry| SystemTime::now() < expiry)
}

impl State {
    fn is_usable(&self) -> bool {
        matches!(self, Self::Ready(_, expiry) if is_valid(*expiry))
    }

    fn is_news(&self) -> bool {
        matches!(self, Self::Failed(_)) || self.is_usable()
    }
}

impl Connection {
    pub(crate) fn new(settings: Settings, client: Option<Client>) -> Self {
        let task = client.is_none().then(OnceLock::new);
        let loads_of_client = Loads::default();
        let state = match client {
            Some(client) => {
                let cache = Unhurried::cache_of(&client, loads_of_client.clone());
                let config = client.config().to_builder().identity_cache(cache);
                State::Ready(Client::from_conf(config.build()), None)
            }
            None => State::Preparing(Step::Region),
        };
        Self {
            settings: Arc::new(settings),
            state: Arc::new(watch::Sender::new(state)),
            wanted: Arc::default(),
            task,
            loads_of_client,
        }
    }

    /// The client, if it can sign a request now.
    pub(crate) fn ready(&self) -> Option<Client> {
        match &*self.state.borrow() {
            State::Ready(client, expiry) if is_valid(*expiry) => Some(client.clone()),
            _ => None,
        }
    }

    /// The client, as soon as it can sign a request. What has failed is said at once, and tried again for the next
    /// call.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        if let Some(task) = &self.task {
            task.get_or_init(|| tokio::spawn(self.preparation().run()).abort_handle());
        }
        self.wanted.notify_one();
        let mut state = self.state.subscribe();
        let Ok(news) = state.wait_for(State::is_news).await else { return Err(self.waited(Duration::ZERO)) };
        match &*news {
            State::Ready(client, _) => Ok(client.clone()),
            State::Failed(failure) => Err(failure.clone()),
            State::Preparing(_) => Err(self.waited(Duration::ZERO)),
        }
    }

    /// AWS does not accept the credentials, however long they were to count: they were replaced, or taken back. The next
    /// call waits for new ones.
    pub(crate) fn refused(&self) {
        self.state.send_if_modified(|state| match state {
            // Those of a client that was handed in are not ours to renew.
            State::Ready(_, expiry) if self.task.is_some() => {
                *expiry = Some(SystemTime::UNIX_EPOCH);
                true
            }
            _ => false,
        });
    }

    /// Whether a client that was handed in is asking for credentials.
    pub(crate) fn client_is_loading(&self) -> bool {
        self.loads_of_client.are_under_way()
    }

    /// What a call has waited for in vain.
    pub(crate) fn waited(&self, time: Duration) -> Failure {
        match &*self.state.borrow() {
            State::Preparing(Step::Region) => Failure::WaitedForRegion(time),
            _ => Failure::WaitedForCredentials(time, self.settings.source()),
        }
    }

    fn preparation(&self) -> Preparation {
        Preparation {
            settings: Arc::clone(&self.settings),
            state: Arc::clone(&self.state),
            wanted: Arc::clone(&self.wanted),
        }
    }

    /// Where the table is, as far as it is known: an endpoint, or else a region.
    pub(crate) fn location(&self) -> Option<String> {
        let region = || match &*self.state.borrow() {
            State::Ready(client, _) => client.config().region().map(ToString::to_string),
            _ => None,
        };
        self.settings.endpoint.clone().or_else(|| self.settings.region.clone()).or_else(region)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Its bridge may be other stores' too.
        if let Some(task) = self.task.as_ref().and_then(OnceLock::get) {
            task.abort();
        }
    }
}

/// The task.
struct Preparation {
    settings: Arc<Settings>,
    state: Arc<watch::Sender<State>>,
    wanted: Arc<Notify>,
}

impl Preparation {
    async fn run(self) {
        let (client, mut identity) = self.connect().await;
        let mut more = SHORTEST_PAUSE;
        loop {
            let begun = Instant::now();
            let loaded = in_time(identity.load()).await.unwrap_or_else(|| {
                Err(Failure::NoCredentials(self.settings.source(), format!("no answer in {LONGEST_LOAD:?}")))
            });
            let loaded = loaded.and_then(|expiry| match is_valid(expiry) {
                true => Ok(expiry),
                false => Err(Failure::NoCredentials(
                    self.settings.source(),
                    "what it gives has expired already: renew it, or set this machine's clock".to_owned(),
                )),
            });
            let pause = pause_after(begun);
            match loaded {
                Ok(expiry) => {
                    more = SHORTEST_PAUSE;
                    self.state.send_replace(State::Ready(client.clone(), expiry));
                    tokio::time::sleep(pause).await;
                    self.until_due(identity::renewal_in(expiry).saturating_sub(pause)).await;
                }
                // Those that are held are as good as ever, so there is time: more each time.
                Err(_) if self.state.borrow().is_usable() => {
                    tokio::time::sleep(pause).await;
                    self.until_due(more).await;
                    more = LONGEST_PAUSE.min(2 * more);
                }
                Err(failure) => self.failed(failure, pause).await,
            }
        }
    }

    /// The client, with the region and all but the credentials.
    async fn connect(&self) -> (Client, Identity) {
        loop {
            let begun = Instant::now();
            match in_time(self.settings.connect()).await.unwrap_or(Err(Failure::NoRegion)) {
                Ok(connected) => {
                    self.state.send_replace(State::Preparing(Step::Credentials));
                    return connected;
                }
                Err(failure) => self.failed(failure, pause_after(begun)).await,
            }
        }
    }

    /// Tells all calls, and returns when the next one wants it to be tried again.
    async fn failed(&self, failure: Failure, pause: Duration) {
        self.state.send_replace(State::Failed(failure));
        tokio::time::sleep(pause).await;
        self.wanted.notified().await;
    }

    /// Returns when it is time to renew the credentials, or when a call finds them expired, which is sooner if the
    /// machine has slept.
    async fn until_due(&self, time: Duration) {
        let wanted = async {
            loop {
                self.wanted.notified().await;
                if !self.state.borrow().is_usable() {
                    return;
                }
            }
        };
        // An error is the time.
        let _ = tokio::time::timeout(time, wanted).await;
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(LONGEST_LOAD, work).await.ok()
}

fn pause_after(begun: Instant) -> Duration {
    begun.elapsed().clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}
