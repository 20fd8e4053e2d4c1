//! What the manifests ask for, in the terms of the lattice: ids, groups of hosts, links, configs.

mod component;
mod configs;
mod links;
mod model;
mod resolve;

pub(super) use self::model::{
    Apart, App, Component, Desired, Gone, Group, Mode, Needs, RolloutRule, Scaler, WantedLink,
};
pub(super) use self::resolve::desired;
