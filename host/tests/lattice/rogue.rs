//! A peer that is no host of ours: it calls what it likes, in whose name it likes.

use std::sync::Arc;

use bytes::Bytes;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::peer::Identity;
use trellis_lattice::message::invocation::{Context, Encoding, Head, Invocation};
use trellis_lattice::rpc::{Join, Peer};

use crate::cluster::{Cluster, PATIENCE, eventually, now, params};

/// One with the token of a host.
pub(crate) async fn host(cluster: &Cluster) -> Arc<Peer> {
    let key = Key::generate(KeyKind::Host);
    join(cluster, Identity::new(&key, cluster.token(&key, |_| {}), now()).expect("valid")).await
}

/// One with that identity.
pub(crate) async fn join(cluster: &Cluster, identity: Identity) -> Arc<Peer> {
    let join = Join { lattice: Cluster::lattice(), identity, trust: Arc::clone(&cluster.trust), site: None };
    Peer::join(cluster.transport("peer"), join, None).await.expect("joins")
}

/// Waits until the peer knows who runs the providers.
pub(crate) async fn seen(peer: &Arc<Peer>) {
    eventually(|| async {
        let present = peer.present();
        let runs = present.iter().any(|presence| !presence.running.is_empty());
        if runs { Ok(()) } else { Err(format!("{present:?}")) }
    })
    .await;
}

/// A call of `test:echo/echo` that says it is made by `source`.
pub(crate) fn invocation(source: &str, target: &str) -> Invocation<Bytes> {
    let head = Head {
        id: uuid::Uuid::now_v7(),
        source: source.parse().expect("valid"),
        target: target.parse().expect("valid"),
        link: Default::default(),
        interface: "test:echo/echo".parse().expect("valid"),
        function: "text".into(),
        signature: None,
        encoding: Encoding::Pack,
        attempt: 1,
        grant_epoch: 0,
        context: Context::root(PATIENCE),
    };
    Invocation { head, args: params("hello"), body: Default::default() }
}
