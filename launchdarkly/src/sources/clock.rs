//! Time, as the sources see it, so that a test can let an hour pass.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    #[cfg(test)]
    Test(std::sync::Arc<test::TestClock>),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            #[cfg(test)]
            Self::Test(clock) => clock.now(),
        }
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        match self {
            Self::System => tokio::time::sleep(time).await,
            #[cfg(test)]
            Self::Test(clock) => clock.sleep(time).await,
        }
    }
}

#[cfg(test)]
pub(crate) mod test {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::{Duration, Instant};

    use tokio::sync::watch;

    use super::Clock;

    /// Stands still until it is moved, and tells what is slept on it.
    #[derive(Debug)]
    pub(crate) struct TestClock {
        now: watch::Sender<Instant>,
        sleeps: Sender<Duration>,
    }

    impl TestClock {
        pub(crate) fn new() -> (Clock, Arc<Self>, Receiver<Duration>) {
            let (told, sleeps) = channel();
            let clock = Arc::new(Self { now: watch::Sender::new(Instant::now()), sleeps: told });
            (Clock::Test(Arc::clone(&clock)), clock, sleeps)
        }

        pub(crate) fn advance(&self, time: Duration) {
            self.now.send_modify(|now| *now += time);
        }

        pub(super) fn now(&self) -> Instant {
            *self.now.borrow()
        }

        pub(super) async fn sleep(&self, time: Duration) {
            let end = self.now() + time;
            let mut now = self.now.subscribe();
            let _ = self.sleeps.send(time);
            // The sender is in `self`, so there is no error.
            let _ = now.wait_for(|now| *now >= end).await;
        }
    }
}
