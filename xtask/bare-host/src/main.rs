//! The reference that the benchmarks compare Trellis with: the same engine settings and nothing else.
//!
//! No routing, no links, no limits, no deadlines. `native` is a hyper server without WebAssembly.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

mod calls;
mod engine;
mod http_02;
mod http_03;
mod load;
mod native;
mod proxy;
mod serve;

/// As in `trellis`, so that it makes no difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A host with nothing in it.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves a wasi:http 0.2 component, a fresh instance per request.
    Http02 {
        /// The component.
        component: PathBuf,
        /// Where to listen.
        address: SocketAddr,
    },
    /// Serves a wasi:http 0.3 component with instance reuse, one request at a time in each.
    Http03 {
        /// The component.
        component: PathBuf,
        /// Where to listen.
        address: SocketAddr,
    },
    /// Answers every request from native code.
    Native {
        /// Where to listen.
        address: SocketAddr,
    },
    /// Passes every request on to a server, by native code over kept connections.
    Proxy {
        /// The server.
        upstream: SocketAddr,
        /// Where to listen.
        address: SocketAddr,
    },
    /// Asks a server as fast as it answers; prints answers per second.
    Load {
        /// The server.
        address: SocketAddr,
        /// What is asked for.
        #[arg(long, default_value = "/")]
        path: String,
        /// Connections at once.
        #[arg(long, default_value_t = 64)]
        connections: u32,
        /// How long, in milliseconds.
        #[arg(long, default_value_t = 1_000)]
        time_ms: u64,
    },
    /// Times calls from one component to another in a loop; prints nanoseconds per call as JSON.
    Calls {
        /// The component that calls in a loop.
        caller: PathBuf,
        /// The component that is called, a fresh instance each time.
        callee: PathBuf,
        /// The loop to run: a function that `caller` exports, with a `u32` count.
        function: String,
        /// Calls per batch.
        #[arg(long, default_value_t = 2_000)]
        count: u32,
        /// Batches.
        #[arg(long, default_value_t = 21)]
        batches: u32,
        /// Take the engine with component-model async, which async functions need.
        #[arg(long)]
        concurrent: bool,
    },
}

fn main() -> anyhow::Result<()> {
    let command = Arguments::parse().command;
    if let Command::Load { address, path, connections, time_ms } = command {
        let answered = load::run(address, &path, connections, Duration::from_millis(time_ms))?;
        println!("{}", answered.requests as f64 / answered.elapsed.as_secs_f64());
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(serve(command))
}

async fn serve(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Load { .. } => Ok(()),
        Command::Http02 { component, address } => http_02::serve(&component, address).await,
        Command::Http03 { component, address } => http_03::serve(&component, address).await,
        Command::Native { address } => native::serve(address).await,
        Command::Proxy { upstream, address } => proxy::serve(upstream, address).await,
        Command::Calls { caller, callee, function, count, batches, concurrent } => {
            let kind = if concurrent { engine::Kind::Concurrent } else { engine::Kind::Plain };
            let plan = calls::Plan { count, batches, kind };
            let nanoseconds = calls::measure(&caller, &callee, &function, plan).await?;
            println!("{}", serde_json::to_string(&nanoseconds)?);
            Ok(())
        }
    }
}
