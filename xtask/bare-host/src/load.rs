//! Asks a server as fast as it answers, over connections that are kept alive; one thread, so that it can have a core.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What was answered.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Answered {
    /// Answers with status 200.
    pub(crate) requests: u64,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

/// Asks `address` for `path` over so many connections for so long.
pub(crate) fn run(address: SocketAddr, path: &str, connections: u32, time: Duration) -> anyhow::Result<Answered> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
            stream.set_nodelay(true)?;
            tasks.spawn(ask(stream, request.clone(), Instant::now() + time));
        }
        let started = Instant::now();
        let mut answered = Answered::default();
        while let Some(task) = tasks.join_next().await {
            answered.requests += task??;
        }
        answered.elapsed = started.elapsed();
        Ok(answered)
    })
}

async fn ask(mut stream: TcpStream, request: String, until: Instant) -> anyhow::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut count = 0;
    while Instant::now() < until {
        stream.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        while !is_whole(&buffer[..filled])? {
            ensure!(filled < buffer.len(), "an answer is over 64 KiB");
            let read = stream.read(&mut buffer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
        }
        count += 1;
    }
    Ok(count)
}

/// Whether this is a whole answer. Its head is in lower case, as hyper writes it.
fn is_whole(bytes: &[u8]) -> anyhow::Result<bool> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let (head, body) = (std::str::from_utf8(&bytes[..end])?, &bytes[end + 4..]);
    if !head.starts_with("HTTP/1.1 200") {
        bail!("the server answered {:?}", head.lines().next());
    }
    let header = |name: &str| {
        head.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    match header("content-length") {
        Some((_, length)) => Ok(body.len() >= length.trim().parse()?),
        None => Ok(body.ends_with(b"0\r\n\r\n")),
    }
}
