//! Which of several copies of the same thing a thread uses, so that threads do not wait for each other's memory.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many copies there are of what is counted. A power of two.
pub(crate) const STRIPES: usize = 16;

/// This thread's stripe, below [`STRIPES`]. Threads that are started one after the other have different ones.
pub(crate) fn stripe() -> usize {
    thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        stripe.get()
    })
}
