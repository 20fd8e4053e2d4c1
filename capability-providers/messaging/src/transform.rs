//! Transforms: what is sent to one subject is sent to another as well, without code.

use crate::subject::{Pattern, check};

/// `orders.*.created -> audit.$1`: `$1` is what stood for the first wildcard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transform {
    /// What is taken.
    pub(crate) from: Pattern,
    to: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Token(String),
    /// What stood for the wildcard of this number, from 0.
    Captured(usize),
}

impl Transform {
    /// The transform that `text` is, if it is one.
    fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once("->")?;
        let from = Pattern::parse(from.trim())?;
        let to: Vec<Piece> =
            to.trim().split('.').map(|token| Piece::parse(token, from.wildcards())).collect::<Option<_>>()?;
        let transform = Self { from, to };
        check(&transform.fill(|_| "x")).ok()?;
        Some(transform)
    }

    /// Where what comes by `subject` goes.
    pub(crate) fn apply(&self, subject: &str) -> Option<String> {
        let captured = self.from.captures(subject)?;
        Some(self.fill(|number| captured[number]))
    }

    fn fill<'a>(&'a self, capture: impl Fn(usize) -> &'a str) -> String {
        let token = |piece: &'a Piece| match piece {
            Piece::Token(token) => token.as_str(),
            Piece::Captured(number) => capture(*number),
        };
        self.to.iter().map(token).collect::<Vec<_>>().join(".")
    }

    /// All subjects that it may send to, and more: what was captured may be several tokens.
    fn target(&self) -> Option<Pattern> {
        let fixed = self.to.iter().take_while(|piece| matches!(piece, Piece::Token(_))).count();
        if fixed == self.to.len() {
            return Pattern::parse(&self.fill(|_| ""));
        }
        let head = self.to[..fixed].iter().map(|piece| match piece {
            Piece::Token(token) => token.as_str(),
            Piece::Captured(_) => "*",
        });
        Pattern::parse(&head.chain([">"]).collect::<Vec<_>>().join("."))
    }
}

impl Piece {
    fn parse(token: &str, wildcards: usize) -> Option<Self> {
        match token.strip_prefix('$') {
            None => Some(Self::Token(token.to_owned())),
            Some(number) => {
                let number: usize = number.parse().ok()?;
                (1..=wildcards).contains(&number).then(|| Self::Captured(number - 1))
            }
        }
    }
}

/// The transforms that `text` lists, separated by commas or lines, if they are and none feeds another or itself:
/// messages would go round for ever.
pub(crate) fn parse_list(text: &str) -> Option<Vec<Transform>> {
    let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
    let transforms: Vec<Transform> = parts.map(Transform::parse).collect::<Option<_>>()?;
    let is_fed =
        |from: &Pattern| transforms.iter().any(|other| other.target().is_none_or(|target| target.overlaps(from)));
    let is_sound = !transforms.is_empty() && !transforms.iter().any(|transform| is_fed(&transform.from));
    is_sound.then_some(transforms)
}

#[cfg(test)]
mod tests {
    use super::parse_list;

    #[test]
    fn a_subject_becomes_another() {
        let check = |text: &str, subject: &str, expected: Option<&str>| {
            let transforms = parse_list(text).unwrap_or_else(|| panic!("{text} is a list of transforms"));
            assert_eq!(transforms[0].apply(subject).as_deref(), expected, "{text}");
        };
        check("orders.*.created -> audit.$1", "orders.7.created", Some("audit.7"));
        check("orders.*.created -> audit.$1", "orders.7.paid", None);
        check("a.*.*->b.$2.$1", "a.x.y", Some("b.y.x"));
        check("a.> -> b.all.$1", "a.x.y", Some("b.all.x.y"));
        check("a -> b", "a", Some("b"));
        assert_eq!(parse_list("a.> -> b.$1,\n c -> d\n").map(|list| list.len()), Some(2));
    }

    #[test]
    fn what_is_none_or_would_go_round_is_refused() {
        for bad in [
            "",
            "a",
            "a -> ",
            "-> b",
            "a.* -> b.$2",
            "a.* -> b.*",
            "a -> wasmbus.ctl.x",
            "a.> -> a.b.$1",
            "a.> -> $1",
            "a -> b, b -> c",
            "a -> b.c, b.* -> a",
        ] {
            assert_eq!(parse_list(bad), None, "{bad:?}");
        }
    }
}
