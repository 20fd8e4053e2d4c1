//! A wire between a provider and its server that can be slow, dead, or full of noise.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What is no protocol that anybody speaks.
pub const NOISE: &[u8] = b"\x16\x03\x01 noise!\r\n";

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It arrives.
    Pass,
    /// What the server answers waits.
    Hold,
    /// Whatever is asked is answered with this, e.g. [`NOISE`], and not passed on.
    Say(&'static [u8]),
}

/// A proxy on this machine, in front of a server on this machine. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Connections that were made before are dead, and their ends do not know it.
    stranded: Arc<AtomicU64>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// In front of what listens on `port`.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (mode, modes) = watch::channel(Mode::Pass);
        let stranded = Arc::<AtomicU64>::default();
        let generations = Arc::clone(&stranded);
        let task = tokio::spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (modes, generations) = (modes.clone(), Arc::clone(&generations));
                carried.spawn(async move {
                    if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                        carry(client, server, modes, &generations).await;
                    }
                });
            }
        });
        Self { address, mode, stranded, _task: AbortOnDropHandle::new(task) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a URL.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// What becomes of what is sent from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Lets nothing more pass on the connections that there are, without a word to their ends.
    pub fn strand(&self) {
        self.stranded.fetch_add(1, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, server: TcpStream, mut modes: watch::Receiver<Mode>, stranded: &AtomicU64) {
    let born = stranded.load(Ordering::SeqCst);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let mode = *modes.borrow_and_update();
        let result = tokio::select! {
            read = from_client.read(&mut asked) => match (read, now(&modes)) {
                (Ok(0) | Err(_), _) => return,
                _ if stranded.load(Ordering::SeqCst) != born => Ok(()),
                (Ok(_), Mode::Say(text)) => to_client.write_all(text).await,
                (Ok(length), _) => to_server.write_all(&asked[..length]).await,
            },
            read = from_server.read(&mut answered), if mode != Mode::Hold => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if stranded.load(Ordering::SeqCst) != born => Ok(()),
                Ok(length) => to_client.write_all(&answered[..length]).await,
            },
            changed = modes.changed() => changed.map_err(|_| std::io::ErrorKind::BrokenPipe.into()),
        };
        if result.is_err() {
            return;
        }
    }
}

fn now(modes: &watch::Receiver<Mode>) -> Mode {
    *modes.borrow()
}
