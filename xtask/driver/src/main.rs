//! Measures what cannot be seen from outside: calls, starts and idle actors, with the libraries of Trellis composed as
//! the command line composes them.
//!
//! Prints one line of JSON: lists of numbers by name.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod calls;
mod idle;
mod keyvalue;
mod messages;
mod plan;
mod process;
mod provider;
mod remote;
mod start;
mod world;

/// As in `trellis`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Trellis from inside.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Times calls from one actor to another on one host: nanoseconds per call
    Calls {
        /// The actor that calls in a loop
        caller: PathBuf,
        /// The actor that is called
        callee: PathBuf,
        /// The loop: `interface.function` of the caller, with a `u32` count
        function: String,
        /// The interface of the callee
        interface: String,
        /// Calls per batch
        #[arg(long, default_value_t = 2_000)]
        count: u32,
        /// Batches
        #[arg(long, default_value_t = 21)]
        batches: u32,
    },
    /// Times calls over a nats-server, and plain requests over the same in turns
    Remote {
        /// The actor that is called: `bench:calls/echo`
        callee: PathBuf,
        /// The nats-server, with JetStream
        url: String,
        /// Rounds
        #[arg(long, default_value_t = 11)]
        rounds: u32,
    },
    /// Times gets of an actor through the built-in key-value provider, and the same actor doing nothing: microseconds
    Keyvalue {
        /// The actor that calls in a loop
        caller: PathBuf,
        /// The actor that reads
        reader: PathBuf,
        /// Rounds
        #[arg(long, default_value_t = 11)]
        rounds: u32,
    },
    /// Times gets of a key-value provider that is a process, and plain requests over a nats-server in turns
    Provider {
        /// The program that can run what is built in
        trellis: PathBuf,
        /// The nats-server
        url: String,
        /// Rounds
        #[arg(long, default_value_t = 11)]
        rounds: u32,
    },
    /// Sends messages through JetStream to an actor, and to a handler in native code: messages per second, how many are lost
    Messages {
        /// The nats-server, with the stream of a messaging provider
        url: String,
        /// How many messages
        #[arg(long, default_value_t = 100_000)]
        count: usize,
    },
    /// Is the handler in native code, until it is ended
    HandleMessages {
        /// The nats-server
        url: String,
    },
    /// Times starts of an actor whose code is in the cache on disk: nanoseconds
    Start {
        /// The actor
        component: PathBuf,
        /// How often
        #[arg(long, default_value_t = 51)]
        rounds: u32,
    },
    /// Starts many actors and leaves them alone: bytes resident each, percent of a core
    Idle {
        /// The actor
        component: PathBuf,
        /// How many
        #[arg(long, default_value_t = 1_000)]
        actors: u32,
    },
    /// Plans a lattice in which nothing runs but the planner: milliseconds of processor time, bytes
    Plan {
        /// How many hosts, each with ten instances
        hosts: u32,
        /// How often each plan is made
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> anyhow::Result<()> {
    // On a worker, where hosts make their calls: this task has a thread of its own, which each answer would wake.
    let figures = tokio::spawn(measure(Arguments::parse().command)).await??;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn measure(command: Command) -> anyhow::Result<world::Figures> {
    match command {
        Command::Calls { caller, callee, function, interface, count, batches } => {
            let plan = calls::Plan { function, interface, count, batches };
            calls::measure(&caller, &callee, &plan).await
        }
        Command::Remote { callee, url, rounds } => remote::measure(&callee, &url, rounds).await,
        Command::Keyvalue { caller, reader, rounds } => keyvalue::measure(&caller, &reader, rounds).await,
        Command::Provider { trellis, url, rounds } => provider::measure(&trellis, &url, rounds).await,
        Command::Messages { url, count } => messages::measure(&url, count).await,
        Command::HandleMessages { url } => messages::handle(&url).await,
        Command::Start { component, rounds } => start::measure(&component, rounds).await,
        Command::Idle { component, actors } => idle::measure(&component, actors).await,
        Command::Plan { hosts, rounds } => plan::measure(hosts, rounds),
    }
}
