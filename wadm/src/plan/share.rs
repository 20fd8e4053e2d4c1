//! Dividing a number of instances by weight: among groups, and among the hosts of a group.

/// Divides `total` by `weights`: each gets its share rounded down, and what is left goes to the largest remainders, the
/// earlier of two equal ones first. All weights 0 counts as all equal.
pub(super) fn largest_remainder(total: u32, weights: &[u64]) -> Vec<u32> {
    let slots = weights.iter().map(|&weight| Slot { weight, room: u32::MAX, current: 0, tie: 0 });
    let mut slots: Vec<Slot> = slots.collect();
    if weights.iter().all(|&weight| weight == 0) {
        slots.iter_mut().for_each(|slot| slot.weight = 1);
    }
    fill(total, &slots)
}

/// One host among those that share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Its share against the others'.
    pub(super) weight: u64,
    /// The most it can have.
    pub(super) room: u32,
    /// What it has now: of two with the same claim, the one that has more keeps it.
    pub(super) current: u32,
    /// Decides where nothing else does.
    pub(super) tie: u64,
}

/// Divides `total` among `slots` by weight, none above its room. What does not fit anywhere is left out.
pub(super) fn fill(total: u32, slots: &[Slot]) -> Vec<u32> {
    let mut shares = vec![0; slots.len()];
    let mut order: Vec<usize> = (0..slots.len()).filter(|&i| slots[i].weight > 0).collect();
    // Those that reach their room first, by room per weight, get just that; the others share the rest.
    order.sort_by(|&a, &b| {
        let [a_room, b_room] = [(a, b), (b, a)].map(|(x, y)| u128::from(slots[x].room) * u128::from(slots[y].weight));
        a_room.cmp(&b_room).then(a.cmp(&b))
    });
    let mut left = u64::from(total);
    let mut weight: u64 = order.iter().map(|&i| slots[i].weight).sum();
    let mut full = 0;
    for &i in &order {
        let slot = slots[i];
        if u128::from(slot.room) * u128::from(weight) > u128::from(left) * u128::from(slot.weight) {
            break;
        }
        shares[i] = slot.room;
        left -= u64::from(slot.room).min(left);
        weight -= slot.weight;
        full += 1;
    }
    proportional(left, weight, &order[full..], slots, &mut shares);
    shares
}

/// Rounds down, then gives out what is left one by one.
fn proportional(total: u64, weight: u64, order: &[usize], slots: &[Slot], shares: &mut [u32]) {
    let exact = |i: usize| u128::from(total) * u128::from(slots[i].weight);
    let mut left = total;
    for &i in order {
        let share = u64::try_from(exact(i) / u128::from(weight)).expect("a share is at most the total");
        shares[i] = u32::try_from(share).expect("a share is below the room of its host");
        left -= share;
    }
    let mut claims: Vec<usize> = order.to_vec();
    claims.sort_by(|&a, &b| {
        let remainder = |i: usize| exact(i) % u128::from(weight);
        let has_more = |i: usize| slots[i].current > shares[i];
        (remainder(b).cmp(&remainder(a)))
            .then(has_more(b).cmp(&has_more(a)))
            .then(slots[a].tie.cmp(&slots[b].tie))
            .then(a.cmp(&b))
    });
    for i in claims {
        if left == 0 {
            return;
        }
        if shares[i] < slots[i].room {
            shares[i] += 1;
            left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{Slot, fill, largest_remainder};

    fn slots(weights: &[u64], room: u32, current: &[u32]) -> Vec<Slot> {
        let pairs = weights.iter().zip(current);
        pairs.map(|(&weight, &current)| Slot { weight, room, current, tie: 0 }).collect()
    }

    #[test]
    fn a_total_is_divided_by_weight() {
        for (total, weights, expected) in [
            (10, vec![80, 20], vec![8, 2]),
            (3, vec![50, 50], vec![2, 1]),
            (7, vec![1, 1, 1], vec![3, 2, 2]),
            (5, vec![0, 0], vec![3, 2]),
            (5, vec![0, 9], vec![0, 5]),
            (0, vec![1], vec![0]),
        ] {
            assert_eq!(largest_remainder(total, &weights), expected, "{total} by {weights:?}");
        }
    }

    #[test]
    fn who_has_the_larger_share_keeps_it() {
        assert_eq!(fill(5, &slots(&[100; 3], 9, &[1, 2, 2])), [1, 2, 2]);
        assert_eq!(fill(5, &slots(&[100; 3], 9, &[0, 1, 2])), [2, 1, 2]);
    }

    #[test]
    fn what_does_not_fit_on_one_goes_to_the_others() {
        let mut uneven = slots(&[100; 3], 9, &[0; 3]);
        uneven[1].room = 1;
        assert_eq!(fill(9, &uneven), [4, 1, 4]);
        assert_eq!(fill(100, &uneven), [9, 1, 9]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_room_exceeded(
            total in 0_u32..10_000,
            rooms in proptest::collection::vec((0_u64..200, 0_u32..500, 0_u32..50, any::<u64>()), 0..20),
        ) {
            let slots: Vec<Slot> = rooms
                .iter()
                .map(|&(weight, room, current, tie)| Slot { weight, room, current, tie })
                .collect();
            let shares = fill(total, &slots);
            prop_assert!(shares.iter().zip(&slots).all(|(&share, slot)| share <= slot.room));
            let room: u64 = slots.iter().filter(|slot| slot.weight > 0).map(|slot| u64::from(slot.room)).sum();
            let given: u64 = shares.iter().map(|&share| u64::from(share)).sum();
            prop_assert_eq!(given, room.min(u64::from(total)));
        }
    }
}
