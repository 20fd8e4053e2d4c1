//! The listeners of a process: one per address, shared by all providers made by one factory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};
use trellis_provider_sdk::{LinkError, LinkName};

use crate::config::Limits;
use crate::connection;
use crate::forward::Route;
use crate::peers::{Peers, Place};
use crate::route::{Pattern, Table};
use crate::split::Split;
use crate::succession::{Inherited, Offer};
use crate::tls::{self, Certificate};

/// A link, told apart from those of other providers in this process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Which provider; drawn when it starts.
    pub(crate) provider: uuid::Uuid,
    /// Its link.
    pub(crate) link: LinkName,
}

/// What a link asks for.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Which requests are its own.
    pub(crate) pattern: Pattern,
    /// Its share of them; `None` when they are all its own.
    pub(crate) weight: Option<u32>,
    /// Where they go.
    pub(crate) route: Arc<Route>,
    /// Who it says that it is, if it says so.
    pub(crate) tls: Option<Arc<Certificate>>,
    /// The directory that all processes of the provider have in common.
    pub(crate) dir: Arc<Path>,
}

impl Entry {
    /// Its certificate, and for which host.
    fn certificate(&self) -> Option<(Option<String>, Arc<Certificate>)> {
        Some((self.pattern.host.clone(), self.tls.clone()?))
    }
}

/// All listeners of a process, one per address.
///
/// The lock guards control operations, which await nothing; requests read snapshots.
#[derive(Default)]
pub struct Listeners(Mutex<HashMap<SocketAddr, Listener>>);

impl Listeners {
    /// Adds a link's route, or replaces the one it had; binds when it is the first of its address, unless its socket was
    /// inherited. What is to be closed instead comes back. After an error the link has no route.
    pub(crate) fn put(
        &self,
        key: &Key,
        entry: Entry,
        limits: Limits,
        inherited: Option<Inherited>,
    ) -> (Vec<Listener>, Result<(), LinkError>) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = entry.address;
        for listener in listeners.values_mut() {
            listener.entries.remove(key);
            listener.missing.remove(key);
        }
        let result = match listeners.get_mut(&address) {
            Some(listener) => {
                let result = listener.insert(key, entry);
                listener.missing.extend(result.is_err().then(|| key.clone()));
                result
            }
            None => Listener::open(&entry, limits, inherited).and_then(|mut listener| {
                listener.insert(key, entry)?;
                listeners.insert(address, listener);
                Ok(())
            }),
        };
        (publish(&mut listeners), result)
    }

    /// Takes the routes of the links away that `gone` picks. What is to be closed comes back.
    pub(crate) fn remove(&self, gone: impl Fn(&Key) -> bool) -> Vec<Listener> {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.values_mut() {
            listener.entries.retain(|key, _| !gone(key));
            listener.missing.retain(|key| !gone(key));
        }
        publish(&mut listeners)
    }

    /// A link has no route that should have one at `address`. What is to be closed comes back.
    pub(crate) fn miss(&self, key: &Key, address: SocketAddr) -> Vec<Listener> {
        let mut unused = self.remove(|other| other == key);
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listeners.get_mut(&address) {
            listener.missing.insert(key.clone());
        }
        unused.extend(publish(&mut listeners));
        unused
    }

    /// Where the links of a provider listen that have ended by themselves: none, when all is well.
    pub(crate) fn dead(&self) -> Vec<SocketAddr> {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().filter(|(_, listener)| listener.task.is_finished()).map(|(address, _)| *address).collect()
    }

    /// The address that the listener for `address` has, which differs when that has port 0.
    pub fn local_address(&self, address: SocketAddr) -> Option<SocketAddr> {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.get(&address).map(|listener| listener.local)
    }
}

/// Makes the routes visible to requests, and takes the listeners out that have none: those go on with what they had for
/// requests that are on their way.
fn publish(listeners: &mut HashMap<SocketAddr, Listener>) -> Vec<Listener> {
    for listener in listeners.values_mut().filter(|listener| !listener.entries.is_empty()) {
        listener.divide();
        listener.shared.missing.store(listener.missing.len(), Ordering::Release);
        let patterns = listener.splits.iter().map(|(pattern, split)| (pattern.clone(), split.clone()));
        listener.shared.table.store(Arc::new(Table::new(patterns)));
        listener.secure();
    }
    listeners.extract_if(|_, listener| listener.entries.is_empty()).map(|(_, listener)| listener).collect()
}

/// What a listener and its connections share.
pub(crate) struct Shared {
    /// The routes as they are now.
    pub(crate) table: ArcSwap<Table<Arc<Split<Arc<Route>>>>>,
    /// What connections begin with, if with anything. Those that have begun keep what they have.
    pub(crate) tls: ArcSwapOption<ServerConfig>,
    /// Limits of each connection.
    pub(crate) limits: Limits,
    /// How many links should have a route here and have none.
    pub(crate) missing: AtomicUsize,
    /// Cancelled when no more requests are taken.
    pub(crate) closing: CancellationToken,
}

/// A listener that accepts. Dropping it closes its connections.
pub(crate) struct Listener {
    local: SocketAddr,
    entries: BTreeMap<Key, Entry>,
    /// Links that were refused a place among them.
    missing: BTreeSet<Key>,
    splits: HashMap<Pattern, Arc<Split<Arc<Route>>>>,
    shared: Arc<Shared>,
    task: AbortOnDropHandle<()>,
}

impl Listener {
    fn open(entry: &Entry, limits: Limits, inherited: Option<Inherited>) -> Result<Self, LinkError> {
        let (address, dir) = (entry.address, &entry.dir);
        let tls = ArcSwapOption::new(tls::config(entry.certificate())?);
        let (listener, offer) = match inherited {
            Some(inherited) => Offer::after(dir, address, inherited),
            None => (bind(address).map_err(|error| unavailable(address, &error))?, Offer::new(dir, address)),
        };
        let local = listener.local_addr().map_err(|error| unavailable(address, &error))?;
        let (missing, closing) = (AtomicUsize::new(0), CancellationToken::new());
        let shared = Arc::new(Shared { table: ArcSwap::default(), tls, limits, missing, closing });
        let task = AbortOnDropHandle::new(tokio::spawn(accept((listener, offer), shared.clone())));
        info!(address = %local, "HTTP server listens");
        let (entries, missing) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { local, entries, missing, splits: HashMap::new(), shared, task })
    }

    /// Adds a link. Links of one provider that all say a weight share what they have in common.
    fn insert(&mut self, key: &Key, entry: Entry) -> Result<(), LinkError> {
        if let Some(other) = self.entries.values().find(|other| other.tls.is_some() != entry.tls.is_some()) {
            return Err(LinkError::Unavailable(format!(
                "link {:?} of {} and link {:?} of {} are both for {}, and only one of them says `tls_cert` and \
                 `tls_key`: all links of an address have TLS, or none",
                entry.route.link, entry.route.source, other.route.link, other.route.source, entry.address,
            )));
        }
        let shares = |(known, other): &(&Key, &Entry)| {
            known.provider == key.provider && other.weight.is_some() && entry.weight.is_some()
        };
        let mut same = self.entries.iter().filter(|(_, other)| other.pattern == entry.pattern);
        if let Some((_, other)) = same.find(|other| !shares(other)) {
            let describe = |route: &Route| format!("link {:?} of {} to {}", route.link, route.source, route.target);
            return Err(LinkError::Unavailable(format!(
                "{} wants the requests for {} on {} that {} has: give one of them another `host`, `path` or `address`, \
                 or, at one provider, both a `weight`",
                describe(&entry.route),
                entry.pattern,
                entry.address,
                describe(&other.route),
            )));
        }
        self.entries.insert(key.clone(), entry);
        Ok(())
    }

    /// Makes the splits of the entries. Those that are the same stay, so that other links do not begin them anew.
    fn divide(&mut self) {
        let mut members: HashMap<&Pattern, Vec<(Arc<Route>, u32)>> = HashMap::new();
        for entry in self.entries.values() {
            members.entry(&entry.pattern).or_default().push((entry.route.clone(), entry.weight.unwrap_or(1)));
        }
        let split = |(pattern, members): (&Pattern, Vec<_>)| {
            let split = Split::new(members)?;
            let known = self.splits.get(pattern).filter(|known| known.is_like(&split));
            Some((pattern.clone(), known.cloned().unwrap_or_else(|| Arc::new(split))))
        };
        self.splits = members.into_iter().filter_map(split).collect();
    }

    /// Makes the certificates of the entries those of connections to come. Without entries it is about to close.
    fn secure(&self) {
        if self.entries.is_empty() {
            return;
        }
        match tls::config(self.entries.values().filter_map(Entry::certificate)) {
            Ok(config) => self.shared.tls.store(config),
            Err(error) => warn!(%error, address = %self.local, "certificates not changed"),
        }
    }

    /// Stops accepting, lets the requests in flight finish for at most `limit`, then closes their connections.
    pub(crate) async fn close(mut self, limit: Duration) {
        self.shared.closing.cancel();
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            warn!(address = %self.local, "HTTP server closed with requests in flight");
        } else {
            info!(address = %self.local, "HTTP server closed");
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1_024)
}

fn unavailable(address: SocketAddr, error: &io::Error) -> LinkError {
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "is in use by another process: stop it, or set `address` of the link to another".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "may not be listened on: ports below 1024 need privileges, use a higher one".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "is not one of this machine: set `address` of the link to one that is".to_owned()
        }
        _ => format!("cannot be listened on: {error}"),
    };
    let text = format!("address {address} {text}");
    if error.kind() == io::ErrorKind::AddrInUse { LinkError::Held(text) } else { LinkError::Unavailable(text) }
}

async fn accept((listener, mut offer): (TcpListener, Offer), shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(shared.limits.connections));
    let peers = Arc::new(Peers::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => break,
            Some(_) = connections.join_next() => {}
            () = offer.serve(&listener) => {}
            (stream, held) = next(&listener, &slots, &peers, shared.limits.connections_per_peer) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    connection::serve(stream, shared).await;
                    drop(held);
                });
            }
        }
    }
    drop((listener, offer));
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is room for it, of a peer that has not too many.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    peers: &Arc<Peers>,
    per_peer: usize,
) -> (TcpStream, (OwnedSemaphorePermit, Place)) {
    let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match peers.admit(peer.ip(), per_peer) {
                Some(place) => return (stream, (slot, place)),
                None => debug!(%peer, "connection closed: its peer has too many"),
            },
            Err(error) => {
                debug!("connection not accepted: {error}");
                // Without file descriptors, accept fails at once, again and again.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}
