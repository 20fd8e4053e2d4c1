//! Planning: what to do so that the lattice becomes what was declared.
//!
//! Pure: the same intent, the same look and the same time give the same plan, whatever happened before.

mod action;
mod calls;
mod component;
mod desired;
mod draft;
mod established;
mod explain;
mod gone;
mod name;
mod outcome;
mod placement;
mod planner;
mod pool;
mod records;
mod rollout;
mod share;
mod shortage;
mod spare;
mod spread;
mod status;
mod thing;
mod world;

pub use self::action::{Action, ActionKey, Deed, ScaleActor, Stage, StartProvider};
pub use self::calls::{Call, End, calls};
pub use self::explain::explain;
pub use self::outcome::{
    AppStatus, Choice, Explanation, MOST_REJECTED, Plan, Problem, ScalerKind, ScalerStatus, State, Wait,
};
pub use self::planner::plan;
