//! `wadm` in a lattice where everything goes wrong, by seed: after it has been quiet, what runs is what was wanted, and
//! on the way nothing was stopped that should not have been.
//!
//! The ordinary run takes 20 seeds of each kind, and those of [`named`], which found something once; with
//! `TRELLIS_SIM_SEEDS=1000`, as `cargo xtask test --nightly` has it, that many. A failure prints the kind and the
//! seed; `TRELLIS_SIM_SEED=24` with the name of the kind's test runs that one alone and prints what happened.

mod answer;
mod ground;
mod host;
mod judge;
mod mutation;
mod named;
mod script;
mod weather;
mod wishes;

use mutation::Mutation;
use script::{Kind, Scenario};

/// How many seeds of each kind.
fn seeds() -> u64 {
    std::env::var("TRELLIS_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// The seeds of a run.
fn known(kind: Kind) -> Vec<u64> {
    named::of(kind).chain((0..seeds()).filter(|&seed| !named::is_open(kind, seed))).collect()
}

/// Runs what is asked for of a kind; all that fails is told, and of the first what happened.
fn check(kind: Kind) {
    let only = std::env::var("TRELLIS_SIM_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = only.map_or_else(|| known(kind), |seed| vec![seed]);
    let mut failures = Vec::new();
    for seed in seeds {
        let outcome = Scenario::new(kind, seed).run();
        let is_well = outcome.violations.is_empty();
        if only.is_some() || (failures.is_empty() && !is_well) {
            eprintln!("{}", outcome.trace);
        }
        if !is_well {
            failures.push(format!("{kind:?}, seed {seed}: {:#?}", outcome.violations));
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_calm_lattice_becomes_what_is_wanted() {
    check(Kind::Calm);
}

#[test]
fn hosts_that_come_and_go_lose_nothing_that_is_wanted() {
    check(Kind::ComeAndGo);
}

#[test]
fn hosts_that_hang_are_replaced_and_taken_back() {
    check(Kind::Hang);
}

#[test]
fn messages_that_are_lost_doubled_or_late_change_nothing_in_the_end() {
    check(Kind::Loss);
}

#[test]
fn hosts_that_are_cut_off_are_left_alone() {
    check(Kind::Cut);
}

#[test]
fn a_wadm_may_be_killed_at_any_effect() {
    check(Kind::Killed);
}

#[test]
fn two_wadms_take_turns() {
    check(Kind::Two);
}

#[test]
fn a_store_that_answers_from_the_past_destroys_nothing() {
    check(Kind::Past);
}

#[test]
fn an_empty_store_and_an_empty_intent_destroy_nothing() {
    check(Kind::Empty);
}

#[test]
fn everything_at_once_ends_well() {
    check(Kind::Everything);
}

#[test]
fn providers_are_upgraded_while_everything_happens() {
    check(Kind::Upgrade);
}

#[test]
fn a_wadm_may_be_killed_at_each_effect_of_a_deploy() {
    let effects = Scenario::new(Kind::Calm, 0).run().effects.min(40);
    for at in 0..effects {
        let outcome = Scenario { kill_after: Some(at), ..Scenario::new(Kind::Calm, at) }.run();
        assert!(outcome.violations.is_empty(), "killed at {at}: {:#?}\n{}", outcome.violations, outcome.trace);
    }
}

#[test]
fn who_takes_over_starts_nothing_that_hosts_were_told_to_start_before_they_were_cut_off() {
    for effects in 0..40 {
        let outcome = Scenario::new(Kind::Two, effects).take_over(effects);
        assert!(outcome.violations.is_empty(), "killed at {effects}: {:#?}\n{}", outcome.violations, outcome.trace);
    }
}

#[test]
fn writing_nothing_down_is_noticed() {
    let forgetful = |seed| Scenario { mutation: Some(Mutation::WriteNothingDown), ..Scenario::new(Kind::Two, seed) };
    let is_noticed = |effects| !forgetful(effects).take_over(effects).violations.is_empty();
    assert!((0..40).any(is_noticed), "who takes over needs nothing that was written down");
}

#[test]
fn hosts_that_are_lost_one_by_one_are_replaced_soon_each_time() {
    for seed in 0..4 {
        let outcome = Scenario::new(Kind::Calm, seed).lose_one_by_one();
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}\n{}", outcome.violations, outcome.trace);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for kind in Kind::ALL {
        let [one, other] = [(); 2].map(|()| Scenario::new(kind, 7).run().trace);
        let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert!(one == other, "{kind:?}: {differs:?}");
    }
}

/// A test for each planted fault: some scenario of the first few seeds, or of those that found something, has to notice
/// it.
macro_rules! noticed {
    ($($name:ident: $mutation:ident,)*) => {
        mod planted {
            $(
                #[test]
                fn $name() {
                    super::notice(super::Mutation::$mutation);
                }
            )*
        }
    };
}

fn notice(mutation: Mutation) {
    let first = (0..6).flat_map(|seed| Kind::ALL.map(|kind| Scenario::new(kind, seed)));
    let named = Kind::ALL.into_iter().flat_map(|kind| named::of(kind).map(move |seed| Scenario::new(kind, seed)));
    let mut scenarios = first.chain(named).map(|scenario| Scenario { mutation: Some(mutation), ..scenario });
    assert!(scenarios.any(|scenario| !scenario.run().violations.is_empty()), "{mutation:?} is not noticed");
}

noticed! {
    skipping_the_fence_is_noticed: SkipTheFence,
    letting_commands_count_for_ever_is_noticed: LetThemCountForEver,
    keeping_the_token_is_noticed: KeepTheToken,
    writing_blindly_is_noticed: WriteBlindly,
    waiting_for_nobody_is_noticed: WaitForNobody,
    forgetting_the_generation_is_noticed: ForgetTheGeneration,
    forgetting_the_owner_is_noticed: ForgetTheOwner,
    one_instance_too_many_is_noticed: OneTooMany,
    keeping_no_ledger_is_noticed: KeepNoLedger,
    treating_empty_as_desired_is_noticed: TreatEmptyAsDesired,
    acting_on_an_unsettled_view_is_noticed: ActOnAnUnsettledView,
    ignoring_ownership_is_noticed: IgnoreOwnership,
    sending_without_back_off_is_noticed: NoBackOff,
    ignoring_silence_is_noticed: IgnoreSilence,
    believing_any_silence_is_noticed: BelieveAnySilence,
    never_stopping_is_noticed: NeverStop,
    never_erasing_is_noticed: NeverErase,
    forgetting_links_is_noticed: ForgetLinks,
    forgetting_configs_is_noticed: ForgetConfigs,
    starting_twice_is_noticed: StartTwice,
    ignoring_labels_is_noticed: IgnoreLabels,
    taking_the_unasked_for_empty_is_noticed: TakeUnaskedForEmpty,
    planning_once_is_noticed: PlanOnce,
    forgetting_tombstones_is_noticed: ForgetTombstones,
    never_updating_is_noticed: NeverUpdate,
    relying_on_what_leaves_is_noticed: RelyOnWhatLeaves,
    forgetting_what_comes_is_noticed: ForgetWhatComes,
    never_upgrading_is_noticed: NeverUpgrade,
    stopping_to_upgrade_is_noticed: StopToUpgrade,
}
