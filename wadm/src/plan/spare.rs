//! How much of what is ready may be taken away: of a component in all, and of each of its groups of hosts. What starts
//! in one group is no replacement for what stops in another.

use std::collections::BTreeMap;

use super::desired::Component;
use super::spread::Placement;
use super::thing::Thing;

/// A group by the number of its scaler and its own.
type GroupKey = (usize, usize);

/// What may be taken away; below 0 where there is too little already, so that not even what was begun is begun again.
pub(super) struct Spare {
    all: i64,
    by_group: BTreeMap<GroupKey, i64>,
}

impl Spare {
    /// What of `ready` is more than is wanted, or may be missing for a while.
    pub(super) fn new<'t>(
        component: &Component,
        placement: &Placement,
        ready: impl Iterator<Item = &'t Thing<'t>>,
    ) -> Self {
        let wanted: u32 = placement.wanted.iter().sum();
        let unavailable = component.rollout.unavailable.of(wanted);
        let mut all = 0_i64;
        let mut by_group: BTreeMap<GroupKey, i64> = BTreeMap::new();
        for thing in ready {
            all += i64::from(thing.sure);
            if let Some(group) = group_of(component, placement, thing) {
                *by_group.entry(group).or_default() += i64::from(thing.sure);
            }
        }
        let targets = placement.targets.values().map(|target| ((target.scaler, target.group), target.count));
        let mut needed: BTreeMap<GroupKey, u32> = placement.short.clone();
        for (group, count) in targets {
            *needed.entry(group).or_default() += count;
        }
        for (group, ready) in &mut by_group {
            let least = needed.get(group).copied().unwrap_or(0).saturating_sub(unavailable);
            *ready -= i64::from(least);
        }
        Self { all: all - i64::from(wanted.saturating_sub(unavailable)), by_group }
    }

    /// Takes `count` of what is ready of `thing` away; `false` when that is too much, and then nothing is taken.
    pub(super) fn take(
        &mut self,
        component: &Component,
        placement: &Placement,
        (thing, count): (&Thing<'_>, u32),
    ) -> bool {
        let count = i64::from(count);
        let group = group_of(component, placement, thing).and_then(|group| self.by_group.get_mut(&group));
        if self.all < count || group.as_ref().is_some_and(|spare| **spare < count) {
            return false;
        }
        self.all -= count;
        if let Some(spare) = group {
            *spare -= count;
        }
        true
    }
}

/// The group that something runs for; `None` when the manifest does not have it any more.
fn group_of(component: &Component, placement: &Placement, thing: &Thing<'_>) -> Option<GroupKey> {
    if let Some(target) = placement.targets.get(&thing.host) {
        return Some((target.scaler, target.group));
    }
    let scalers = component.scalers.iter().enumerate();
    let mut named = scalers.filter(|(_, scaler)| scaler.id == thing.owner.scaler).flat_map(|(number, scaler)| {
        scaler.groups.iter().enumerate().map(move |(index, group)| ((number, index), &group.name))
    });
    named.find(|(_, name)| **name == thing.owner.spread).map(|(group, _)| group)
}
