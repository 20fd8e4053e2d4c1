//! Hosts that are alike for placement, in the order in which they get what is new.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use trellis_lattice::message::command::StringMap;

use super::desired::{Group, Needs};
use super::placement::{Reject, closed};
use super::world::{HostIndex, World};
use crate::manifest::Taint;

/// Hosts that are alike for placement, the least busy first.
pub(super) struct Pool {
    /// In order.
    pub(super) members: Vec<HostIndex>,
    /// With the load at the time of writing: loads only grow, so that the top is right or too low.
    queue: BinaryHeap<Reverse<(u64, u64, HostIndex)>>,
    /// Needs for which no member has room: as loads only grow, none will have room for more.
    full_for: Option<Needs>,
}

/// What makes hosts alike.
type PoolKey = (Vec<(String, String)>, Vec<(String, Option<String>)>);

/// The pools that were asked for so far.
#[derive(Default)]
pub(super) struct Pools {
    pools: Vec<Pool>,
    by_key: HashMap<PoolKey, usize>,
}

impl Pools {
    /// The hosts that are open to a group of a component.
    pub(super) fn of(&mut self, world: &World<'_>, group: &Group, tolerated: &[Taint]) -> &mut Pool {
        let labels = group.requirements.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let taints = tolerated.iter().map(|taint| (taint.key.clone(), taint.value.clone())).collect();
        let pools = &mut self.pools;
        let index = *self.by_key.entry((labels, taints)).or_insert_with(|| {
            let open = |index: &HostIndex| closed(world.entry(*index).host, &StringMap::new(), tolerated).is_none();
            let members: Vec<HostIndex> = world.labelled(&group.requirements).into_iter().filter(open).collect();
            let entry = |&index: &HostIndex| Reverse((world.load(index), world.entry(index).tie, index));
            let queue = members.iter().map(entry).collect();
            pools.push(Pool { members, queue, full_for: None });
            pools.len() - 1
        });
        &mut self.pools[index]
    }
}

impl Pool {
    /// Up to `most` members that `refuse` does not refuse, the least busy first.
    pub(super) fn choose(
        &mut self,
        world: &World<'_>,
        needs: Needs,
        most: usize,
        mut refuse: impl FnMut(HostIndex) -> Option<Reject>,
    ) -> Vec<HostIndex> {
        let mut chosen = Vec::new();
        if most == 0 || self.full_for.is_some_and(|full| full.is_within(needs)) {
            return chosen;
        }
        let mut aside = Vec::new();
        let mut is_full = true;
        while chosen.len() < most {
            let Some(Reverse((load, tie, host))) = self.queue.pop() else { break };
            let current = world.load(host);
            if current > load {
                self.queue.push(Reverse((current, tie, host)));
                continue;
            }
            aside.push(Reverse((load, tie, host)));
            match refuse(host) {
                None => chosen.push(host),
                Some(reject) => is_full &= matches!(reject, Reject::Full { .. }),
            }
        }
        if chosen.is_empty() && is_full {
            self.full_for = Some(needs);
        }
        self.queue.extend(aside);
        chosen
    }
}
