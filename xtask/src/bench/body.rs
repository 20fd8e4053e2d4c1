//! A large body through an actor that streams it back: how much the host's memory grows.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Setting;
use super::figure::Figure;
use super::process::{Server, free_address};

/// The size of the body, and of the pieces it is sent in.
const BODY_BYTES: usize = 64 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// How long the server may take for a piece.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn measure(setting: &Setting) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let address = free_address()?;
    let mut command = setting.cores.server(&setting.trellis);
    command.arg("up").arg(setting.guests.join("echo.wasm"));
    command.arg("--data-dir").arg(directory.path().join("data")).args(["--http", &address.to_string()]);
    let mut server = Server::start(&mut command, &directory.path().join("trellis.log"))?;
    server.until_answers(address)?;
    // What any request needs is there after the first one.
    echo(address, 1 << 20, || Ok(()))?;
    let before = server.resident_bytes()?;
    let mut most = before;
    echo(address, BODY_BYTES, || {
        most = most.max(server.resident_bytes()?);
        Ok(())
    })?;
    let grown = (most - before) as f64 / f64::from(1 << 20);
    Ok(vec![Figure::absolute("body.growth_mib", "MiB", vec![grown]).at_most(8.0)])
}

/// Sends a body of so many bytes and reads as many back at the same time; calls `watch` with each MiB that came.
fn echo(address: SocketAddr, bytes: usize, mut watch: impl FnMut() -> Result<()>) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut sender = stream.try_clone()?;
    let send = std::thread::spawn(move || -> std::io::Result<()> {
        let head =
            format!("POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n");
        sender.write_all(head.as_bytes())?;
        let piece = [b'x'; PIECE_BYTES];
        (0..bytes / PIECE_BYTES).try_for_each(|_| sender.write_all(&piece))
    });
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut echoed, mut watched) = (0, 0);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        // Head and chunk sizes hold no `x` of their own that would matter in 64 MiB.
        echoed += buffer[..read].iter().filter(|&&byte| byte == b'x').count();
        if echoed >= watched + (1 << 20) {
            watched = echoed;
            watch()?;
        }
    }
    send.join().ok().context("the sender panicked")?.context("sending the body")?;
    ensure!(echoed >= bytes, "{echoed} of {bytes} bytes came back");
    Ok(())
}
