//! `wadm` in a lattice where everything goes wrong, by seed: after it has been quiet, what runs is what was wanted, and
//! on the way nothing was stopped that should not have been.
//!
//! `TRELLIS_SIM_SEEDS` says how many seeds of each kind are run (20). A failure prints the kind and the seed;
//! `TRELLIS_SIM_SEED` runs that one alone and prints what happened.

mod answer;
mod ground;
mod host;
mod judge;
mod mutation;
mod script;
mod weather;
mod wishes;

use script::{Kind, Scenario};

/// How many seeds of each kind.
fn seeds() -> u64 {
    std::env::var("TRELLIS_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

fn check(kind: Kind) {
    let only = std::env::var("TRELLIS_SIM_SEED").ok().and_then(|text| text.parse().ok());
    let range = only.map_or(0..seeds(), |seed: u64| seed..seed + 1);
    for seed in range {
        let outcome = Scenario::new(kind, seed).run();
        if only.is_some() || !outcome.violations.is_empty() {
            eprintln!("{}", outcome.trace);
        }
        assert!(outcome.violations.is_empty(), "{kind:?}, seed {seed}: {:#?}", outcome.violations);
    }
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
fn a_wadm_may_be_killed_at_each_effect_of_a_deploy() {
    let effects = Scenario::new(Kind::Calm, 0).run().effects.min(40);
    for at in 0..effects {
        let outcome = Scenario { kill_after: Some(at), ..Scenario::new(Kind::Calm, at) }.run();
        assert!(outcome.violations.is_empty(), "killed at {at}: {:#?}\n{}", outcome.violations, outcome.trace);
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

#[test]
fn every_planted_fault_is_noticed() {
    let mut missed = Vec::new();
    for mutation in mutation::Mutation::ALL {
        let is_caught = (0..4).any(|seed| {
            let scenarios = Kind::ALL.map(|kind| Scenario { mutation: Some(mutation), ..Scenario::new(kind, seed) });
            scenarios.into_iter().any(|scenario| !scenario.run().violations.is_empty())
        });
        if !is_caught {
            missed.push(mutation);
        }
    }
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
