//! How much the system keeps of what a peer has not been sent yet.
//!
//! Left to itself it keeps some MiB for each connection, and more as time goes on: a peer that takes nothing would seem to
//! take something now and then, and thousands of them would fill the memory. What is on its way to a peer is not bounded.

use tokio::net::TcpStream;

/// So much.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 << 10;

/// Bounds it for `stream`.
#[cfg(target_os = "linux")]
pub(crate) fn bound(stream: &TcpStream) {
    // A system that cannot do that serves all the same.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
}

/// Other systems have no such bound.
#[cfg(not(target_os = "linux"))]
pub(crate) fn bound(_: &TcpStream) {}
