//! Each check fails when the rule behind it is broken: the mechanism is replaced by its naive form, and some
//! schedule has to show it.

#![allow(clippy::print_stdout, reason = "shown when a test fails, or when asked for")]

use std::collections::HashSet;

use pushcast_simulation::{Check, Naive, run};

/// Schedules in which a naive form has to be found out: most are in the first ten, the rarest takes some thousands.
const SCHEDULES: u64 = 20_000;

fn is_found_out(naive: Naive) {
    for check in naive.breaks() {
        let breaks = |seed: u64| run(seed, Some(naive)).violations.into_iter().find(|v| v.check == *check);
        let found = (0..SCHEDULES).find_map(|seed| Some((seed, breaks(seed)?)));
        let Some((seed, violation)) = found else {
            panic!("{naive:?}: {check:?} holds in all of {SCHEDULES} schedules");
        };
        println!("{naive:?} breaks {check:?} in schedule {seed}: {}", violation.what);
    }
}

macro_rules! found_out {
    ($($name:ident: $naive:ident,)*) => {
        $(#[test]
        fn $name() {
            is_found_out(Naive::$naive);
        })*

        #[test]
        fn every_naive_form_has_its_test() {
            let tested = [$(Naive::$naive),*];
            assert!(Naive::ALL.iter().all(|naive| tested.contains(naive)));
        }
    };
}

found_out! {
    interest_that_comes_after_the_tables_loses_messages: LateInterest,
    a_position_of_what_was_received_is_ahead_of_what_was_placed: QuoteReceived,
    a_link_that_was_taken_over_and_still_delivers_repeats_messages: NoOwner,
    what_is_sent_again_is_delivered_again_without_the_duplicate_check: NoDuplicateCheck,
    a_task_for_each_message_mixes_their_order: TaskPerMessage,
    shards_that_take_the_links_frames_by_themselves_differ_in_order: ArrivalPerShard,
    as_of_over_the_linked_managers_covers_what_did_not_come: AsOfOfLinked,
    as_of_of_the_newest_manager_covers_what_did_not_come: AsOfOfNewest,
    as_of_without_the_maximum_goes_back: AsOfWithoutMaximum,
    as_of_stands_still_when_nobody_is_ever_gone: NobodyIsGone,
    acknowledgements_that_are_not_repeated_leave_a_hole: AcksNotRepeated,
    a_wake_that_the_old_link_keeps_leaves_the_new_one_asleep: WakeIsKept,
    acknowledging_on_receipt_counts_wrongly: AckOnReceipt,
    a_cursor_that_stays_at_a_new_link_loses_messages: CursorStays,
    an_answer_that_waits_for_an_unlinked_node_is_late: WaitForUnlinked,
    an_answer_that_knows_no_gap_names_too_few_as_pending: GapIsNotPending,
    a_position_of_what_was_sent_loses_what_was_not_read: PositionOnReceipt,
    a_client_that_does_not_say_what_it_has_gets_it_again: PositionIsNotSent,
    a_node_that_is_not_filled_and_says_complete_loses_messages: NothingIsFilled,
    a_fill_that_does_not_say_what_it_leaves_out_loses_messages: LeftOutIsUnsaid,
    holes_that_are_ignored_lose_messages: HolesAreIgnored,
    a_fresh_node_that_hears_of_no_manager_that_went_misses_its_messages: GoneIsUnsaid,
    retries_that_are_new_are_delivered_twice: RetriesAreNew,
    two_that_resume_from_one_ticket_both_stay_without_claims: ClaimsDropped,
    a_late_copy_undoes_a_newer_decision_if_arrival_decides: ArrivalDecides,
    who_is_not_moved_at_a_hole_stays_without_messages: NobodyIsMoved,
}

#[test]
fn every_check_is_seen_to_fail() {
    let broken: HashSet<Check> = Naive::ALL.iter().flat_map(|naive| naive.breaks()).copied().collect();
    // What is shown of a room is decided in the shard alone: nothing outside of it has a naive form.
    assert!(Check::ALL.iter().all(|check| broken.contains(check) || *check == Check::Permission));
}

/// The same seed tells the same story, so that a violation can be looked into.
#[test]
fn a_schedule_is_its_seed() {
    for seed in 0..20 {
        let (first, second) = (pushcast_simulation::retell(seed, None), run(seed, None));
        assert_eq!(format!("{:?}", first.counts), format!("{:?}", second.counts), "schedule {seed}");
        assert!(!first.story.is_empty());
    }
}
