/// What can be wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    // Initialized
    AlwaysInitialized,
    ForgetsTheMark,
    KeepsTheMarkToItself,
    MarksOnlyWithItems,
    MarksOnUpsert,
    // Init
    InitKeepsOldItems,
    InitComparesVersions,
    InitClearsEverything,
    SecondInitClears,
    InitStopsAtFiveThousand,
    InitsInPieces,
    PutsFlagsBeforeTheirPrerequisites,
    PutsFlagsBeforeSegments,
    PutsSegmentsBeforeThoseInTheirRules,
    MarksFirst,
    RemovesFirst,
    // Reading
    LosesTheText,
    MissingIsAnError,
    HidesTombstones,
    MixesKinds,
    HandlesAreIslands,
    LowercasesKeys,
    EmptyKindIsAnError,
    HidesTombstonesAmongAll,
    CachesAll,
    // Upsert
    RefusesNewKeys,
    ComparesVersionsAsText,
    IgnoresVersions,
    AcceptsEqualVersions,
    TakesMissingForVersionZero,
    LiesAboutStale,
    NeedsAnInit,
    KeepsVersionsIn32Bits,
    Reformats,
    // Delete
    DeletesTheRow,
    DeletesWhateverTheVersion,
    IgnoresDeletionOfUnknown,
    ForgetsVersionsOfTombstones,
    TombstonesAreForever,
    TakesGoTombstonesForLive,
    // Prefix
    IgnoresThePrefix,
    ClearsPrefixesThatBeginWithIts,
    // Size
    CutsLargeItems,
    TooLargeDeletesTheOld,
    TooLargeSpoilsTheInit,
    // Unreadable
    UnreadableIsMissing,
    UnreadableSpoilsAll,
    UnreadableIsForever,
    // Errors
    NeverAvailable,
    HasNoName,
    UnreachableIsEmpty,
    AlwaysAvailable,
    ShowsThePassword,
    WaitsPastItsDeadline,
    SilenceIsNoError,
    SilentIsAvailable,
    RefusedInitIsHalfDone,
    RefusedInitIsMarked,
    RefusedUpdateIsStored,
    LogsInits,
    LogsFailures,
    // Concurrency
    ChecksThenActs,
    ReadsAreStale,
    // Between processes
    HasNoLockBetweenProcesses,
    AcknowledgesBeforeItWrites,
    InitsKindByKind,
    ReportsNoChanges,
    // Runtimes
    NeedsARuntime,
    BlocksOnARuntime,
    OwnsARuntime,
}

impl Fault {
    /// Each fault, and the cases that are there to find it.
    pub(crate) const ALL: &[(Self, &[&str])] = &[
        // Initialized
        (Self::AlwaysInitialized, &["init::an_empty_database_is_not_initialized"]),
        (Self::ForgetsTheMark, &["init::marks_the_store_initialized"]),
        (Self::KeepsTheMarkToItself, &["init::is_seen_by_another_handle"]),
        (
            Self::MarksOnlyWithItems,
            &[
                "init::without_data_marks_the_store_initialized",
                "init::with_empty_kinds_marks_the_store_initialized",
            ],
        ),
        (Self::MarksOnUpsert, &["init::an_update_alone_does_not_initialize"]),
        // Init
        (
            Self::InitKeepsOldItems,
            &["init::replaces_everything", "init::empties_a_kind_that_is_given_without_items"],
        ),
        (Self::InitComparesVersions, &["init::ignores_versions"]),
        (Self::InitClearsEverything, &["init::leaves_other_kinds_alone"]),
        (Self::SecondInitClears, &["init::can_be_repeated_with_the_same_data"]),
        (Self::InitStopsAtFiveThousand, &["init::stores_ten_thousand_items"]),
        (Self::InitsInPieces, &["init::is_never_seen_half_done"]),
        (Self::PutsFlagsBeforeTheirPrerequisites, &["init::writes_dependencies_before_their_dependents"]),
        (Self::PutsFlagsBeforeSegments, &["init::writes_dependencies_before_their_dependents"]),
        (Self::PutsSegmentsBeforeThoseInTheirRules, &["init::writes_segments_behind_those_in_their_rules"]),
        (Self::MarksFirst, &["init::marks_the_store_when_everything_is_there"]),
        (Self::RemovesFirst, &["init::removes_when_everything_else_is_there"]),
        // Reading
        (Self::LosesTheText, &["get::existing_item_comes_back"]),
        (Self::MissingIsAnError, &["get::missing_key_is_none", "get::missing_kind_is_none"]),
        (Self::HidesTombstones, &["get::deleted_item_is_its_tombstone"]),
        (
            Self::MixesKinds,
            &[
                "get::kinds_do_not_collide",
                "get_all::has_all_items_of_that_kind_only",
                "upsert::one_item_changes_and_no_other",
            ],
        ),
        (Self::HandlesAreIslands, &["get::another_handle_reads_what_one_wrote"]),
        (Self::LowercasesKeys, &["get::unusual_keys_are_keys"]),
        (Self::EmptyKindIsAnError, &["get_all::of_an_empty_kind_is_empty"]),
        (Self::HidesTombstonesAmongAll, &["get_all::includes_tombstones"]),
        (Self::CachesAll, &["get_all::sees_updates_and_deletions"]),
        // Upsert
        (Self::RefusesNewKeys, &["upsert::new_item_is_stored"]),
        (Self::ComparesVersionsAsText, &["upsert::newer_version_replaces"]),
        (Self::IgnoresVersions, &["upsert::older_version_is_ignored"]),
        (Self::AcceptsEqualVersions, &["upsert::equal_version_is_ignored"]),
        (Self::TakesMissingForVersionZero, &["upsert::version_zero_goes_into_an_empty_slot"]),
        (Self::LiesAboutStale, &["upsert::stale_brings_what_is_stored"]),
        (Self::NeedsAnInit, &["upsert::works_before_an_init"]),
        (Self::KeepsVersionsIn32Bits, &["upsert::large_versions_are_exact"]),
        (Self::Reformats, &["upsert::every_byte_survives"]),
        // Delete
        (Self::DeletesTheRow, &["delete::newer_version_deletes"]),
        (
            Self::DeletesWhateverTheVersion,
            &["delete::older_version_is_ignored", "delete::equal_version_is_ignored"],
        ),
        (Self::IgnoresDeletionOfUnknown, &["delete::unknown_key_gets_a_tombstone"]),
        (
            Self::ForgetsVersionsOfTombstones,
            &["delete::older_update_does_not_bring_it_back", "delete::equal_update_does_not_bring_it_back"],
        ),
        (Self::TombstonesAreForever, &["delete::newer_update_brings_it_back"]),
        (Self::TakesGoTombstonesForLive, &["delete::every_dialect_of_tombstone_is_one"]),
        // Prefix
        (
            Self::IgnoresThePrefix,
            &[
                "prefix::init_is_not_seen_by_another",
                "prefix::init_does_not_clear_another",
                "prefix::versions_of_another_do_not_count",
                "prefix::deletions_of_another_do_not_count",
            ],
        ),
        (Self::ClearsPrefixesThatBeginWithIts, &["prefix::one_may_begin_with_another"]),
        // Size
        (Self::CutsLargeItems, &["size::large_items_are_stored_whole"]),
        (Self::TooLargeDeletesTheOld, &["size::too_large_an_update_is_refused_and_the_old_item_kept"]),
        (Self::TooLargeSpoilsTheInit, &["size::too_large_an_item_does_not_spoil_an_init"]),
        // Unreadable
        (Self::UnreadableIsMissing, &["unreadable::item_is_an_error_that_names_it"]),
        (Self::UnreadableSpoilsAll, &["unreadable::item_spoils_no_other"]),
        (
            Self::UnreadableIsForever,
            &["unreadable::item_can_be_overwritten", "unreadable::item_is_replaced_by_an_init"],
        ),
        // Errors
        (Self::NeverAvailable, &["errors::healthy_database_is_available"]),
        (Self::HasNoName, &["errors::store_says_what_it_is"]),
        (Self::UnreachableIsEmpty, &["errors::unreachable_database_is_an_error_everywhere"]),
        (Self::AlwaysAvailable, &["errors::unreachable_database_is_not_available"]),
        (Self::ShowsThePassword, &["errors::secrets_are_never_shown"]),
        (Self::WaitsPastItsDeadline, &["errors::silent_database_is_an_error_within_the_deadline"]),
        (Self::SilenceIsNoError, &["errors::silent_database_is_an_error_within_the_deadline"]),
        (Self::SilentIsAvailable, &["errors::silent_database_is_not_available"]),
        (Self::RefusedInitIsHalfDone, &["errors::refused_init_changes_nothing"]),
        (Self::RefusedInitIsMarked, &["errors::refused_init_changes_nothing"]),
        (Self::RefusedUpdateIsStored, &["errors::refused_update_changes_nothing"]),
        (Self::LogsInits, &["errors::healthy_store_logs_nothing_above_debug"]),
        (Self::LogsFailures, &["errors::unreachable_store_logs_nothing_above_debug"]),
        // Concurrency
        (
            Self::ChecksThenActs,
            &[
                "concurrency::external_writer_with_lower_versions_loses",
                "concurrency::external_writer_with_a_higher_version_wins",
                "concurrency::highest_version_wins_on_one_key",
                "concurrency::highest_version_wins_on_many_keys",
                "concurrency::one_version_is_applied_once",
            ],
        ),
        (Self::ReadsAreStale, &["concurrency::history_of_one_key_is_linearizable"]),
        // Between processes
        (Self::HasNoLockBetweenProcesses, &["processes::highest_version_wins_between_processes"]),
        (
            Self::AcknowledgesBeforeItWrites,
            &[
                "processes::a_killed_writer_loses_no_acknowledged_update",
                "changes::updates_of_another_process_reach_a_cache",
            ],
        ),
        (Self::InitsKindByKind, &["processes::a_killed_writer_leaves_no_half_an_init"]),
        (
            Self::ReportsNoChanges,
            &[
                "changes::updates_of_another_process_reach_a_cache",
                "changes::inits_of_another_process_reach_a_cache",
            ],
        ),
        // Runtimes
        (Self::NeedsARuntime, &["runtimes::calls_work_on_a_plain_thread"]),
        (
            Self::BlocksOnARuntime,
            &[
                "runtimes::calls_work_inside_a_multi_thread_runtime",
                "runtimes::calls_work_inside_a_current_thread_runtime",
            ],
        ),
        (Self::OwnsARuntime, &["runtimes::store_can_be_opened_and_dropped_inside_a_runtime"]),
    ];

    /// Whether it takes another process to see it.
    pub(crate) fn is_between_processes(self) -> bool {
        matches!(
            self,
            Self::HasNoLockBetweenProcesses
                | Self::AcknowledgesBeforeItWrites
                | Self::InitsKindByKind
                | Self::ReportsNoChanges
        )
    }

    /// Whether an init writes one item after the other.
    pub(crate) fn is_of_inits_in_pieces(self) -> bool {
        matches!(
            self,
            Self::InitsInPieces
                | Self::PutsFlagsBeforeTheirPrerequisites
                | Self::PutsFlagsBeforeSegments
                | Self::PutsSegmentsBeforeThoseInTheirRules
                | Self::MarksFirst
                | Self::RemovesFirst
        )
    }
}
