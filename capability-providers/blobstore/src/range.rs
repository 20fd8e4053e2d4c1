//! The piece of an object that is asked for.

use std::ops::Range;

use crate::failure::{Failure, Result};

/// From the first byte to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    start: u64,
    end: u64,
}

impl Wanted {
    /// Checks it.
    pub(crate) fn new(start: u64, end: u64) -> Result<Self> {
        if start > end {
            return Err(Failure::Refused(format!("the piece ends at {end}, before it starts at {start}")));
        }
        Ok(Self { start, end })
    }

    /// The first byte.
    pub(crate) fn start(self) -> u64 {
        self.start
    }

    /// What there is of it in an object of `size` bytes: nothing beyond its end.
    pub(crate) fn of(self, size: u64) -> Range<u64> {
        self.start.min(size)..self.end.saturating_add(1).min(size)
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn a_piece_is_cut_to_the_object() {
        let check =
            |start, end, size, expected| assert_eq!(Wanted::new(start, end).expect("in order").of(size), expected);
        check(0, 9, 10, 0..10);
        check(0, u64::MAX, 10, 0..10);
        check(3, 3, 10, 3..4);
        check(9, 12, 10, 9..10);
        check(10, 12, 10, 10..10);
        check(50, 60, 10, 10..10);
        check(0, 0, 0, 0..0);
        assert!(Wanted::new(2, 1).is_err());
    }
}
