//! The command line: what is common to all commands. The arguments of a command are in its file in `command/`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use trellis_lattice::id::LatticeName;

use crate::command::{
    app, build, call, completions, config, events, get, host, inspect, keys, label, link, pull, push,
};
use crate::command::{confine, new, par, policy, provider, scale, secret, sign, start, stop, up, wadm};
use crate::output::say;

/// Run WebAssembly actors in a lattice of hosts.
#[derive(Debug, Parser)]
#[command(name = "trellis", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where keys, state and caches are [default: $XDG_DATA_HOME/trellis or ~/.local/share/trellis]
    #[arg(long, global = true, env = "TRELLIS_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The lattice [default: that of the running `trellis up`, else `default`]
    #[arg(long, global = true, env = "TRELLIS_LATTICE", value_name = "NAME")]
    pub(crate) lattice: Option<LatticeName>,
    #[command(flatten)]
    pub(crate) nats: Nats,
    #[command(flatten)]
    pub(crate) registry: Registry,
    /// How results are written to standard output
    #[arg(long, short, global = true, value_enum, default_value = "table", env = "TRELLIS_OUTPUT")]
    pub(crate) output: Format,
    /// What is logged to standard error, e.g. `debug` or `trellis_host=debug,info`
    #[arg(long, global = true, env = "RUST_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How log lines are written
    #[arg(long, global = true, value_enum, default_value = "text", env = "TRELLIS_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// How to reach a nats-server.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Lattice on NATS (without these: the `trellis up` of the data directory)")]
pub(crate) struct Nats {
    /// The nats-server, e.g. nats://127.0.0.1:4222; several for one cluster
    #[arg(long, global = true, env = "TRELLIS_NATS_URL", value_name = "URL", value_delimiter = ',')]
    pub(crate) nats_url: Vec<String>,
    /// A file with a user JWT and its seed, as `nsc` writes it
    #[arg(long, global = true, env = "TRELLIS_NATS_CREDS", value_name = "FILE")]
    pub(crate) nats_creds: Option<PathBuf>,
    /// A file with a token
    #[arg(long, global = true, env = "TRELLIS_NATS_TOKEN_FILE", value_name = "FILE", conflicts_with = "nats_creds")]
    pub(crate) nats_token_file: Option<PathBuf>,
    /// A file with the seed of a user nkey
    #[arg(long, global = true, env = "TRELLIS_NATS_NKEY_FILE", value_name = "FILE",
          conflicts_with_all = ["nats_creds", "nats_token_file"])]
    pub(crate) nats_nkey_file: Option<PathBuf>,
    /// A PEM file with the certificates that sign the server's
    #[arg(long, global = true, env = "TRELLIS_NATS_CA", value_name = "FILE")]
    pub(crate) nats_ca: Option<PathBuf>,
}

/// How to reach registries.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct Registry {
    /// The directory with the `config.json` of `docker login` [default: ~/.docker]
    #[arg(long, global = true, env = "DOCKER_CONFIG", value_name = "DIR")]
    pub(crate) docker_config: Option<PathBuf>,
    /// A registry, as host:port, that is spoken to without TLS; those on loopback are; may be repeated
    #[arg(long, global = true, env = "TRELLIS_INSECURE_REGISTRIES", value_name = "HOST", value_delimiter = ',')]
    pub(crate) insecure_registry: Vec<String>,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole lattice in this process, and serve a component if one is given
    Up(up::Up),
    /// Run a host of a lattice on NATS; or take one out of use, and back
    Host(host::HostArgs),
    /// Run the deployment manager of a lattice on NATS
    Wadm(wadm::WadmArgs),
    /// Deploy applications and see how they stand
    App(app::AppArgs),
    /// Start an actor or a provider
    Start(start::Start),
    /// Stop an actor, a provider or a host
    Stop(stop::Stop),
    /// Change how many instances of an actor may run at once; 0 stops it
    Scale(scale::Scale),
    /// Let one actor or provider call another, or no longer
    Link(link::LinkArgs),
    /// Write, read and delete configs
    Config(config::ConfigArgs),
    /// Write, read and delete policies: how calls over links behave
    Policy(policy::PolicyArgs),
    /// Write secrets, sealed, and say who may read them
    Secret(secret::SecretArgs),
    /// Set and remove labels of hosts
    Label(label::LabelArgs),
    /// Show what is there
    Get(get::Get),
    /// Follow what happens in the lattice
    Events(events::Events),
    /// Call a function of an actor
    Call(call::CallArgs),
    /// Build the actor in the current directory and sign it
    Build(build::Build),
    /// Sign a component
    Sign(sign::Sign),
    /// Put a component into a registry
    Push(push::Push),
    /// Get a component from a registry
    Pull(pull::Pull),
    /// Show what is in a component: claims, imports, exports
    Inspect(inspect::Inspect),
    /// Make, list and use keys
    Keys(keys::Keys),
    /// Write completions for a shell to standard output
    Completions(completions::Completions),
    /// Make, extend and show archives of providers
    Par(par::Par),
    /// Begin an actor or a provider
    New(new::New),
    /// For hosts: run a provider that is built in, as a process
    #[command(hide = true)]
    Provider(provider::ProviderArgs),
    /// For hosts: take limits, then run the program of a provider
    #[command(hide = true)]
    Confine(confine::Confine),
}

/// Says what is wrong with the command line, or prints the help that was asked for.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    if let Some(text) = short(error) {
        say(format_args!("error: {text}\n\nFor more information, try '--help'."));
    } else if error.print().is_err() {
        // Nobody reads standard output: the help was not wanted.
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// What is wrong with a value, without the value: it may be 10 KB long, and our errors show as much of it as helps.
fn short(error: &clap::Error) -> Option<String> {
    let source =
        std::error::Error::source(error).filter(|_| error.kind() == clap::error::ErrorKind::ValueValidation)?;
    let argument = error.get(clap::error::ContextKind::InvalidArg)?;
    Some(format!("{argument}: {source}"))
}

impl Command {
    /// Whether it runs until it is ended, and logs what it does.
    pub(crate) fn is_server(&self) -> bool {
        match self {
            Self::Up(_) | Self::Wadm(_) => true,
            Self::Host(arguments) => arguments.action.is_none(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Cli, short};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_name_is_explained_and_not_repeated_in_full() {
        let long = "x".repeat(10_240);
        for name in ["a.b", "*", ">", "a b", "", &long] {
            let error = Cli::try_parse_from(["trellis", "start", "actor", name, "x.wasm"]).expect_err(name);
            let text = short(&error).expect("a value is wrong");
            assert!(text.contains("<ID>") && text.contains("letters, digits") && text.len() < 500, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (arguments, part) in [
            (&["link", "put", "a", "b", "wasi"][..], "namespace:package"),
            (&["config", "put", "c", "novalue"], "key=value"),
            (&["call", "greeter", "greet(1)"], "namespace:package/interface.function"),
            (&["up", "--host", "a:zone"], "key=value"),
            (&["get", "hosts", "--lattice", "a.b"], "letters, digits"),
        ] {
            let all = ["trellis"].iter().chain(arguments);
            let error = Cli::try_parse_from(all).expect_err("wrong");
            assert!(short(&error).expect("a value is wrong").contains(part), "{error}");
        }
        assert!(Cli::try_parse_from(["trellis", "start", "actor", "a", "x.wasm", "--max", "0"]).is_err());
        assert!(Cli::try_parse_from(["trellis", "nonsense"]).is_err());
    }
}
