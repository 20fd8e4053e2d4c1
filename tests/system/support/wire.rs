//! A wire between two servers that can be cut and healed: a TCP proxy, so that it takes no privileges.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How a wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It carries everything.
    Whole,
    /// It carries nothing, and tells nobody: what is sent waits, as it does before a cable that was pulled.
    Silent,
    /// Its connections break, and new ones too.
    Broken,
}

/// A wire from one port to another; broken when dropped.
pub(crate) struct Wire {
    state: watch::Sender<State>,
}

impl Wire {
    /// A whole wire from the port `near` of this machine to its port `far`.
    pub(crate) fn between(runtime: &Runtime, near: u16, far: u16) -> Self {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, near))).expect("a free port");
        let (state, seen) = watch::channel(State::Whole);
        runtime.spawn(accept(listener, (Ipv4Addr::LOCALHOST, far).into(), seen));
        Self { state }
    }

    /// From now on it is so.
    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn accept(listener: TcpListener, far: SocketAddr, state: watch::Receiver<State>) {
    // Ends with the wire, or with the runtime.
    while state.has_changed().is_ok() {
        let Ok((near, _)) = listener.accept().await else { continue };
        tokio::spawn(carry(near, far, state.clone()));
    }
}

async fn carry(near: TcpStream, far: SocketAddr, mut state: watch::Receiver<State>) {
    if !carries(&mut state).await {
        return;
    }
    let Ok(far) = TcpStream::connect(far).await else { return };
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = pump(from_near, to_far, state.clone()) => {}
        () = pump(from_far, to_near, state) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 << 10];
    while carries(&mut state).await {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            changed = state.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        match read {
            Ok(count @ 1..) if carries(&mut state).await && to.write_all(&buffer[..count]).await.is_ok() => {}
            _ => return,
        }
    }
}

/// Waits until the wire carries again, or is broken: then not.
async fn carries(state: &mut watch::Receiver<State>) -> bool {
    state.wait_for(|state| *state != State::Silent).await.is_ok_and(|state| *state == State::Whole)
}
