//! How the links of a provider stand, as its task says and as the host's inventory shows.

use std::collections::BTreeMap;

use tokio::sync::watch;
use trellis_lattice::message::inventory::ProviderLink;

use super::delivery::{Delivery, LinkKey, Wanted};

type Links = BTreeMap<LinkKey, ProviderLink>;

/// Where it is shown. The provider's task writes.
#[derive(Debug)]
pub(super) struct Board(watch::Sender<Links>);

/// Where it is read.
#[derive(Debug)]
pub(super) struct Reader(watch::Receiver<Links>);

impl Board {
    /// An empty board, and where it is read.
    pub(super) fn new() -> (Self, Reader) {
        let (links, reader) = watch::channel(Links::new());
        (Self(links), Reader(reader))
    }

    /// Shows all links that are wanted and no others; whether that is news.
    pub(super) fn show_all(&self, wanted: &BTreeMap<LinkKey, Wanted>, delivery: &Delivery) -> bool {
        let standing = |(key, wanted): (&LinkKey, &Wanted)| (key.clone(), delivery.standing(key, wanted));
        let all: Links = wanted.iter().map(standing).collect();
        self.0.send_if_modified(|shown| {
            let is_news = *shown != all;
            *shown = all;
            is_news
        })
    }

    /// Shows one link; whether that is news.
    pub(super) fn show(&self, key: LinkKey, link: ProviderLink) -> bool {
        self.0.send_if_modified(|shown| shown.insert(key, link.clone()).as_ref() != Some(&link))
    }
}

impl Reader {
    /// As they stand now.
    pub(super) fn now(&self) -> Vec<ProviderLink> {
        self.0.borrow().values().cloned().collect()
    }
}
