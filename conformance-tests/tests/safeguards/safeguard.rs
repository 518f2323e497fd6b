/// What keeps our cache right, and what it is without that.
pub(crate) struct Safeguard {
    pub(crate) name: &'static str,
    /// Below `core/src`.
    pub(crate) file: &'static str,
    pub(crate) text: &'static str,
    pub(crate) without: &'static str,
    /// The cases that miss it, all of `caching`.
    pub(crate) fails: &'static [&'static str],
    /// Cases that it takes luck to fail.
    pub(crate) may_fail: &'static [&'static str],
}

pub(crate) const ALL: &[Safeguard] = &[
    // What is known of a key
    Safeguard {
        name: "what_an_unwritten_init_removes_stays_removed",
        file: "known.rs",
        text: "if given.is_behind && known.is_none() && matches!(news, News::Read(_)) {",
        without: "if false {",
        fails: &["failures::failed_init_stays_the_truth_until_it_is_written"],
        may_fail: &[],
    },
    Safeguard {
        name: "of_two_pending_updates_the_newer_is_kept",
        file: "known.rs",
        text: ".filter(|pending| Some(pending.item.version()) > item.as_ref().map(Item::version))",
        without: ".filter(|_| false)",
        fails: &["recovery::of_two_that_failed_the_newer_is_written"],
        may_fail: &[],
    },
    Safeguard {
        name: "what_was_pending_before_an_init_spares_no_update",
        file: "known.rs",
        text: "known.pending_since(given.init_at)",
        without: "known.pending_since(0)",
        fails: &[
            "recovery::update_after_a_failed_init_need_not_be_newer_than_what_that_removed",
            "recovery::update_after_an_init_that_failed_during_a_recovery_is_not_lost",
        ],
        may_fail: &[],
    },
    Safeguard {
        name: "what_made_room_keeps_its_version",
        file: "known.rs",
        text: "let value = self.version().map_or(Value::Nothing, Value::Evicted);",
        without: "let value = Value::Nothing;",
        fails: &["incidents::what_made_room_is_not_forgotten_by_version"],
        may_fail: &[],
    },
    // The table
    Safeguard {
        name: "what_was_learnt_during_an_init_outlives_it",
        file: "known.rs",
        text: "if self.is_overtaken(since) && !matches!",
        without: "if false && !matches!",
        fails: &["recovery::update_during_an_init_outlives_a_loss"],
        may_fail: &[],
    },
    Safeguard {
        name: "what_was_asked_for_before_a_notice_is_in_doubt",
        file: "caching/table.rs",
        text: "let now = Learnt { is_aged: now.is_aged || of_kind.doubted_at > since, ..now };",
        without: "let now = Learnt { is_aged: now.is_aged, ..now };",
        fails: &["races::invalidation_beats_a_write_that_began_before_it"],
        may_fail: &[],
    },
    Safeguard {
        name: "only_an_init_makes_it_everything",
        file: "caching/state.rs",
        text: "let kinds = self.kinds.iter().filter(|(_, of_kind)| of_kind.had_init);",
        without: "let kinds = self.kinds.iter();",
        fails: &["recovery::kind_that_was_never_initialized_here_is_not_filled_in"],
        may_fail: &[],
    },
    Safeguard {
        name: "what_is_acknowledged_during_a_recovery_is_written_again",
        file: "caching/table.rs",
        text: "follows_init || restoring.overlaps(since)\n",
        without: "follows_init\n",
        fails: &[
            "recovery::update_during_a_recovery_is_not_lost",
            "recovery::update_that_is_acknowledged_during_a_recovery_is_not_lost",
        ],
        may_fail: &[],
    },
    Safeguard {
        name: "an_init_during_a_recovery_is_written_again",
        file: "caching/table.rs",
        text: "                if recovery.overlaps(since) {\n                    let init",
        without: "                if false {\n                    let init",
        fails: &[
            "recovery::init_during_a_recovery_is_not_lost",
            "recovery::init_while_updates_are_written_back_is_not_undone",
        ],
        may_fail: &[],
    },
    Safeguard {
        name: "what_made_room_is_not_among_all",
        file: "caching/table.rs",
        text: "                    of_kind.all = None;\n",
        without: "",
        fails: &["bounds::what_made_room_is_read_again"],
        may_fail: &[],
    },
    // The status
    Safeguard {
        name: "a_failure_since_the_probe_counts",
        file: "watched.rs",
        text: "if outage.failures == failures {",
        without: "if true {",
        fails: &["incidents::failure_between_the_probe_and_its_announcement_counts"],
        may_fail: &[],
    },
    Safeguard {
        name: "the_database_is_asked_after_the_note_of_what_was",
        file: "caching/wrapper.rs",
        text: "Ok(false) if was_initialized => {",
        without: "Ok(false) if was_initialized || self.table.is_initialized() => {",
        fails: &["incidents::init_at_the_moment_of_a_look_is_no_loss"],
        may_fail: &[],
    },
    // Recovery
    Safeguard {
        name: "what_follows_a_failed_init_is_written_after_it",
        file: "caching/table.rs",
        text: "let follows_init = of_kind.pending_init.as_ref().is_some_and(|init| init.at <= since);",
        without: "let follows_init = false;",
        fails: &["recovery::update_after_a_failed_init_outlives_its_repetition"],
        may_fail: &[],
    },
];
