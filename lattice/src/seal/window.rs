//! The replay window: which of the last sequence numbers were seen already.

/// How far behind the newest a number may come and still be told apart from a replay.
pub const WINDOW: u64 = 16 * 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// Remembers the last [`WINDOW`] sequence numbers in two kibibytes.
#[derive(Debug, Clone)]
pub struct Window {
    next: u64,
    seen: Box<[u64; WORDS]>,
}

impl Default for Window {
    fn default() -> Self {
        Self { next: 0, seen: Box::new([0; WORDS]) }
    }
}

impl Window {
    /// Takes `sequence`; false if it was taken before, or is so old that nobody knows.
    pub fn take(&mut self, sequence: u64) -> bool {
        if sequence == u64::MAX || sequence + WINDOW < self.next {
            return false;
        }
        if sequence >= self.next {
            self.forget(sequence);
            self.next = sequence + 1;
        }
        let (word, bit) = place(sequence);
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_new
    }

    /// Clears the places of the numbers from `next` to `sequence`, which stood for older ones.
    fn forget(&mut self, sequence: u64) {
        if sequence - self.next >= WINDOW {
            self.seen.fill(0);
            return;
        }
        for skipped in self.next..=sequence {
            let (word, bit) = place(skipped);
            self.seen[word] &= !bit;
        }
    }
}

fn place(sequence: u64) -> (usize, u64) {
    let index = sequence % WINDOW;
    (usize::try_from(index / 64).expect("a window is small"), 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::{Strategy, any, proptest};

    use super::{WINDOW, Window};

    proptest! {
        #[test]
        fn no_number_is_taken_twice(numbers in proptest::collection::vec(any::<u16>().prop_map(|n| u64::from(n) * 3), 1..400)) {
            let mut window = Window::default();
            let mut taken = HashSet::new();
            let mut newest = 0;
            for number in numbers {
                newest = newest.max(number);
                let accepted = window.take(number);
                let is_old = number + WINDOW < newest + 1;
                assert_eq!(accepted, !is_old && !taken.contains(&number), "{number} after {newest}");
                if accepted {
                    taken.insert(number);
                }
            }
        }
    }

    #[test]
    fn a_jump_clears_what_it_leaves_behind() {
        let mut window = Window::default();
        assert!(window.take(5));
        assert!(window.take(5 + 10 * WINDOW));
        assert!(!window.take(5));
        assert!(window.take(4 + 10 * WINDOW));
        assert!(!window.take(u64::MAX));
    }
}
