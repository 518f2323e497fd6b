//! The few threads that ask the database for those who do not wait: tasks, and reads that were answered with an
//! old value.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::room::Place;
use crate::Kind;
use crate::background::{Background, Next};

/// How many loads run at the same time. Few, because a database that does not answer in time would hold them all.
const THREADS: usize = 4;

/// From how many old items of a kind on all of them are read at once.
const MANY: usize = 16;

/// What is to be read anew: an item, or all items of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    One(Place),
    All(Kind),
}

/// What the threads do.
pub(super) trait Work: Send + Sync + 'static {
    /// Reads it anew.
    fn refresh(&self, target: Target);
}

pub(super) type Job<W> = Box<dyn FnOnce(&W) + Send>;

pub(super) struct Workers<W> {
    queue: Arc<Mutex<Queue<W>>>,
    threads: [Background; THREADS],
}

struct Queue<W> {
    jobs: VecDeque<Job<W>>,
    refreshes: VecDeque<Target>,
}

impl<W: Work> Workers<W> {
    /// They work for this one, and end with it.
    pub(super) fn new(worker: &Weak<W>) -> Self {
        let queue = Arc::new(Mutex::new(Queue { jobs: VecDeque::new(), refreshes: VecDeque::new() }));
        let thread = |_| {
            let (worker, queue) = (Weak::clone(worker), Arc::clone(&queue));
            Background::new("flagstore-load", move || {
                let Some(worker) = worker.upgrade() else { return Next::Rest };
                let Some(job) = queue.lock().next() else { return Next::Rest };
                job(&*worker);
                Next::Now
            })
        };
        Self { threads: std::array::from_fn(thread), queue }
    }

    /// Does this soon, before anything that is only to be refreshed: somebody waits for it.
    #[cfg(feature = "tokio")]
    pub(super) fn run(&self, worker: &W, job: Job<W>) {
        self.queue.lock().jobs.push_back(job);
        self.wake(worker);
    }

    /// Reads this anew soon, unless that is on its way.
    pub(super) fn refresh(&self, worker: &W, target: Target) {
        let mut queue = self.queue.lock();
        if !queue.refreshes.contains(&target) {
            queue.refresh(target);
        }
        drop(queue);
        self.wake(worker);
    }

    /// Whoever cannot have a thread for it does the next thing himself: else nobody would, and tasks wait for it.
    fn wake(&self, worker: &W) {
        let resting = self.threads.iter().find(|thread| thread.is_resting());
        if !resting.unwrap_or(&self.threads[0]).wake() {
            let next = self.queue.lock().next();
            if let Some(job) = next {
                job(worker);
            }
        }
    }
}

impl<W: Work> Queue<W> {
    /// Where many items of a kind wait, all of it does.
    fn refresh(&mut self, target: Target) {
        if let Target::One(Place { kind, .. }) = &target {
            let is_of_kind = |waiting: &Target| matches!(waiting, Target::One(place) if place.kind == *kind);
            if self.refreshes.iter().filter(|waiting| is_of_kind(waiting)).count() + 1 < MANY {
                self.refreshes.push_back(target);
                return;
            }
            self.refreshes.retain(|waiting| !is_of_kind(waiting));
            let all = Target::All(kind.clone());
            self.refreshes.retain(|waiting| *waiting != all);
            self.refreshes.push_back(all);
        } else {
            self.refreshes.push_back(target);
        }
    }

    fn next(&mut self) -> Option<Job<W>> {
        let refresh = |target| Box::new(move |worker: &W| worker.refresh(target)) as Job<W>;
        self.jobs.pop_front().or_else(|| self.refreshes.pop_front().map(refresh))
    }
}
