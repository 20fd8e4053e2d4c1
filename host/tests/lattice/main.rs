//! Hosts in one process, over the memory bus and the memory store: control, links, calls, restart.

mod calls;
mod cluster;
mod control;
mod guests;
mod links;
mod live;
mod policies;
mod process;
mod refusals;
mod registry;
mod restart;
mod secrets;
mod standing;
mod traversal;
