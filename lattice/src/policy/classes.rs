//! Sets of kinds of errors, as policies name them.

use std::fmt;

use crate::error::CallErrorKind;

/// The kinds that a policy may name, by their names. Others are the caller's own doing.
const NAMED: [(&str, CallErrorKind); 7] = [
    ("no-target", CallErrorKind::NoTarget),
    ("deadline", CallErrorKind::Deadline),
    ("overloaded", CallErrorKind::Overloaded),
    ("trap", CallErrorKind::Trap),
    ("unknown-outcome", CallErrorKind::UnknownOutcome),
    ("provider", CallErrorKind::Provider),
    ("breaker-open", CallErrorKind::BreakerOpen),
];

/// A set of kinds of errors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Classes(u16);

impl Classes {
    /// What counts against a target unless a policy says otherwise: all that a policy may name.
    pub const FAILURES: Self = Self::of(&[
        CallErrorKind::NoTarget,
        CallErrorKind::Deadline,
        CallErrorKind::Overloaded,
        CallErrorKind::Trap,
        CallErrorKind::UnknownOutcome,
        CallErrorKind::Provider,
        CallErrorKind::BreakerOpen,
    ]);

    /// After what a call is tried again unless a policy says otherwise: what had no effect, or was lost on the way.
    pub const RETRIED: Self = Self::of(&[
        CallErrorKind::NoTarget,
        CallErrorKind::Overloaded,
        CallErrorKind::BreakerOpen,
        CallErrorKind::UnknownOutcome,
    ]);

    /// The set of `kinds`.
    pub const fn of(kinds: &[CallErrorKind]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < kinds.len() {
            bits |= 1 << kinds[index] as u16;
            index += 1;
        }
        Self(bits)
    }

    /// Whether `kind` is one of them.
    pub const fn has(self, kind: CallErrorKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }

    /// The names of all that a policy may name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    /// The set that `text` names, with commas between; not an empty one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let kind = |name: &str| NAMED.iter().find(|(known, _)| *known == name.trim()).map(|(_, kind)| *kind);
        text.split(',').map(kind).collect::<Option<Vec<_>>>().map(|kinds| Self::of(&kinds))
    }
}

impl fmt::Debug for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = NAMED.iter().filter(|(_, kind)| self.has(*kind)).map(|(name, _)| *name);
        f.write_str(&named.collect::<Vec<_>>().join(","))
    }
}
