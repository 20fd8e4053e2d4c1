//! Names to addresses, by the system's resolver or by one that is given.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

/// Finds the addresses of a host name. What comes back is all that a connection is checked against and made to.
pub type Resolver = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Lookups at once. The system's resolver takes a thread for each, for as long as a name server may be silent.
const LOOKUPS: usize = 32;

/// The system's resolver.
pub fn system() -> Resolver {
    let slots = Arc::new(Semaphore::new(LOOKUPS));
    Arc::new(move |name| {
        let slots = slots.clone();
        Box::pin(async move {
            let slot = slots.acquire_owned().await.map_err(io::Error::other)?;
            // A task of its own, because the thread goes on when nobody waits for it any more, and so must its slot.
            let lookup = tokio::spawn(async move {
                let found = tokio::net::lookup_host((name, 0)).await;
                drop(slot);
                found.map(|addresses| addresses.map(|address| address.ip()).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    })
}
