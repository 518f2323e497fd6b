use std::cell::{Cell, RefCell};

use flagstore_core::{BigSegmentStoreWrapper, BigSegmentsQueryResult, BigSegmentsStatus};
use launchdarkly_server_sdk::Context;

use super::segment_forms::{Form, Members, SegmentForms};

/// What the evaluations of one call have learned of Big Segments.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    /// By context key. Each is asked for once, also where the store has failed: however many flags there are, a call waits
    /// for the store's deadline once.
    asked: RefCell<Vec<(Box<str>, BigSegmentsQueryResult)>>,
    status: Cell<Option<BigSegmentsStatus>>,
}

impl Memberships {
    /// The worst of what was met since this was asked; `None` if there was no Big Segment on the way.
    pub(crate) fn take_status(&self) -> Option<BigSegmentsStatus> {
        self.status.take()
    }

    /// The form of the segment that is true for this context.
    pub(crate) fn form<'a>(
        &self,
        segment: &'a SegmentForms,
        context: &Context,
        store: Option<&BigSegmentStoreWrapper>,
    ) -> &'a Form {
        let is_included = match &segment.members {
            Members::Listed { included, .. } if included.contain(context) => Some(true),
            Members::Listed { excluded, .. } if excluded.contain(context) => Some(false),
            Members::Listed { .. } => None,
            Members::Big { reference: None, .. } => {
                self.met(BigSegmentsStatus::NotConfigured);
                Some(false)
            }
            Members::Big { reference: Some(reference), context_kind } => {
                match context.as_kind(context_kind) {
                    Some(context) => self.check(reference, context.key(), store),
                    None => Some(false),
                }
            }
        };
        match is_included {
            Some(true) => &segment.included,
            Some(false) => &segment.excluded,
            None => &segment.neither,
        }
    }

    fn check(
        &self,
        reference: &str,
        context_key: &str,
        store: Option<&BigSegmentStoreWrapper>,
    ) -> Option<bool> {
        let Some(store) = store else {
            self.met(BigSegmentsStatus::NotConfigured);
            return None;
        };
        let mut asked = self.asked.borrow_mut();
        let known = asked.iter().position(|(key, _)| **key == *context_key);
        let at = known.unwrap_or_else(|| {
            asked.push((context_key.into(), store.get_membership(context_key)));
            asked.len() - 1
        });
        let result = &asked[at].1;
        self.met(result.status);
        result.membership.check_membership(reference)
    }

    pub(crate) fn met(&self, status: BigSegmentsStatus) {
        self.status.set(self.status.get().max(Some(status)));
    }
}
