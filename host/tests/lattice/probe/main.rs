//! A provider as a process of its own that does what a test asks it to: answer, call, and misbehave in every way.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Mutex;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::Frame;
use rustix::process::{Signal, getpid, kill_process};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Backing, Body, Call, CallError, Context, Description, Environment, Interface, Invocation,
    LinkError, Provider, wire,
};

fn main() -> ExitCode {
    trellis_provider_sdk::run(Probe::make)
}

struct Probe {
    environment: Environment,
    greeting: Mutex<String>,
    /// What only one process can have, as long as this one has a link that says so.
    exclusive: Mutex<Option<File>>,
}

fn echo() -> Interface {
    "test:echo/echo".parse().expect("valid")
}

impl Probe {
    fn make(environment: Environment) -> Result<Self, LinkError> {
        match environment.config.get("start").map(String::as_str) {
            Some("refuse") => return Err(LinkError::Unavailable("no such device".to_owned())),
            Some("exit") => std::process::exit(7),
            _ => {}
        }
        std::fs::write(environment.data_dir.join("started"), "").expect("the directory can be written to");
        tracing::warn!(disk = "a", "probe started");
        Ok(Self { environment, greeting: Mutex::default(), exclusive: Mutex::default() })
    }

    fn lock(&self) -> Result<(), LinkError> {
        let mut exclusive = self.exclusive.lock().expect("not poisoned");
        if exclusive.is_none() {
            let file = File::create(self.environment.data_dir.join("exclusive")).expect("can be written to");
            file.try_lock().map_err(|_| LinkError::Held("the file is locked by another process".to_owned()))?;
            *exclusive = Some(file);
        }
        Ok(())
    }

    /// Who it is, and on whose behalf and over which link it acts.
    fn deputy(&self, invocation: &Invocation<Args>) -> String {
        format!("{} for {} over {}", self.environment.id, invocation.head.source, invocation.head.link)
    }

    async fn obey(&self, order: &str, context: &Context) -> Result<String, CallError> {
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "crash" => std::process::abort(),
            "panic" => panic!("on request"),
            "stop" => {
                kill_process(getpid(), Signal::STOP).expect("stopped");
                // The signal need not have come to every thread yet.
                std::future::pending().await
            }
            "never" => std::future::pending().await,
            "wait" => {
                tokio::time::sleep(Duration::from_millis(rest.parse().expect("a number"))).await;
                Ok("waited".to_owned())
            }
            "exclusive" => match *self.exclusive.lock().expect("not poisoned") {
                Some(_) => Ok("mine".to_owned()),
                None => Err(CallError::provider("another process has it")),
            },
            "pid" => Ok(std::process::id().to_string()),
            "config" => Ok(self.environment.config.get(rest).cloned().unwrap_or_default()),
            "fork" => {
                // The shell is gone at once, and what it leaves behind is nobody's child.
                let mut shell = std::process::Command::new("/bin/sh");
                let output = shell.args(["-c", "/bin/sleep 1000 >/dev/null 2>&1 & echo $!"]).output();
                let printed = output.expect("sh runs").stdout;
                Ok(String::from_utf8_lossy(&printed).trim().to_owned())
            }
            "flood" => {
                flood();
                Ok("flooded".to_owned())
            }
            "inspect" => Ok(inspect()),
            "large" => Ok("x".repeat(rest.parse().expect("a number"))),
            "length" => Ok(rest.len().to_string()),
            "call" => self.call_back(rest, context).await,
            _ => Ok(format!("{}{order}", self.greeting.lock().expect("not poisoned"))),
        }
    }

    /// Calls over its own link, in the name of somebody else.
    async fn call_back(&self, text: &str, context: &Context) -> Result<String, CallError> {
        let call = Call {
            source: "somebody-else".parse().expect("valid"),
            link: Default::default(),
            interface: echo(),
            function: "text".into(),
            signature: None,
            context: context.nested(),
            args: wire::encode(&(text,))?,
            body: Body::Empty,
        };
        wire::decode(&self.environment.caller.call(call).await?.value)
    }
}

/// More than a log should take.
fn flood() {
    let line = [b'x'; 1_000];
    for _ in 0..20_000 {
        let _ = std::io::stdout().write_all(&line);
        let _ = std::io::stderr().write_all(b"flood\n");
    }
}

/// What of its environment a process sees: names of variables, arguments, where descriptors lead.
fn inspect() -> String {
    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut files = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").expect("Linux").flatten() {
        let target = std::fs::read_link(entry.path()).map(|path| path.display().to_string()).unwrap_or_default();
        files.push(target);
    }
    serde_json::json!({"variables": names, "arguments": arguments, "files": files}).to_string()
}

/// A body without an end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 64 << 10])))))
    }
}

#[async_trait]
impl Provider for Probe {
    fn description(&self) -> Description {
        Description { name: "probe as a process".into(), serves: vec![echo()], calls: vec![echo()] }
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        match self.environment.config.get("links").map(String::as_str) {
            Some("held") => return Err(LinkError::Held("somebody has it for good".to_owned())),
            Some("refused") => return Err(LinkError::Unavailable("no such device".to_owned())),
            _ => {}
        }
        if link.config.contains_key("exclusive") {
            self.lock()?;
        }
        let greeting = link.config.get("greeting").cloned().unwrap_or_default();
        if greeting == "refuse" || (greeting == "once" && self.environment.data_dir.join("linked").exists()) {
            return Err(LinkError::Unavailable("the port is in use".to_owned()));
        }
        std::fs::write(self.environment.data_dir.join("linked"), "").expect("the directory can be written to");
        if link.config.contains_key("greeting") {
            *self.greeting.lock().expect("not poisoned") = greeting;
        }
        Ok(())
    }

    async fn link_down(&self, link: &ActiveLink) {
        if link.config.contains_key("exclusive") {
            *self.exclusive.lock().expect("not poisoned") = None;
        }
    }

    fn backing(&self, link: &ActiveLink) -> Backing {
        match link.config.get("greeting").map(String::as_str) {
            Some("server ") => Backing::Server,
            _ => Backing::Machine,
        }
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        match &*invocation.head.function {
            "endless" => return Ok(Answer { value: wire::encode(&"")?, body: Body::stream(Endless) }),
            "who" => return wire::answer(&self.deputy(&invocation)),
            "mirror" => return Ok(Answer { value: invocation.args, body: invocation.body }),
            _ => {}
        }
        let (order,): (String,) = wire::decode(&invocation.args)?;
        let told = self.obey(&order, &invocation.head.context).await?;
        Ok(Answer { value: wire::encode(&told)?, body: Body::Empty })
    }

    async fn drain(&self, _: Duration) {}
}
