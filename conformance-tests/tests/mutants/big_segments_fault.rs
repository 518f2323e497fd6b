/// What can be wrong with a Big Segments store, or with the wrapper above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BigSegmentsFault {
    // Reading
    CutsTimesToSeconds,
    TakesNoTimeForZero,
    TakesTheVersionForATime,
    UnknownIsAnError,
    TakesExcludedForIncluded,
    ExclusionWins,
    IgnoresGenerations,
    LowercasesHashes,
    StopsAtAThousand,
    IgnoresThePrefix,
    RunsPrefixAndHashTogether,
    HandlesAreIslands,
    // Patches
    ForgetsVersions,
    AppliesOutOfOrder,
    RefusesTheSameVersion,
    RemovesNobody,
    RemovesFromBothLists,
    RemovesFromAllSegments,
    SkipsEmptyPatches,
    StopsAtAHundred,
    PatchesChangeTheTime,
    ChecksThenActs,
    PatchesInPieces,
    // Errors
    UnreachableIsEmpty,
    UnreadableIsUnknown,
    UnreadableTimeIsNone,
    ShowsThePassword,
    StopEndsEverybody,
    // Runtimes
    BlocksOnARuntime,
    // Cache
    HashesTwice,
    CachesNothing,
    CachesOnlyWhatIsKnown,
    MixesContexts,
    NothingExpires,
    HasNoLimit,
    TakesErrorsForUnknown,
    AsksForItself,
    LocksOverQueries,
    ClearsNothing,
    IsNaive,
    PanicsWithTheStore,
    StopsNothing,
    // Status
    NeverSaysStale,
    AlwaysSaysStale,
    TakesFailedPollsForStale,
    PollsTwice,
    PollsWithEveryQuery,
    NeverPollsAgain,
    FailedQueriesDoNotShow,
    EveryFailedQueryIsAnOutage,
    PollsOn,
    StartsAPollerEachTime,
    DiesOfAPanic,
    LeaksTheStore,
    // Listeners
    TellsTwice,
    TellsNobody,
    TellsUnderALock,
    TellsTheDropped,
}

impl BigSegmentsFault {
    /// Each fault, and the cases of `big_segments` that are there to find it.
    pub(crate) const ALL: &[(Self, &[&str])] = &[
        // Reading
        (Self::CutsTimesToSeconds, &["reading::time_comes_back"]),
        (Self::TakesNoTimeForZero, &["reading::database_that_was_never_synchronized_has_no_time"]),
        (Self::TakesTheVersionForATime, &["reading::version_is_no_time"]),
        (Self::UnknownIsAnError, &["reading::unknown_context_has_no_membership"]),
        (Self::TakesExcludedForIncluded, &["reading::included_and_excluded_are_told_apart"]),
        (Self::ExclusionWins, &["reading::inclusion_beats_exclusion"]),
        (Self::IgnoresGenerations, &["reading::generations_are_different_segments"]),
        (Self::LowercasesHashes, &["reading::hashes_are_opaque"]),
        (Self::StopsAtAThousand, &["reading::ten_thousand_segments_are_all_there"]),
        (Self::IgnoresThePrefix, &["reading::prefixes_share_nothing"]),
        (Self::RunsPrefixAndHashTogether, &["reading::one_prefix_may_begin_with_another"]),
        (Self::HandlesAreIslands, &["reading::another_handle_reads_what_one_wrote"]),
        // Patches
        (Self::ForgetsVersions, &["patches::lead_from_one_version_to_the_next"]),
        (Self::AppliesOutOfOrder, &["patches::out_of_order_changes_nothing"]),
        (Self::RefusesTheSameVersion, &["patches::may_stay_at_a_version"]),
        (Self::RemovesNobody, &["patches::move_a_context_from_one_list_to_the_other"]),
        (Self::RemovesFromBothLists, &["patches::lists_of_a_segment_are_apart"]),
        (Self::RemovesFromAllSegments, &["patches::leave_other_segments_alone"]),
        (Self::SkipsEmptyPatches, &["patches::without_contexts_lead_to_their_version"]),
        (Self::StopsAtAHundred, &["patches::of_many_contexts_are_written_whole"]),
        (Self::PatchesChangeTheTime, &["patches::leave_the_time_alone"]),
        (Self::ChecksThenActs, &["patches::of_one_version_are_applied_once"]),
        (Self::PatchesInPieces, &["patches::are_never_seen_half_done"]),
        // Errors
        (Self::UnreachableIsEmpty, &["errors::unreachable_database_is_an_error_everywhere"]),
        (Self::UnreadableIsUnknown, &["errors::unreadable_membership_is_an_error_that_spoils_no_other"]),
        (Self::UnreadableTimeIsNone, &["errors::unreadable_time_is_an_error_that_spoils_no_membership"]),
        (Self::ShowsThePassword, &["errors::secrets_are_never_shown"]),
        (Self::StopEndsEverybody, &["errors::stop_concerns_nobody_else"]),
        // Runtimes
        (
            Self::BlocksOnARuntime,
            &[
                "runtimes::calls_work_inside_a_multi_thread_runtime",
                "runtimes::calls_work_inside_a_current_thread_runtime",
            ],
        ),
        // Cache
        (Self::HashesTwice, &["cached::store_is_asked_for_the_hash"]),
        (Self::CachesNothing, &["cached::known_context_is_asked_for_once"]),
        (Self::CachesOnlyWhatIsKnown, &["cached::unknown_context_is_asked_for_once"]),
        (Self::MixesContexts, &["cached::contexts_are_asked_for_one_by_one"]),
        (Self::NothingExpires, &["cached::what_is_too_old_is_asked_for_again"]),
        (
            Self::HasNoLimit,
            &[
                "cached::context_that_was_not_used_the_longest_makes_room",
                "cached::so_many_contexts_are_cached_and_no_more",
            ],
        ),
        (Self::TakesErrorsForUnknown, &["cached::error_is_told_and_not_cached"]),
        (
            Self::AsksForItself,
            &["cached::many_who_ask_for_a_context_make_one_query", "cached::they_share_an_error"],
        ),
        (Self::LocksOverQueries, &["cached::slow_context_delays_no_other", "cached::hit_waits_for_nobody"]),
        (Self::ClearsNothing, &["cached::cleared_cache_is_filled_anew"]),
        (
            Self::IsNaive,
            &[
                "cached::clearing_beats_a_query_that_began_before_it",
                "cached::so_many_contexts_are_cached_and_no_more",
            ],
        ),
        (Self::PanicsWithTheStore, &["cached::store_that_panics_is_an_error"]),
        (
            Self::StopsNothing,
            &["cached::stopped_wrapper_asks_nobody", "status::stopped_wrapper_is_unavailable"],
        ),
        // Status
        (
            Self::NeverSaysStale,
            &[
                "status::old_data_is_stale",
                "status::data_that_was_never_synchronized_is_stale",
                "status::data_becomes_stale_by_itself",
            ],
        ),
        (Self::AlwaysSaysStale, &["status::data_that_is_up_to_date_is_healthy"]),
        (Self::TakesFailedPollsForStale, &["status::failing_store_is_unavailable"]),
        (Self::PollsTwice, &["status::first_poll_is_one_and_is_waited_for"]),
        (Self::PollsWithEveryQuery, &["status::queries_add_no_polls"]),
        (
            Self::NeverPollsAgain,
            &["status::changes_are_detected", "status::poll_interval_is_at_most_the_stale_limit"],
        ),
        (Self::FailedQueriesDoNotShow, &["status::failed_query_is_an_outage_until_the_next_poll"]),
        (Self::EveryFailedQueryIsAnOutage, &["status::failure_of_one_query_alone_is_no_outage"]),
        (Self::PollsOn, &["status::stays_as_it_is_while_polling_is_off"]),
        (Self::StartsAPollerEachTime, &["status::there_is_one_poller"]),
        (Self::DiesOfAPanic, &["status::store_that_panics_is_polled_again"]),
        (
            Self::LeaksTheStore,
            &["status::polling_ends_with_the_wrapper", "cached::stopped_wrapper_asks_nobody"],
        ),
        // Listeners
        (
            Self::TellsTwice,
            &[
                "listeners::hear_changes_in_order_on_another_thread",
                "listeners::hear_nothing_where_nothing_changes",
            ],
        ),
        (Self::TellsNobody, &["listeners::hear_of_a_first_poll_that_went_wrong"]),
        (
            Self::TellsUnderALock,
            &["listeners::panicking_one_stops_nobody", "listeners::may_call_the_wrapper"],
        ),
        (Self::TellsTheDropped, &["listeners::hear_nothing_after_they_are_dropped"]),
    ];
}
