//! Who is subscribed to what: literal subjects in a hash map, patterns in a tree by token.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Delivery, Sink};
use crate::subject::{QueueGroup, Subject};
use crate::transport::is_pattern;

/// One subscription.
pub(super) struct Member {
    pub(super) id: u64,
    /// The participant that subscribed.
    pub(super) owner: u64,
    /// The name of its endpoint.
    pub(super) endpoint: Arc<str>,
    pub(super) subject: Subject,
    pub(super) group: Option<QueueGroup>,
    pub(super) sink: Arc<dyn Sink>,
}

impl Member {
    pub(super) fn address(&self) -> Address {
        Address { id: self.id, subject: self.subject.clone(), group: self.group.clone() }
    }
}

/// Where a [`Member`] is found again.
pub(super) struct Address {
    id: u64,
    subject: Subject,
    group: Option<QueueGroup>,
}

/// All subscriptions of a bus.
#[derive(Default)]
pub(super) struct Routes {
    literals: HashMap<Subject, Interest>,
    patterns: Node,
}

impl Routes {
    pub(super) fn insert(&mut self, member: Member) {
        if is_pattern(&member.subject) {
            let subject = member.subject.clone();
            self.patterns.insert(subject.tokens(), member);
        } else {
            self.literals.entry(member.subject.clone()).or_default().insert(member);
        }
    }

    pub(super) fn remove(&mut self, address: &Address) {
        if is_pattern(&address.subject) {
            self.patterns.remove(address.subject.tokens(), address);
        } else if let Some(interest) = self.literals.get_mut(&address.subject) {
            interest.remove(address);
            if interest.is_empty() {
                self.literals.remove(&address.subject);
            }
        }
    }

    /// Calls `visit` for each member that a message on `subject` is for. Of a queue group the member that `draw` picks
    /// out of so many is visited, and the next ones only as long as nobody has taken it; a group is one even over
    /// several patterns.
    pub(super) fn visit(
        &self,
        subject: &Subject,
        draw: impl Fn(usize) -> usize,
        mut visit: impl FnMut(&Member) -> Delivery,
    ) {
        let literal = self.literals.get(subject);
        let mut wild = Vec::new();
        if !self.patterns.is_empty() {
            self.patterns.collect(Some(subject.as_str()), &mut wild);
        }
        let interests = || literal.into_iter().chain(wild.iter().copied());
        for member in interests().flat_map(|interest| &interest.members) {
            visit(member);
        }
        for (nth, interest) in interests().enumerate() {
            for (name, _) in &interest.groups {
                let is_first = !interests().take(nth).any(|earlier| earlier.group(name).is_some());
                if is_first {
                    let members = || interests().skip(nth).filter_map(|later| later.group(name)).flatten();
                    let start = draw(members().count());
                    let turn = members().skip(start).chain(members().take(start));
                    turn.map(&mut visit).find(|delivery| *delivery == Delivery::Taken);
                }
            }
        }
    }
}

/// Who is subscribed to one subject or pattern.
#[derive(Default)]
struct Interest {
    members: Vec<Member>,
    groups: Vec<(QueueGroup, Vec<Member>)>,
}

impl Interest {
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.groups.is_empty()
    }

    fn group(&self, name: &QueueGroup) -> Option<&Vec<Member>> {
        self.groups.iter().find(|(group, _)| group == name).map(|(_, members)| members)
    }

    fn insert(&mut self, member: Member) {
        let Some(name) = member.group.clone() else {
            return self.members.push(member);
        };
        match self.groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, members)) => members.push(member),
            None => self.groups.push((name, vec![member])),
        }
    }

    fn remove(&mut self, address: &Address) {
        match &address.group {
            None => self.members.retain(|member| member.id != address.id),
            Some(name) => {
                if let Some((_, members)) = self.groups.iter_mut().find(|(group, _)| group == name) {
                    members.retain(|member| member.id != address.id);
                }
                self.groups.retain(|(_, members)| !members.is_empty());
            }
        }
    }
}

/// One token of the tree of patterns.
#[derive(Default)]
struct Node {
    here: Interest,
    tail: Interest,
    any: Option<Box<Node>>,
    named: HashMap<Box<str>, Node>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.tail.is_empty() && self.any.is_none() && self.named.is_empty()
    }

    fn insert<'a>(&mut self, mut tokens: impl Iterator<Item = &'a str>, member: Member) {
        let mut node = self;
        loop {
            match tokens.next() {
                None => return node.here.insert(member),
                Some(">") => return node.tail.insert(member),
                Some("*") => node = node.any.get_or_insert_default(),
                Some(token) => node = node.named.entry(token.into()).or_default(),
            }
        }
    }

    fn remove<'a>(&mut self, mut tokens: impl Iterator<Item = &'a str>, address: &Address) {
        match tokens.next() {
            None => self.here.remove(address),
            Some(">") => self.tail.remove(address),
            Some("*") => {
                if let Some(node) = &mut self.any {
                    node.remove(tokens, address);
                }
                self.any.take_if(|node| node.is_empty());
            }
            Some(token) => {
                if let Some(node) = self.named.get_mut(token) {
                    node.remove(tokens, address);
                    if node.is_empty() {
                        self.named.remove(token);
                    }
                }
            }
        }
    }

    /// Visits each node at most once: the work is bounded by the size of the tree.
    fn collect<'a>(&'a self, rest: Option<&str>, found: &mut Vec<&'a Interest>) {
        let Some(rest) = rest else {
            if !self.here.is_empty() {
                found.push(&self.here);
            }
            return;
        };
        if !self.tail.is_empty() {
            found.push(&self.tail);
        }
        let (token, rest) = rest.split_once('.').map_or((rest, None), |(token, rest)| (token, Some(rest)));
        let named = self.named.get(token);
        named.into_iter().chain(self.any.as_deref()).for_each(|node| node.collect(rest, found));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Address, Delivery, Member, QueueGroup, Routes, Sink, Subject};
    use crate::transport::Message;

    struct Taker;

    impl Sink for Taker {
        fn deliver(&self, _: &Message) -> Delivery {
            Delivery::Taken
        }
    }

    fn subject(text: &str) -> Subject {
        Subject::from_wire(text).expect("valid")
    }

    fn subscribe(routes: &mut Routes, id: u64, pattern: &str, group: Option<&str>) -> Address {
        let group = group.map(|name| QueueGroup::from_wire(name).expect("valid"));
        let member =
            Member { id, owner: 0, endpoint: "e".into(), subject: subject(pattern), group, sink: Arc::new(Taker) };
        let address = member.address();
        routes.insert(member);
        address
    }

    fn any(count: usize) -> usize {
        rand::random_range(0..count)
    }

    fn visited(routes: &Routes, text: &str, answer: Delivery) -> Vec<u64> {
        let mut ids = Vec::new();
        routes.visit(&subject(text), any, |member| {
            ids.push(member.id);
            answer
        });
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_message_reaches_literals_and_all_patterns_that_match() {
        let patterns = ["a.b", "a.*", "a.>", ">", "*.b", "a.c", "a.b.>", "*", "a.b.c", "*.>"];
        for text in ["a.b", "a", "a.b.c", "x.b", "a.x", "q.w.e.r"] {
            let mut routes = Routes::default();
            for (id, pattern) in patterns.iter().enumerate() {
                subscribe(&mut routes, id as u64, pattern, None);
            }
            let expected: Vec<u64> = (0..patterns.len() as u64)
                .filter(|&id| subject(patterns[id as usize]).matches(&subject(text)))
                .collect();
            assert_eq!(visited(&routes, text, Delivery::Taken), expected, "{text}");
        }
    }

    #[test]
    fn a_group_gets_one_copy_even_over_several_patterns() {
        let mut routes = Routes::default();
        for (id, pattern) in ["a.b", "a.*", "a.>", "a.b"].iter().enumerate() {
            subscribe(&mut routes, id as u64, pattern, Some("g"));
        }
        subscribe(&mut routes, 9, "a.b", Some("other"));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let ids = visited(&routes, "a.b", Delivery::Taken);
            assert_eq!(ids.len(), 2, "{ids:?}");
            seen.extend(ids);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 9]);
    }

    #[test]
    fn a_group_passes_over_members_that_take_nothing() {
        let mut routes = Routes::default();
        for id in 0..3 {
            subscribe(&mut routes, id, "a", Some("g"));
        }
        assert_eq!(visited(&routes, "a", Delivery::Lost), [0, 1, 2]);
    }

    #[test]
    fn removing_everything_leaves_nothing_behind() {
        let mut routes = Routes::default();
        let addresses: Vec<_> = ["a.b", "a.*.c", "a.>", "*.*", "a.*.c"]
            .iter()
            .enumerate()
            .map(|(id, pattern)| subscribe(&mut routes, id as u64, pattern, (id % 2 == 0).then_some("g")))
            .collect();
        addresses.iter().for_each(|address| routes.remove(address));
        assert!(routes.literals.is_empty() && routes.patterns.is_empty());
    }
}
