//! What it says to bytes that are wrong, slow, too many or encrypted.

mod closing;
mod crowd;
mod frames;
mod http2;
mod memory;
mod slow;
mod smuggling;
mod tls;
mod usage;
