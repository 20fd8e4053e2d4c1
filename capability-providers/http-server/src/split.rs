//! Which of several links with the same host and path a request takes: each its share, evenly spread.

use std::sync::{Mutex, PoisonError};

/// What requests for one pattern are divided among.
#[derive(Debug)]
pub(crate) struct Split<T> {
    /// At least one, each with its weight above zero.
    members: Vec<(T, u32)>,
    /// What each member is owed. Locked for one pass over a few members, and only when there is more than one: all of
    /// them have to change together, or two requests at once would take the same turn.
    owed: Mutex<Vec<i64>>,
}

impl<T: PartialEq> Split<T> {
    /// Divides among `members`; those with weight 0 get nothing. `None` when that leaves nobody.
    pub(crate) fn new(members: impl IntoIterator<Item = (T, u32)>) -> Option<Self> {
        let members: Vec<(T, u32)> = members.into_iter().filter(|(_, weight)| *weight > 0).collect();
        let owed = Mutex::new(vec![0; members.len()]);
        (!members.is_empty()).then_some(Self { members, owed })
    }

    /// All among whom it divides.
    pub(crate) fn members(&self) -> impl Iterator<Item = &T> {
        self.members.iter().map(|(member, _)| member)
    }

    /// Whether it divides the same as `other`.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.members == other.members
    }

    /// Who takes the next request. Of each run of as many requests as the weights come to, each member takes exactly
    /// its weight, and they take turns as evenly as they can (smooth weighted round robin, as in nginx).
    pub(crate) fn next(&self) -> &T {
        if let [(only, _)] = self.members.as_slice() {
            return only;
        }
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = 0;
        let mut chosen = 0;
        for (at, (_, weight)) in self.members.iter().enumerate() {
            owed[at] += i64::from(*weight);
            total += i64::from(*weight);
            if owed[at] > owed[chosen] {
                chosen = at;
            }
        }
        owed[chosen] -= total;
        &self.members[chosen].0
    }
}

#[cfg(test)]
mod tests {
    use super::Split;

    fn check(members: &[(&'static str, u32)], requests: usize, expected: &str) {
        let split = Split::new(members.iter().copied()).expect("somebody has a weight");
        let taken: Vec<&str> = (0..requests).map(|_| *split.next()).collect();
        assert_eq!(taken.concat(), expected, "{members:?}");
    }

    #[test]
    fn each_takes_its_weight_and_they_alternate() {
        check(&[("a", 1)], 3, "aaa");
        check(&[("a", 100), ("b", 100)], 6, "ababab");
        check(&[("a", 5), ("b", 1), ("c", 1)], 7, "aabacaa");
        check(&[("a", 90), ("b", 10)], 20, "aaaaabaaaaaaaaabaaaa");
        check(&[("a", 0), ("b", 10)], 3, "bbb");
        assert!(Split::new([("a", 0)]).is_none());
    }

    #[test]
    fn the_largest_weights_are_divided_too() {
        let split = Split::new((0..1_000).map(|n| (n, 1_000_000))).expect("weights");
        let taken: std::collections::BTreeSet<i32> = (0..1_000).map(|_| *split.next()).collect();
        assert_eq!(taken.len(), 1_000);
    }
}
