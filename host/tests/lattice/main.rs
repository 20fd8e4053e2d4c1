//! Hosts in one process, over the memory bus and the memory store: control, links, calls, restart.

mod calls;
mod cluster;
mod control;
mod crash;
mod deputy;
mod guests;
mod handover;
mod links;
mod live;
mod policies;
mod process;
mod refusals;
mod registry;
mod restart;
mod rogue;
mod secrets;
mod standing;
mod traversal;
