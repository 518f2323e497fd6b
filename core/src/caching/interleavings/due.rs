//! What a database owes in the end.

/// What is to be there in the end, if the database neither refuses anything nor loses it.
#[derive(Default)]
pub(super) struct Due {
    /// How many inits have begun.
    inits: usize,
    under_way: usize,
    /// The versions whose updates have ended, by key.
    pub(super) ended: [Vec<u64>; 2],
    /// The highest version that was written since the last init, by key, unless the answer was that there is a newer one.
    pub(super) at_least: [u64; 2],
    /// What the last init has removed.
    pub(super) removed: Option<[Vec<u64>; 2]>,
    /// What is there by what updates were told since that began: one that had failed before may be done late, after it.
    told: [Vec<u64>; 2],
}

impl Due {
    pub(super) fn inits(&self) -> Option<usize> {
        (self.under_way == 0).then_some(self.inits)
    }

    pub(super) fn begin_init(&mut self) {
        (self.inits, self.under_way) = (self.inits + 1, self.under_way + 1);
        (self.at_least, self.removed, self.told) = ([0, 0], None, Default::default());
    }

    pub(super) fn end_upsert(&mut self, key: usize, version: u64, is_stale: bool, inits: Option<usize>) {
        self.ended[key].push(version);
        if !is_stale && inits.is_some() && inits == self.inits() {
            self.at_least[key] = self.at_least[key].max(version);
        }
    }

    /// An update was told that this is there.
    pub(super) fn hear(&mut self, key: usize, version: u64) {
        self.told[key].push(version);
        self.keep_told();
    }

    fn keep_told(&mut self) {
        for (removed, told) in self.removed.iter_mut().flatten().zip(&self.told) {
            removed.retain(|removed| !told.contains(removed));
        }
    }

    pub(super) fn end_init(
        &mut self,
        versions: [u64; 2],
        is_done: bool,
        inits: Option<usize>,
        before: &[Vec<u64>; 2],
    ) {
        self.under_way -= 1;
        // Another one that overlapped it may have been the last.
        if inits.is_some() && inits.map(|inits| inits + 1) == self.inits() {
            for (at_least, version) in self.at_least.iter_mut().zip(versions) {
                *at_least = version.max(*at_least);
            }
            self.removed = is_done.then(|| before.clone());
            for (removed, version) in self.removed.iter_mut().flatten().zip(versions) {
                removed.retain(|removed| *removed != version);
            }
            self.keep_told();
        }
    }
}
