//! Subjects and patterns of subjects: tokens that dots separate, with the wildcards `*` (one token) and `>` (all that
//! follow, one at least).

/// The longest subject or pattern.
const MAX_BYTES: usize = 512;

/// Where answers to requests go.
pub(crate) const INBOX: &str = "_INBOX";

/// First tokens of what brokers and the lattice speak among themselves: no actor has a part in it.
const RESERVED: &[&str] = &["wasmbus", "trellis", "wadm"];

/// Whether an actor may neither send to `subject` nor be sent what comes by it.
pub(crate) fn is_reserved(subject: &str) -> bool {
    let first = first_token(subject);
    first.starts_with('$') || RESERVED.contains(&first)
}

/// Whether `subject` is where one request's answer goes.
pub(crate) fn is_inbox(subject: &str) -> bool {
    first_token(subject) == INBOX
}

/// Refuses what no message can be sent to, with the reason.
pub(crate) fn check(subject: &str) -> Result<(), String> {
    let shown: String = subject.chars().take(100).collect();
    if is_reserved(subject) {
        return Err(format!("subject {shown:?} is reserved"));
    }
    match is_well_formed(subject) && subject.split('.').all(|token| !is_wildcard(token)) {
        true => Ok(()),
        false => Err(format!("subject {shown:?} is not valid: expected tokens without wildcards, e.g. \"orders.new\"")),
    }
}

fn first_token(subject: &str) -> &str {
    subject.split('.').next().unwrap_or_default()
}

fn is_wildcard(token: &str) -> bool {
    matches!(token, "*" | ">")
}

fn is_well_formed(text: &str) -> bool {
    let is_token = |token: &str| !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || c.is_control());
    text.len() <= MAX_BYTES && text.split('.').all(is_token)
}

/// Which subjects are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// The pattern that `text` is, if it is one and not of reserved subjects.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let ends_well = text.split('.').rev().skip(1).all(|token| token != ">");
        let is_ours = !is_reserved(text) && !is_inbox(text);
        (is_well_formed(text) && ends_well && is_ours).then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `subject` is meant.
    pub(crate) fn matches(&self, subject: &str) -> bool {
        self.captures(subject).is_some()
    }

    /// What stands in `subject` for each of the wildcards, if it is meant.
    pub(crate) fn captures<'s>(&self, subject: &'s str) -> Option<Vec<&'s str>> {
        let mut captured = Vec::new();
        let mut rest = Some(subject);
        for wanted in self.0.split('.') {
            let left = rest?;
            if wanted == ">" {
                captured.push(left);
                return Some(captured);
            }
            let (token, after) = left.split_once('.').map_or((left, None), |(token, after)| (token, Some(after)));
            match wanted {
                "*" => captured.push(token),
                _ if wanted == token => {}
                _ => return None,
            }
            rest = after;
        }
        rest.is_none().then_some(captured)
    }

    /// How many wildcards it has.
    pub(crate) fn wildcards(&self) -> usize {
        self.0.split('.').filter(|token| is_wildcard(token)).count()
    }

    /// Whether it means all that `other` means.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.0.split('.'), other.0.split('.'));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(">"), Some(_)) => return true,
                (Some(_), Some(">")) => return false,
                (Some(a), Some(b)) if a == b || a == "*" => {}
                _ => return false,
            }
        }
    }

    /// Whether there are subjects that both mean.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (mut left, mut right) = (self.0.split('.'), other.0.split('.'));
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, check};

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap_or_else(|| panic!("{text} is a pattern"))
    }

    #[test]
    fn patterns_mean_what_they_mean_in_nats() {
        let captures = |text: &str, subject: &str, expected: Option<&[&str]>| {
            assert_eq!(pattern(text).captures(subject).as_deref(), expected, "{text} for {subject}");
        };
        captures("a.b", "a.b", Some(&[]));
        captures("a.b", "a.b.c", None);
        captures("a.b", "a", None);
        captures("a.*.c", "a.b.c", Some(&["b"]));
        captures("a.*", "a.b.c", None);
        captures("*.b.>", "a.b.c.d", Some(&["a", "c.d"]));
        captures("a.>", "a", None);
        captures(">", "a.b", Some(&["a.b"]));
    }

    #[test]
    fn patterns_that_share_subjects_overlap() {
        let check = |a: &str, b: &str, expected: bool| {
            assert_eq!(pattern(a).overlaps(&pattern(b)), expected, "{a} {b}");
            assert_eq!(pattern(b).overlaps(&pattern(a)), expected, "{b} {a}");
        };
        check("a.b", "a.b", true);
        check("a.*", "a.b", true);
        check("a.*.c", "a.b.*", true);
        check("a.>", "a.b.c", true);
        check(">", "a", true);
        check("a.>", "a", false);
        check("a.*", "b.*", false);
        check("a.*", "a.b.c", false);
    }

    #[test]
    fn a_pattern_covers_those_that_mean_less() {
        let check = |a: &str, b: &str, expected: bool| {
            assert_eq!(pattern(a).covers(&pattern(b)), expected, "{a} {b}");
        };
        check("a.>", "a.*.c", true);
        check("a.>", "a.b.>", true);
        check("a.*", "a.b", true);
        check("a.*", "a.*", true);
        check("a.*", "a.>", false);
        check("a.b", "a.*", false);
        check("a.*.c", "a.*", false);
        check("a.>", "a", false);
    }

    #[test]
    fn what_is_no_subject_of_an_actor_is_refused() {
        for bad in
            ["", ".", "a.", ".a", "a..b", "a b", "a\r\nPUB x", "a.\0", "$JS.API.INFO", "wasmbus.ctl.v1", "wadm.api"]
        {
            assert!(check(bad).is_err(), "{bad:?}");
            assert!(Pattern::parse(bad).is_none(), "{bad:?}");
        }
        for bad in ["a.*", ">", "*"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"a".repeat(513)).is_err());
        assert!(check("_INBOX.x").is_ok() && Pattern::parse("_INBOX.>").is_none());
        assert!(Pattern::parse("a.>.b").is_none());
        assert!(check("a*.b").is_ok() && Pattern::parse("Ünï.*").is_some());
    }
}
