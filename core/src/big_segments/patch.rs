use std::collections::BTreeMap;

/// What has changed in one Big Segment between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BigSegmentPatch {
    /// The segment's reference, `<segment key>.g<generation>`.
    pub segment_ref: String,
    /// The version to which it leads.
    pub version: String,
    /// The version where it begins. Empty for a database that has none yet.
    pub previous_version: String,
    /// Who comes into the list of those who are included, and who leaves it.
    pub included: BigSegmentChanges,
    /// The same for the list of those who are excluded.
    pub excluded: BigSegmentChanges,
}

/// Contexts, by the [hash](crate::context_hash) of their key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BigSegmentChanges {
    /// Those who come into the list. It changes nothing for one who is in it.
    pub add: Vec<String>,
    /// Those who leave it. It changes nothing for one who is not in it, and beats `add`.
    pub remove: Vec<String>,
}

/// What a patch does to one context: for each of the two lists, whether it is in it afterwards, or `None` if
/// the patch leaves that as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContextChange {
    /// Whether it is in the list of those who are included.
    pub included: Option<bool>,
    /// Whether it is in the list of those who are excluded.
    pub excluded: Option<bool>,
}

/// What became of a patch.
// Exhaustive for the same reason as `Upsert`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a patch that was out of order changed nothing"]
pub enum PatchOutcome {
    /// The patch is stored, and its version is the database's.
    Applied,
    /// Nothing has changed, because the database has this version and not the one where the patch begins.
    OutOfOrder(String),
}

impl BigSegmentPatch {
    /// A patch of this segment that leads from one version to the next, and so far changes nothing else.
    pub fn new(
        segment_ref: impl Into<String>,
        previous_version: impl Into<String>,
        version: impl Into<String>,
    ) -> Self {
        Self {
            segment_ref: segment_ref.into(),
            version: version.into(),
            previous_version: previous_version.into(),
            included: BigSegmentChanges::default(),
            excluded: BigSegmentChanges::default(),
        }
    }

    /// The changes by context hash: for backends, most of which write by context.
    #[must_use]
    pub fn by_context(&self) -> BTreeMap<&str, ContextChange> {
        let mut contexts: BTreeMap<&str, ContextChange> = BTreeMap::new();
        // Removals come last, since they beat additions.
        for (hashes, is_in_it) in [(&self.included.add, true), (&self.included.remove, false)] {
            for hash in hashes {
                contexts.entry(hash).or_default().included = Some(is_in_it);
            }
        }
        for (hashes, is_in_it) in [(&self.excluded.add, true), (&self.excluded.remove, false)] {
            for hash in hashes {
                contexts.entry(hash).or_default().excluded = Some(is_in_it);
            }
        }
        contexts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every change of a context is in its entry, and a removal beats an addition.
    #[test]
    fn changes_are_gathered_by_context() {
        let mut patch = BigSegmentPatch::new("a.g1", "", "1");
        patch.included.add = vec!["moves".to_owned(), "both".to_owned()];
        patch.included.remove = vec!["both".to_owned()];
        patch.excluded.remove = vec!["moves".to_owned()];
        let moves = ContextChange { included: Some(true), excluded: Some(false) };
        let both = ContextChange { included: Some(false), excluded: None };
        assert_eq!(patch.by_context().into_iter().collect::<Vec<_>>(), [("both", both), ("moves", moves)]);
    }
}
