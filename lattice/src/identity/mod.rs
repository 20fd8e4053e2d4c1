//! Who is who: keys, the claims that a key signs, tokens that carry them, and which issuers are trusted.

pub mod archive;
pub mod claims;
pub mod component;
pub mod key;
pub mod peer;
pub mod token;
pub mod trust;

mod jws;
mod section;
mod strict;
