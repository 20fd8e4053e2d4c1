//! The reference that the benchmarks compare Trellis with: the same engine settings and nothing else.
//!
//! No routing, no links, no limits, no deadlines. `native` is a hyper server without WebAssembly.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod calls;
mod engine;
mod http_02;
mod http_03;
mod native;
mod serve;

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

#[tokio::main(flavor = "multi_thread")]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Http02 { component, address } => http_02::serve(&component, address).await,
        Command::Http03 { component, address } => http_03::serve(&component, address).await,
        Command::Native { address } => native::serve(address).await,
        Command::Calls { caller, callee, function, count, batches, concurrent } => {
            let kind = if concurrent { engine::Kind::Concurrent } else { engine::Kind::Plain };
            let plan = calls::Plan { count, batches, kind };
            let nanoseconds = calls::measure(&caller, &callee, &function, plan).await?;
            println!("{}", serde_json::to_string(&nanoseconds)?);
            Ok(())
        }
    }
}
