//! Providers that run as processes of their own: started, watched, restarted and replaced. To the rest of the host one
//! looks like a provider that is built in.
//!
//! A process has no credentials of the lattice: its calls pass this host's router like those of built-in providers. It is
//! taken for an enemy: it has its own folder and the network, within limits, and nothing else of the machine.

mod confined;
mod connection;
mod disk;
mod gate;
mod group;
mod handover;
mod keeper;
mod launch;
mod output;
mod proxy;
mod running;
mod state;

pub(crate) use self::confined::temporary_dir;
pub(crate) use self::keeper::{Keeper, Plan};
pub(crate) use self::launch::Program;
