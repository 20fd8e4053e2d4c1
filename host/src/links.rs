//! The links of the lattice as one immutable table: what a source may call, and where that goes.
//!
//! Pure: how links are kept and followed is [`crate::records`]'.

use std::collections::HashMap;
use std::sync::Arc;

use trellis_lattice::contract::Interface;
use trellis_lattice::id::{EntityId, LinkName};
use trellis_lattice::message::link::Link;

/// A link and the revision of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The link.
    pub link: Arc<Link>,
    /// The revision of its record: the grant's epoch.
    pub revision: u64,
}

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who is called.
    pub target: EntityId,
    /// The revision of the record that grants it.
    pub epoch: u64,
}

/// All links at one moment.
#[derive(Debug, Default)]
pub struct Table {
    by_source: HashMap<EntityId, HashMap<LinkName, Vec<Entry>>>,
    revision: u64,
}

impl Table {
    /// The table of `entries`. Where two of them grant the same, the older record wins.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut table = Self::default();
        for entry in entries {
            table.revision = table.revision.max(entry.revision);
            let names = table.by_source.entry(entry.link.source_id.clone()).or_default();
            names.entry(entry.link.name.clone()).or_default().push(entry);
        }
        for entries in table.by_source.values_mut().flat_map(HashMap::values_mut) {
            entries.sort_by_key(|entry| entry.revision);
        }
        table
    }

    /// The highest revision in it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Where a call of `source` to `interface` goes over its link `name`. Allocates nothing.
    pub fn lookup(&self, source: &EntityId, name: &LinkName, interface: &Interface) -> Option<Grant> {
        let entries = self.by_source.get(source)?.get(name)?;
        let entry = entries.iter().find(|entry| entry.link.covers(interface))?;
        Some(Grant { target: entry.link.target.clone(), epoch: entry.revision })
    }

    /// Whether the link `name` of `source` lets it call `interface` of `target`.
    pub fn is_granted(&self, source: &EntityId, name: &LinkName, target: &EntityId, interface: &Interface) -> bool {
        self.lookup(source, name, interface).is_some_and(|grant| grant.target == *target)
    }

    /// Whether any link of `source`, whatever its name, is for calls to `interface`.
    pub fn has_link(&self, source: &EntityId, interface: &Interface) -> bool {
        let mut entries = self.by_source.get(source).into_iter().flat_map(HashMap::values).flatten();
        entries.any(|entry| entry.link.covers(interface))
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_source.values().flat_map(HashMap::values).flatten()
    }
}

/// The one of `existing` that `wanted` cannot stand beside: same source and name, an interface in common, another
/// target.
pub fn conflict<'a>(existing: impl IntoIterator<Item = &'a Link>, wanted: &Link) -> Option<&'a Link> {
    existing.into_iter().find(|link| {
        link.source_id == wanted.source_id
            && link.name == wanted.name
            && link.wit_namespace == wanted.wit_namespace
            && link.wit_package == wanted.wit_package
            && link.target != wanted.target
            && link.interfaces.iter().any(|interface| wanted.interfaces.contains(interface))
    })
}

/// Why `link` cannot be a link at all, if it cannot.
pub fn defect(link: &Link) -> Option<String> {
    if link.interfaces.is_empty() {
        return Some(format!(
            "link {} of {} names no interfaces: name at least one, e.g. `store` of wasi:keyvalue",
            link.name, link.source_id
        ));
    }
    let wrong = link.interfaces.iter().find_map(|name| {
        let text = format!("{}:{}/{name}", link.wit_namespace, link.wit_package);
        match Interface::parse(&text) {
            Ok(interface) if interface.version().is_some() => Some(format!("{text:?} has a version: leave it out")),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        }
    })?;
    Some(format!("link {} of {}: {wrong}", link.name, link.source_id))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Entry, Table, conflict, defect};
    use trellis_lattice::contract::Interface;
    use trellis_lattice::message::link::Link;

    /// `source --name--> target` over `interface`.
    pub(crate) fn link(source: &str, name: &str, interface: &str, target: &str) -> Link {
        let interface = Interface::parse(interface).expect("valid");
        Link {
            source_id: source.parse().expect("valid"),
            target: target.parse().expect("valid"),
            name: name.parse().expect("valid"),
            wit_namespace: interface.namespace().to_owned(),
            wit_package: interface.package().to_owned(),
            interfaces: vec![interface.name().to_owned()],
            source_config: Vec::new(),
            target_config: Vec::new(),
        }
    }

    pub(crate) fn table(links: &[Link]) -> Table {
        Table::new((1..).zip(links).map(|(revision, link)| Entry { link: link.clone().into(), revision }))
    }

    fn target_of(table: &Table, source: &str, name: &str, interface: &str) -> Option<String> {
        let interface = Interface::parse(interface).expect("valid");
        let grant = table.lookup(&source.parse().expect("valid"), &name.parse().expect("valid"), &interface);
        grant.map(|grant| grant.target.to_string())
    }

    #[test]
    fn a_call_goes_where_its_link_leads_whatever_the_version() {
        let table = table(&[
            link("a", "default", "wasi:keyvalue/store", "kv1"),
            link("a", "cache", "wasi:keyvalue/store", "kv2"),
            link("b", "default", "wasi:keyvalue/store", "kv3"),
        ]);
        let store = "wasi:keyvalue/store@0.2.0-draft";
        assert_eq!(target_of(&table, "a", "default", store).as_deref(), Some("kv1"));
        assert_eq!(target_of(&table, "a", "cache", store).as_deref(), Some("kv2"));
        assert_eq!(target_of(&table, "b", "default", store).as_deref(), Some("kv3"));
        assert_eq!(target_of(&table, "b", "cache", store), None);
        assert_eq!(target_of(&table, "a", "default", "wasi:keyvalue/atomics"), None);
        assert_eq!(target_of(&table, "a", "default", "wasi:blobstore/store"), None);
        assert_eq!(target_of(&table, "nobody", "default", store), None);
    }

    #[test]
    fn only_the_target_of_the_named_link_is_granted() {
        let table = table(&[link("a", "default", "wasi:keyvalue/store", "kv1")]);
        let store = Interface::parse("wasi:keyvalue/store").expect("valid");
        let granted = |name: &str, target: &str| {
            let (a, name, target) = ("a".parse().unwrap(), name.parse().unwrap(), target.parse().unwrap());
            table.is_granted(&a, &name, &target, &store)
        };
        assert!(granted("default", "kv1"));
        assert!(!granted("default", "kv2"));
        assert!(!granted("other", "kv1"));
    }

    #[test]
    fn of_two_records_that_grant_the_same_the_older_wins() {
        let old = link("a", "default", "wasi:keyvalue/store", "kv1");
        let new = link("a", "default", "wasi:keyvalue/store", "kv2");
        let entry = |link: &Link, revision| Entry { link: link.clone().into(), revision };
        let table = Table::new([entry(&new, 9), entry(&old, 3)]);
        assert_eq!(target_of(&table, "a", "default", "wasi:keyvalue/store").as_deref(), Some("kv1"));
    }

    #[test]
    fn an_overlap_with_another_target_is_a_conflict() {
        let existing = link("a", "default", "wasi:keyvalue/store", "kv1");
        let conflicts = |wanted: &Link| conflict([&existing], wanted).is_some();
        assert!(conflicts(&link("a", "default", "wasi:keyvalue/store", "kv2")));
        assert!(!conflicts(&existing));
        assert!(!conflicts(&link("a", "default", "wasi:keyvalue/atomics", "kv2")));
        assert!(!conflicts(&link("a", "other", "wasi:keyvalue/store", "kv2")));
        assert!(!conflicts(&link("b", "default", "wasi:keyvalue/store", "kv2")));
    }

    #[test]
    fn a_link_that_names_no_interface_is_refused() {
        let mut wrong = link("a", "default", "wasi:keyvalue/store", "kv1");
        assert_eq!(defect(&wrong), None);
        for interfaces in [vec![], vec!["a.b"], vec!["store", "store@0.2.0"]] {
            wrong.interfaces = interfaces.into_iter().map(str::to_owned).collect();
            assert!(defect(&wrong).is_some_and(|text| text.starts_with("link default of a")), "{wrong:?}");
        }
    }
}
