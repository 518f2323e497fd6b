//! The cases can fail: everything that evaluates, with one fault each, and the cases that have to find it.

use std::collections::HashSet;

use crate::fault::Fault::{self, *};
use crate::{all_flags, harness, segments};

/// Each fault, and the cases that are there to find it.
const MUTANTS: &[(Fault, &[&str])] = &[
    (
        IgnoresBigSegments,
        &[
            "harness::evaluation_included",
            "all_flags::each_flag_has_a_status_of_its_own",
            "all_flags::the_client_has_one_status_for_all",
            "all_flags::as_json_it_bootstraps_a_front_end",
        ],
    ),
    (LooksAtRegularLists, &["harness::evaluation_the_regular_include_list_is_ignored"]),
    (IgnoresRegularLists, &["segments::regular_lists_of_every_kind_decide_in_their_order"]),
    (LooksAtExcludedFirst, &["segments::regular_lists_of_every_kind_decide_in_their_order"]),
    (
        IgnoresRules,
        &[
            "harness::evaluation_not_in_the_list_but_a_rule_matches",
            "segments::a_big_segment_inside_the_rules_of_another",
            "segments::a_circle_of_segments_is_malformed",
        ],
    ),
    (
        IgnoresTheContextKind,
        &[
            "harness::evaluation_no_query_if_the_context_kind_does_not_match",
            "harness::caching_one_query_for_each_context_kind",
            "segments::the_kind_of_the_segment_decides_which_key_is_asked_for",
        ],
    ),
    (
        TakesNoGenerationForZero,
        &[
            "harness::errors_a_segment_without_a_generation_is_not_configured_and_makes_no_query",
            "segments::the_worst_status_counts",
        ],
    ),
    (IgnoresGenerations, &["segments::generation_zero_is_a_generation"]),
    (
        SeesNoNewVersion,
        &[
            "segments::a_new_generation_is_another_segment",
            "segments::a_segment_that_cannot_be_parsed_is_missing",
        ],
    ),
    (
        IgnoresPrerequisites,
        &[
            "segments::a_big_segment_of_a_prerequisite",
            "all_flags::details_are_there_for_tracked_flags_only_if_that_is_asked_for",
        ],
    ),
    (MixesContexts, &["harness::caching_each_context_has_a_membership_of_its_own"]),
    (TakesExcludedForIncluded, &["harness::evaluation_excluded"]),
    (TakesExcludedForUnknown, &["harness::evaluation_excluded_and_a_rule_matches"]),
    (ExclusionWins, &["segments::inclusion_beats_exclusion"]),
    (
        TakesUnknownForAnError,
        &["harness::evaluation_context_not_found", "harness::evaluation_membership_is_null"],
    ),
    (TakesEmptyForAnError, &["harness::evaluation_membership_is_empty"]),
    (
        TakesErrorsForUnknown,
        &[
            "harness::errors_a_query_that_fails_is_a_store_error",
            "segments::an_error_is_not_cached",
            "segments::an_error_is_worse_than_old_data",
        ],
    ),
    (
        AsksTwice,
        &[
            "harness::caching_one_query_for_many_tests_in_an_evaluation",
            "harness::caching_a_query_is_by_key_whatever_the_kind",
            "segments::a_query_that_fails_is_not_repeated_in_its_evaluation",
            "all_flags::a_store_that_fails_is_asked_once",
        ],
    ),
    (
        AsksWithoutNeed,
        &[
            "harness::evaluation_no_query_if_the_context_kind_does_not_match",
            "harness::errors_a_segment_without_a_generation_is_not_configured_and_makes_no_query",
            "segments::a_flag_without_big_segments_has_no_status",
        ],
    ),
    (CachesNothing, &["harness::caching_a_membership_is_cached_across_evaluations"]),
    (CachesForEver, &["harness::caching_a_membership_expires"]),
    (HasNoLimit, &["harness::caching_a_full_cache_drops_what_was_not_used_for_the_longest"]),
    (HidesTheStatus, &["harness::evaluation_included"]),
    (
        SaysHealthyForStale,
        &["harness::evaluation_included", "harness::polling_the_status_goes_from_healthy_to_stale_and_back"],
    ),
    (
        SaysStaleForStoreError,
        &[
            "harness::errors_a_query_that_fails_is_a_store_error",
            "harness::polling_the_status_goes_from_healthy_to_store_error_and_back",
        ],
    ),
    (
        SaysHealthyForNotConfigured,
        &["harness::errors_no_store_is_configured", "segments::the_worst_status_counts"],
    ),
    (
        PollsOnce,
        &[
            "harness::polling_at_a_short_interval",
            "harness::polling_the_status_goes_from_healthy_to_store_error_and_back",
            "harness::polling_the_status_goes_from_healthy_to_stale_and_back",
        ],
    ),
    (PollsWithEachEvaluation, &["harness::polling_at_a_long_interval_is_one_query_and_evaluations_add_none"]),
    (SaysAvailableForNotConfigured, &["harness::errors_no_store_is_configured"]),
];

fn cases() -> impl Iterator<Item = (String, fn())> {
    let modules =
        [("all_flags", all_flags::CASES), ("harness", harness::CASES), ("segments", segments::CASES)];
    modules.into_iter().flat_map(|(module, cases)| {
        cases.iter().map(move |(name, case)| (format!("{module}::{name}"), *case))
    })
}

/// What has a fault fails each of the cases beside it.
#[test]
fn every_fault_is_found() {
    let mut missed = Vec::new();
    for (fault, names) in MUTANTS {
        for name in *names {
            let (_, case) = cases().find(|(other, _)| other == name).expect(name);
            if fault.passes(case) {
                missed.push((fault, name));
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// No case is there that nothing can fail.
#[test]
fn every_case_has_a_mutant() {
    let found: HashSet<_> = MUTANTS.iter().flat_map(|(_, names)| *names).copied().collect();
    let missed: Vec<_> = cases().map(|(name, _)| name).filter(|name| !found.contains(&**name)).collect();
    assert!(missed.is_empty(), "no mutant fails these: {missed:?}");
}
