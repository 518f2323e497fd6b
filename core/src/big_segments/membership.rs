use std::fmt;
use std::sync::Arc;

/// Which Big Segments a context is in, and from which it is excluded.
///
/// A segment goes by its reference, `<segment key>.g<generation>`. A clone costs nothing.
///
/// ```
/// use flagstore_core::BigSegmentMembership;
///
/// let membership = BigSegmentMembership::new(["beta.g1", "staff.g3"], ["beta.g1", "trial.g2"]);
/// assert_eq!(membership.check_membership("staff.g3"), Some(true));
/// assert_eq!(membership.check_membership("trial.g2"), Some(false));
/// assert_eq!(membership.check_membership("beta.g1"), Some(true), "who is in both is included");
/// assert_eq!(membership.check_membership("staff.g2"), None, "another generation is another segment");
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct BigSegmentMembership(
    /// Ordered by reference, none twice.
    Arc<[(Box<str>, bool)]>,
);

impl BigSegmentMembership {
    /// The membership of a context that is included in these segments and excluded from those. What is in both
    /// is included.
    pub fn new<S: Into<Box<str>>>(
        included: impl IntoIterator<Item = S>,
        excluded: impl IntoIterator<Item = S>,
    ) -> Self {
        let included = included.into_iter().map(|segment_ref| (segment_ref, true));
        let excluded = excluded.into_iter().map(|segment_ref| (segment_ref, false));
        included.chain(excluded).collect()
    }

    /// Whether the context is included (`true`), excluded (`false`), or neither (`None`): then the segment's
    /// rules decide.
    #[must_use]
    pub fn check_membership(&self, segment_ref: &str) -> Option<bool> {
        let place = self.0.binary_search_by(|(other, _)| (**other).cmp(segment_ref));
        place.ok().map(|place| self.0[place].1)
    }

    /// The references, and whether the context is included there, ordered by reference.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, bool)> {
        self.0.iter().map(|(segment_ref, included)| (&**segment_ref, *included))
    }

    /// How many segments know the context.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no segment knows the context.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of references, and whether the context is included there. Of two equal references the included one counts.
impl<S: Into<Box<str>>> FromIterator<(S, bool)> for BigSegmentMembership {
    fn from_iter<I: IntoIterator<Item = (S, bool)>>(segments: I) -> Self {
        let segments = segments.into_iter().map(|(segment_ref, included)| (segment_ref.into(), included));
        let mut segments: Vec<(Box<str>, bool)> = segments.collect();
        // From a database they come in order.
        if !segments.is_sorted_by(|(one, _), (other, _)| one < other) {
            segments.sort_by(|(one, in_one), (other, in_other)| one.cmp(other).then(in_other.cmp(in_one)));
            segments.dedup_by(|(one, _), (other, _)| one == other);
        }
        Self(segments.into())
    }
}

impl fmt::Debug for BigSegmentMembership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(included: &[&str], excluded: &[&str]) -> BigSegmentMembership {
        BigSegmentMembership::new(included.iter().copied(), excluded.iter().copied())
    }

    /// Nothing is known of a context that is in no list.
    #[test]
    fn an_empty_one_knows_nothing() {
        let membership = membership(&[], &[]);
        assert_eq!(membership, BigSegmentMembership::default());
        assert!(membership.is_empty());
        assert_eq!(membership.check_membership("a.g1"), None);
    }

    /// The order in which references come is of no matter, and neither are repetitions.
    #[test]
    fn is_a_set() {
        let one = membership(&["b.g1", "a.g1", "b.g1"], &["c.g1", "a.g1"]);
        assert_eq!(one, membership(&["a.g1", "b.g1"], &["c.g1"]));
        assert_eq!(one.len(), 3);
        assert_eq!(one.iter().collect::<Vec<_>>(), [("a.g1", true), ("b.g1", true), ("c.g1", false)]);
    }

    /// Inclusion wins, whatever stands around it.
    #[test]
    fn inclusion_beats_exclusion() {
        let membership = membership(&["b.g1"], &["a.g1", "b.g1", "c.g1"]);
        let check = |segment_ref| membership.check_membership(segment_ref);
        assert_eq!(["a.g1", "b.g1", "c.g1"].map(check), [Some(false), Some(true), Some(false)]);
    }

    /// A generation is part of the reference.
    #[test]
    fn generations_are_different_segments() {
        let membership = membership(&["a.g1"], &["a.g2"]);
        let check = |segment_ref| membership.check_membership(segment_ref);
        assert_eq!(["a.g1", "a.g2", "a.g3", "a"].map(check), [Some(true), Some(false), None, None]);
    }
}
