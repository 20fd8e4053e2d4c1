//! A wire that can be slow, dead, or full of noise.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// What the server answers waits.
    Hold,
    /// Whatever is asked is answered with noise, and not passed on.
    Garbage,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Connections that were made before are dead, and their ends do not know it.
    stranded: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        let stranded = Arc::new(AtomicU64::new(0));
        let generations = stranded.clone();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (modes, generations) = (modes.clone(), generations.clone());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                        carry(client, server, modes, generations).await;
                    }
                });
            }
        });
        Self { address, mode, stranded, task }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub(crate) fn strand(&self) {
        self.stranded.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: TcpStream, mut modes: watch::Receiver<Mode>, stranded: Arc<AtomicU64>) {
    let born = stranded.load(Ordering::SeqCst);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let is_held = *modes.borrow_and_update() == Mode::Hold;
        let result = tokio::select! {
            read = from_client.read(&mut asked) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if stranded.load(Ordering::SeqCst) != born => Ok(()),
                Ok(_) if *modes.borrow() == Mode::Garbage => to_client.write_all(b"\x16\x03\x01 noise!\r\n").await,
                Ok(length) => to_server.write_all(&asked[..length]).await,
            },
            read = from_server.read(&mut answered), if !is_held => match read {
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
