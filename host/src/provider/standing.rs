//! How a provider is and how its links stand, as its task says and as the host's inventory shows.

use std::collections::BTreeMap;

use tokio::sync::watch;
use trellis_lattice::message::inventory::ProviderLink;
use trellis_provider_sdk::Health;

use super::delivery::{Delivery, LinkKey, Wanted};

type Links = BTreeMap<LinkKey, ProviderLink>;

/// Where it is shown. The provider's task writes.
#[derive(Debug)]
pub(super) struct Board {
    links: watch::Sender<Links>,
    unhealthy: watch::Sender<Option<String>>,
}

/// Where it is read.
#[derive(Debug)]
pub(super) struct Reader {
    links: watch::Receiver<Links>,
    unhealthy: watch::Receiver<Option<String>>,
}

impl Board {
    /// An empty board, and where it is read.
    pub(super) fn new() -> (Self, Reader) {
        let ((links, links_shown), (unhealthy, shown)) = (watch::channel(Links::new()), watch::channel(None));
        (Self { links, unhealthy }, Reader { links: links_shown, unhealthy: shown })
    }

    /// Shows all links that are wanted and no others; whether that is news.
    pub(super) fn show_all(&self, wanted: &BTreeMap<LinkKey, Wanted>, delivery: &Delivery) -> bool {
        let standing = |(key, wanted): (&LinkKey, &Wanted)| (key.clone(), delivery.standing(key, wanted));
        let all: Links = wanted.iter().map(standing).collect();
        self.links.send_if_modified(|shown| {
            let is_news = *shown != all;
            *shown = all;
            is_news
        })
    }

    /// Shows one link; whether that is news.
    pub(super) fn show(&self, key: LinkKey, link: ProviderLink) -> bool {
        self.links.send_if_modified(|shown| shown.insert(key, link.clone()).as_ref() != Some(&link))
    }

    /// Shows what a health check said.
    pub(super) fn show_health(&self, check: &Health) {
        self.unhealthy.send_replace(match check {
            Health::Healthy => None,
            Health::Unhealthy(reason) => Some(reason.clone()),
        });
    }
}

impl Reader {
    /// The links as they stand now.
    pub(super) fn now(&self) -> Vec<ProviderLink> {
        self.links.borrow().values().cloned().collect()
    }

    /// What was wrong when its health was asked for last.
    pub(super) fn unhealthy(&self) -> Option<String> {
        self.unhealthy.borrow().clone()
    }
}
