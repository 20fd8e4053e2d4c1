//! Planning: what to do so that the lattice becomes what was declared.
//!
//! Pure: the same intent, the same look and the same time give the same plan, whatever happened before.

mod action;
mod outcome;

pub use self::action::{Action, ActionKey, Deed, ScaleActor, Stage, StartProvider};
pub use self::outcome::{
    AppStatus, Choice, Explanation, MOST_REJECTED, Plan, Problem, ScalerKind, ScalerStatus, State, Wait,
};
