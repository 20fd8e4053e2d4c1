//! Increments of numbers that are kept as decimal text, so that `get` shows what `increment` made.

use trellis_interfaces::keyvalue::Error;

/// What is added. The drafts of the contract differ in whether numbers have a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delta {
    /// Of numbers without a sign.
    Unsigned(u64),
    /// Of numbers with one.
    Signed(i64),
}

impl Delta {
    /// The sum with `current`; a key that is not there counts as 0.
    ///
    /// # Errors
    /// When the value is no number, or the sum has no room in 64 bits.
    pub(crate) fn add_to(self, key: &str, current: Option<&[u8]>) -> Result<i128, Error> {
        let text = match current {
            None => "0",
            Some(bytes) => std::str::from_utf8(bytes).map_err(|_| no_number(key))?,
        };
        let sum = match self {
            Self::Unsigned(delta) => {
                let current: u64 = text.parse().map_err(|_| no_number(key))?;
                current.checked_add(delta).map(i128::from)
            }
            Self::Signed(delta) => {
                let current: i64 = text.parse().map_err(|_| no_number(key))?;
                current.checked_add(delta).map(i128::from)
            }
        };
        sum.ok_or_else(|| no_room(key))
    }
}

pub(super) fn no_number(key: &str) -> Error {
    Error::Other(format!("the value of {key:?} is no number: increment needs decimal text"))
}

pub(super) fn no_room(key: &str) -> Error {
    Error::Other(format!("{key:?} has no room for that increment: numbers have 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::Delta;

    #[test]
    fn numbers_have_64_bits_and_a_sign_in_one_of_the_drafts() {
        let check = |delta: Delta, current: Option<&str>, expected: Option<i128>| {
            let sum = delta.add_to("k", current.map(str::as_bytes));
            assert_eq!(sum.as_ref().ok(), expected.as_ref(), "{delta:?} to {current:?}: {sum:?}");
        };
        check(Delta::Unsigned(7), None, Some(7));
        check(Delta::Unsigned(1), Some("41"), Some(42));
        check(Delta::Unsigned(1), Some("18446744073709551614"), Some(u64::MAX.into()));
        check(Delta::Unsigned(1), Some("18446744073709551615"), None);
        check(Delta::Unsigned(1), Some("-1"), None);
        check(Delta::Signed(-2), Some("1"), Some(-1));
        check(Delta::Signed(-1), Some("-9223372036854775808"), None);
        for text in ["", "ten", "1 ", "0x1"] {
            check(Delta::Signed(1), Some(text), None);
        }
    }
}
