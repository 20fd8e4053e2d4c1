//! How the process that takes this one's place listens without a gap: it is given the listening socket, by way of a
//! socket in the directory that all processes of a provider have in common. Connections that nobody has accepted yet
//! wait in the kernel, for whichever of the two accepts first.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

/// The longest that a process may take to give its listening socket.
const GIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it may take until the socket is offered again, when the process that did so has just gone.
const CHANGE_TIMEOUT: Duration = Duration::from_millis(200);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(5);
/// So many processes may be about to take this one's place.
const MAX_HEIRS: usize = 8;
/// The pause after a request could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening socket that another process of this provider has as well.
pub(crate) struct Inherited {
    /// The socket.
    pub(crate) listener: TcpListener,
    /// Closes when the other process does not listen any more.
    from: UnixStream,
}

/// Asks the process of the provider with the directory `dir` that listens on `address` for its socket.
///
/// # Errors
/// When there is none, or it does not answer.
pub(crate) async fn inherit(dir: &Path, address: SocketAddr) -> io::Result<Inherited> {
    let inherit = async {
        let from = connect(&place(dir, address)).await?;
        let socket = from.async_io(Interest::READABLE, || take(&from)).await?;
        let listener = TcpListener::from_std(socket.into())?;
        match listener.local_addr()? == address {
            true => Ok(Inherited { listener, from }),
            false => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    };
    timeout(GIVE_TIMEOUT, inherit).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn connect(place: &Path) -> io::Result<UnixStream> {
    let give_up = Instant::now() + CHANGE_TIMEOUT;
    loop {
        match UnixStream::connect(place).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < give_up => {
                sleep(LOOK).await;
            }
            outcome => return outcome,
        }
    }
}

fn place(dir: &Path, address: SocketAddr) -> PathBuf {
    dir.join(format!("listens-on-{address}"))
}

/// The offer of a listening socket to the next process.
pub(crate) struct Offer {
    place: PathBuf,
    state: State,
}

enum State {
    /// Another process offers it. Leads out: that process does not listen any more.
    Inherited(UnixStream),
    /// Who asks is given it; those who were see by their stream how long this process listens.
    Open(UnixListener, Vec<UnixStream>),
    /// It cannot be offered: the next process binds it when this one has closed it.
    Closed,
}

impl Offer {
    /// Offers the socket that listens on `address`.
    pub(crate) fn new(dir: &Path, address: SocketAddr) -> Self {
        let place = place(dir, address);
        Self { state: open(&place), place }
    }

    /// The same for a socket that came from another process, as soon as that one does not offer it any more.
    pub(crate) fn after(dir: &Path, address: SocketAddr, inherited: Inherited) -> (TcpListener, Self) {
        let Inherited { listener, from } = inherited;
        (listener, Self { state: State::Inherited(from), place: place(dir, address) })
    }

    /// Does what is to be done next; never ends when there is nothing. Cancel safe.
    pub(crate) async fn serve(&mut self, socket: &TcpListener) {
        match &mut self.state {
            State::Closed => std::future::pending().await,
            State::Inherited(from) => {
                // Nothing more comes but the end.
                if !matches!(from.read(&mut [0; 1]).await, Ok(1..)) {
                    self.state = open(&self.place);
                }
            }
            State::Open(listener, heirs) => match listener.accept().await {
                Ok((stream, _)) => {
                    // Those that are gone have closed their ends.
                    heirs.retain(|heir| !matches!(heir.try_read(&mut [0; 1]), Ok(0)));
                    match give(&stream, socket) {
                        Ok(()) if heirs.len() < MAX_HEIRS => heirs.push(stream),
                        Ok(()) => debug!("listening socket was given to too many"),
                        Err(error) => debug!("listening socket not given: {error}"),
                    }
                }
                Err(error) => {
                    debug!("request for the listening socket not accepted: {error}");
                    sleep(PAUSE).await;
                }
            },
        }
    }
}

fn open(place: &Path) -> State {
    // What another process left there is replaced, so that there is something at any time.
    let fresh = place.with_added_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let opened = UnixListener::bind(&fresh).and_then(|listener| {
        std::fs::rename(&fresh, place)?;
        Ok(listener)
    });
    match opened {
        Ok(listener) => State::Open(listener, Vec::new()),
        Err(error) => {
            debug!("listening socket is not offered to the next process: {error}");
            State::Closed
        }
    }
}

fn give(to: &UnixStream, socket: &TcpListener) -> io::Result<()> {
    let sockets = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    // A stream that was just opened has room for a byte.
    sendmsg(to, &[IoSlice::new(b"l")], &mut control, SendFlags::empty())?;
    Ok(())
}

fn take(from: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(from, &mut [IoSliceMut::new(&mut [0; 1])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    sockets.next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::path::Path;
    use std::pin::pin;

    use tokio::net::{TcpListener, TcpStream};

    use super::{Offer, inherit};

    async fn bound() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    /// Inherits from whoever serves `offer`.
    async fn next(
        dir: &Path,
        address: SocketAddr,
        (listener, offer): (&TcpListener, &mut Offer),
    ) -> (TcpListener, Offer) {
        let mut inheriting = pin!(inherit(dir, address));
        let inherited = loop {
            tokio::select! {
                inherited = &mut inheriting => break inherited.expect("it is offered"),
                () = offer.serve(listener) => {}
            }
        };
        Offer::after(dir, address, inherited)
    }

    #[tokio::test]
    async fn a_connection_that_waits_comes_to_the_one_that_listens_on() {
        let (dir, (first, address)) = (tempfile::tempdir().expect("a directory"), bound().await);
        let mut offer = Offer::new(dir.path(), address);
        let waiting = TcpStream::connect(address).await.expect("it waits in the kernel");
        let (second, mut second_offer) = next(dir.path(), address, (&first, &mut offer)).await;
        drop((first, offer));
        let (_, peer) = second.accept().await.expect("it was not lost");
        assert_eq!(peer, waiting.local_addr().expect("connected"));
        // The second one offers it now.
        second_offer.serve(&second).await;
        let (third, _) = next(dir.path(), address, (&second, &mut second_offer)).await;
        assert_eq!(third.local_addr().expect("listens"), address);
    }

    #[tokio::test]
    async fn nothing_is_inherited_from_one_that_is_gone() {
        let (dir, (first, address)) = (tempfile::tempdir().expect("a directory"), bound().await);
        assert!(inherit(dir.path(), address).await.is_err(), "nobody offered it");
        drop((Offer::new(dir.path(), address), first));
        assert!(inherit(dir.path(), address).await.is_err(), "what was left behind is nobody's");
        let again = TcpListener::bind(address).await.expect("free");
        next(dir.path(), address, (&again, &mut Offer::new(dir.path(), address))).await;
    }
}
