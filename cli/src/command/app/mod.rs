//! `trellis app`: applications that wadm keeps running.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use trellis_wadm::api::{Client, DeleteResult, DeployResult, GetResult, Request, StatusResult};

use crate::context::Context;
use crate::output::{describe, say};

pub(crate) mod file;
mod fit;
mod plan;
mod show;
pub(crate) mod wait;

use self::file::File;
use self::plan::Preview;
use self::wait::Wait;

/// How long wadm may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct AppArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check a manifest, without a lattice
    Validate {
        /// The manifest, YAML or JSON; `-` is standard input
        file: PathBuf,
    },
    /// Show what deploying a manifest, or a version that wadm has, would do
    Plan {
        #[command(flatten)]
        subject: Subject,
        /// Fail if it has problems, or if callers and targets would not fit together
        #[arg(long)]
        check: bool,
    },
    /// Deploy a manifest, or a version that wadm has
    Deploy(Deploy),
    /// Show how applications stand
    Status {
        /// The application [default: all]
        app: Option<String>,
    },
    /// List the applications
    List,
    /// Print the manifest of a version
    Get {
        /// The application
        app: String,
        /// The version [default: the last one]
        #[arg(long)]
        version: Option<String>,
    },
    /// List the versions of an application
    Versions {
        /// The application
        app: String,
    },
    /// Show what was done to an application, when and by whom
    History {
        /// The application
        app: String,
    },
    /// Deploy an earlier version
    Rollback {
        /// The application
        app: String,
        /// The version [default: the one that was deployed before]
        #[arg(long)]
        to: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Stop what runs of an application; its versions stay
    Undeploy {
        /// The application
        app: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Delete an application, or one version of it
    Delete {
        /// The application
        app: String,
        /// The version [default: all]
        #[arg(long)]
        version: Option<String>,
    },
}

/// What is to be planned or deployed.
#[derive(Debug, Args)]
struct Subject {
    /// A manifest (a file, or `-` for standard input), or the name of an application that wadm has
    #[arg(value_name = "FILE|APP")]
    subject: String,
    /// The version of an application that wadm has [default: the last one]
    #[arg(long)]
    version: Option<String>,
}

/// What a subject means. A manifest on standard input can be read once.
enum Meant {
    /// A manifest.
    File(File),
    /// An application that wadm has, and its version.
    Version(String, Option<String>),
}

impl Meant {
    fn find(subject: &Subject) -> anyhow::Result<Self> {
        let version = || Self::Version(subject.subject.clone(), subject.version.clone());
        Ok(File::find(&subject.subject)?.map_or_else(version, Self::File))
    }
}

#[derive(Debug, Args)]
struct Deploy {
    #[command(flatten)]
    subject: Subject,
    /// Show what it would do, and do nothing
    #[arg(long)]
    plan: bool,
    /// Deploy it although callers and targets would not fit together
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: Wait,
}

/// What becomes of a plan that has something wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// It is shown.
    Show,
    /// It is shown, and the command fails.
    Fail,
}

pub(crate) async fn run(context: &Context, arguments: AppArgs) -> anyhow::Result<()> {
    if let What::Validate { file } = &arguments.what {
        return file::validate(context, file);
    }
    let lattice = context.connect().await?;
    let client = Client::new(lattice.transport.clone(), &lattice.lattice, PATIENCE);
    let work = act(context, &client, arguments.what);
    work.await.with_context(|| format!("ask the wadm of lattice {}", lattice.lattice))
}

async fn act(context: &Context, client: &Client, what: What) -> anyhow::Result<()> {
    match what {
        What::Validate { .. } => Ok(()),
        What::Plan { subject, check } => {
            let check = if check { Check::Fail } else { Check::Show };
            plan::show(context, client, &subject, check).await
        }
        What::Deploy(deploy) if deploy.plan => plan::show(context, client, &deploy.subject, Check::Show).await,
        What::Deploy(deploy) => self::deploy(context, client, &deploy).await,
        What::Status { app: Some(app) } => show::status(context, client, &app).await,
        What::Status { app: None } | What::List => show::list(context, client).await,
        What::Get { app, version } => show::manifest(context, client, &app, version).await,
        What::Versions { app } => show::versions(context, client, &app).await,
        What::History { app } => show::history(context, client, &app).await,
        What::Rollback { app, to, wait } => {
            let reply = client.roll_back(&app, &request(to)).await?;
            accepted(reply.result, &reply.message)?;
            wait.run(context, client, &app, reply.generation).await
        }
        What::Undeploy { app, wait } => {
            let reply = client.undeploy(&app, &request(None)).await?;
            accepted(reply.result, &reply.message)?;
            wait.run(context, client, &app, reply.generation).await
        }
        What::Delete { app, version } => delete(context, client, &app, version).await,
    }
}

async fn deploy(context: &Context, client: &Client, deploy: &Deploy) -> anyhow::Result<()> {
    let meant = Meant::find(&deploy.subject)?;
    if !deploy.force {
        match Preview::of(context, client, &meant).await {
            Ok(preview) => preview.require_fit()?,
            // A wadm that cannot plan now may deploy all the same.
            Err(error) => say(format_args!("note: not checked whether callers fit: {}", describe(&error))),
        }
    }
    let (app, version) = match meant {
        Meant::File(file) => {
            let put = file.put(client).await?;
            (put.name, Some(put.current_version))
        }
        Meant::Version(app, version) => (app, version),
    };
    let reply = client.deploy(&app, &request(version)).await?;
    accepted(reply.result, &reply.message)?;
    deploy.wait.run(context, client, &app, reply.generation).await
}

async fn delete(context: &Context, client: &Client, app: &str, version: Option<String>) -> anyhow::Result<()> {
    let reply = client.delete(app, &request(version)).await?;
    match reply.result {
        DeleteResult::Error => bail!(reply.message),
        DeleteResult::Deleted | DeleteResult::Noop => context.output.result(&reply, &reply.message),
    }
}

/// A request about `version`, in the name of this user.
pub(crate) fn request(version: Option<String>) -> Request {
    Request { version, who: Some(whoami()), why: None }
}

/// For the history only: who asks is known by the credentials of the connection.
fn whoami() -> String {
    let user = rustix::process::getuid().as_raw();
    format!("uid {user} by trellis {}", env!("CARGO_PKG_VERSION"))
}

/// Fails with what wadm says, if it refuses.
pub(crate) fn accepted(result: DeployResult, message: &str) -> anyhow::Result<()> {
    match result {
        DeployResult::Acknowledged => Ok(()),
        DeployResult::Error | DeployResult::NotFound => bail!(message.to_owned()),
    }
}

fn found(result: GetResult, message: &str) -> anyhow::Result<()> {
    match result {
        GetResult::Success => Ok(()),
        GetResult::Error | GetResult::NotFound => bail!(message.to_owned()),
    }
}

fn stands(result: StatusResult, message: &str) -> anyhow::Result<()> {
    match result {
        StatusResult::Ok => Ok(()),
        StatusResult::Error | StatusResult::NotFound => bail!(message.to_owned()),
    }
}
