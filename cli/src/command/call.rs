//! `trellis call`: a function of an actor, with arguments and result in WAVE text.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use trellis_lattice::body::Body;
use trellis_lattice::contract::{Interface, Signature};
use trellis_lattice::id::{EntityId, IssuerId, LinkName};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::peer::Identity;
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::message::invocation::{Context as CallContext, Encoding, Head, Invocation};
use trellis_lattice::message::presence::Presence;
use trellis_lattice::rpc::{Join, Peer};

use crate::context::{Connected, Context};
use crate::data_dir;
use crate::key_store::{Grant, issue, now_unix_seconds, public_halves};

/// The id under which the command line calls, when its token names no other.
const SELF: &str = "trellis-cli";

/// How long a token holds that is signed for one call.
const TOKEN_SECONDS: u64 = 300;

/// The largest result that is printed, in bytes.
const MAX_RESULT_BYTES: usize = 16 << 20;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The id of the actor
    target: EntityId,
    /// The function with its arguments, e.g. 'demo:greet/greeter.greet({name: "Ada"})'
    #[arg(value_name = "INTERFACE.FUNCTION(ARGUMENTS)")]
    expression: Expression,
    /// How long it may take, in milliseconds
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    timeout_ms: u64,
    /// A file with a token that allows the call [default: one signed by the authority of the data directory]
    #[arg(long, env = "TRELLIS_CALLER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The name of the user key that the token is for
    #[arg(long, default_value = "default", value_name = "NAME")]
    user: String,
}

/// A call as text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expression {
    interface: Interface,
    function: String,
    /// WAVE, in parentheses.
    arguments: String,
}

impl std::str::FromStr for Expression {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let form = || {
            let shown: String = text.chars().take(200).collect();
            anyhow!(
                "{shown:?} is not of the form namespace:package/interface.function(arguments), e.g. \
                 'demo:greet/greeter.greet(\"Ada\")'"
            )
        };
        let text = text.trim();
        let (path, arguments) = match text.find('(') {
            Some(at) if text.ends_with(')') => text.split_at(at),
            Some(_) => return Err(form()),
            None => (text, "()"),
        };
        // The last dot: a version has dots too.
        let (interface, function) = path.rsplit_once('.').ok_or_else(form)?;
        let interface = Interface::parse(interface).map_err(|_| form())?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if function.is_empty() || function.len() > 128 || !function.chars().all(is_name) {
            return Err(form());
        }
        Ok(Self { interface, function: function.to_owned(), arguments: arguments.to_owned() })
    }
}

pub(crate) async fn run(context: &Context, arguments: CallArgs) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    let (identity, trust) = identity(context, &lattice, &arguments)?;
    let CallArgs { target, expression, timeout_ms, .. } = arguments;
    let source = identity.claims.entity.clone().map_or_else(|| EntityId::parse(SELF), Ok)?;
    let join = Join { lattice: lattice.lattice.clone(), identity, trust: Arc::new(trust), site: None };
    let peer = Peer::join(Arc::clone(&lattice.transport), join, None).await.context("join the lattice to call")?;
    peer.until_known(&target).await;
    let interface = exported(&peer.present(), &target, &expression.interface)
        .with_context(|| format!("call {target} in lattice {}", lattice.lattice))?;
    let attempt = format!("call {interface}.{} of {target}", expression.function);
    let head = Head {
        id: uuid::Uuid::now_v7(),
        source,
        target,
        link: LinkName::default(),
        interface,
        function: expression.function.into(),
        signature: None,
        encoding: Encoding::Wave,
        attempt: 1,
        grant_epoch: 0,
        context: CallContext::root(Duration::from_millis(timeout_ms)),
    };
    let invocation = Invocation { head, args: Bytes::from(expression.arguments), body: Body::Empty };
    let answer = context.output.waiting(attempt.clone(), peer.call(invocation)).await.context(attempt)?;
    let result = String::from_utf8(answer.value.to_vec()).context("the result is not text")?;
    if result.len() > MAX_RESULT_BYTES {
        bail!("the result is {} bytes of text; {MAX_RESULT_BYTES} are printed at most", result.len());
    }
    peer.leave(Duration::ZERO).await;
    context.output.result(&json!({"result": result}), &result)
}

/// Who calls, and whom it believes: by the token that was given, or by one that the authority signs now for this call.
fn identity(context: &Context, lattice: &Connected, call: &CallArgs) -> anyhow::Result<(Identity, Trust)> {
    let (key, token) = match &call.token_file {
        Some(file) => (context.keys.get(KeyKind::User, &call.user)?, data_dir::read_private(file)?),
        None => {
            let authority = context.keys.authority()?.ok_or_else(|| {
                anyhow!(
                    "data directory {} has no authority that could allow the call; give a token that it signed with \
                     --token-file (`trellis keys issue caller` where the authority is)",
                    context.data.path().display()
                )
            })?;
            let key = context.keys.get_or_make(KeyKind::User, &call.user)?;
            let token = own_token(&authority, lattice, &key, call)?;
            (key, token)
        }
    };
    let identity = Identity::new(&key, token, now_unix_seconds()).context("use the caller's token")?;
    let trust = Trust { authority: IssuerId::clone(&identity.claims.issuer), issuers: [].into() };
    Ok((identity, trust))
}

fn own_token(authority: &Key, lattice: &Connected, key: &Key, call: &CallArgs) -> anyhow::Result<String> {
    let grant = Grant {
        entity: Some(EntityId::parse(SELF)?),
        call: vec![format!("{}/{}", call.target, call.expression.interface.without_version())],
        lifetime_seconds: TOKEN_SECONDS,
        ..Grant::default()
    };
    issue(authority, &lattice.lattice, public_halves(key)?, grant)
}

/// The interface as `target` exports it: with its version, if it was asked for without one.
fn exported(present: &[Arc<Presence>], target: &EntityId, wanted: &Interface) -> anyhow::Result<Interface> {
    let mut exports: Vec<&(Interface, Option<Signature>)> = Vec::new();
    let mut runs = false;
    for running in present.iter().flat_map(|presence| &presence.running).filter(|running| running.id == *target) {
        runs = true;
        exports.extend(&running.exports);
    }
    if !runs {
        bail!("nobody runs {target} (`trellis get inventory`)");
    }
    let names = || exports.iter().map(|(interface, _)| interface);
    if let Some(exact) = names().find(|interface| *interface == wanted) {
        return Ok(exact.clone());
    }
    let same = |interface: &&Interface| interface.without_version() == wanted.without_version();
    match names().find(same) {
        Some(interface) if wanted.version().is_none() => Ok(interface.clone()),
        _ => {
            let mut known: Vec<String> = names().map(ToString::to_string).collect();
            known.sort();
            known.dedup();
            bail!("{target} does not export {wanted}; it exports {}", known.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trellis_lattice::id::{BootId, PeerId};
    use trellis_lattice::identity::key::{Key, KeyKind};
    use trellis_lattice::message::presence::{Presence, Running, State};

    use super::{Expression, exported};

    #[test]
    fn a_call_is_interface_function_and_arguments() {
        for (text, interface, function, arguments) in [
            ("demo:greet/greeter.greet(\"Ada\")", "demo:greet/greeter", "greet", "(\"Ada\")"),
            ("a:b/c@0.2.0-draft.f-g({x: \"(.)\"}, [1])", "a:b/c@0.2.0-draft", "f-g", "({x: \"(.)\"}, [1])"),
            (" a:b/c.f ", "a:b/c", "f", "()"),
        ] {
            let expected = Expression {
                interface: interface.parse().expect("valid"),
                function: function.to_owned(),
                arguments: arguments.to_owned(),
            };
            assert_eq!(text.parse::<Expression>().expect(text), expected);
        }
        for bad in ["", "greet", "greet(1)", "a:b/c(1)", "a:b/c.(1)", "a:b/c.f(1", "a:b/c.f)1(", "a:b/c.f g()"] {
            let error = bad.parse::<Expression>().expect_err(bad).to_string();
            assert!(error.contains("namespace:package/interface.function"), "{error}");
        }
    }

    fn runs(id: &str, exports: &[&str]) -> Arc<Presence> {
        let exports = exports.iter().map(|name| (name.parse().expect("valid"), None)).collect();
        Arc::new(Presence {
            peer: PeerId::parse(&Key::generate(KeyKind::Host).public()).expect("valid"),
            token: String::new(),
            boot: BootId::random(),
            sequence: 1,
            started_at_ms: 0,
            said_at_ms: 0,
            site: None,
            state: State::Ready,
            running: vec![Running { id: id.parse().expect("valid"), exports }],
        })
    }

    #[test]
    fn the_version_is_that_of_the_export_unless_it_was_given() {
        let present = [runs("greeter", &["demo:greet/greeter@1.0.0", "wasi:http/handler@0.3.0"])];
        let find = |target: &str, wanted: &str| {
            exported(&present, &target.parse().expect("valid"), &wanted.parse().expect("valid"))
                .map(|interface| interface.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(find("greeter", "demo:greet/greeter"), Ok("demo:greet/greeter@1.0.0".to_owned()));
        assert_eq!(find("greeter", "demo:greet/greeter@1.0.0"), Ok("demo:greet/greeter@1.0.0".to_owned()));
        let error = find("greeter", "demo:greet/greeter@2.0.0").expect_err("another version");
        assert!(error.contains("it exports demo:greet/greeter@1.0.0, wasi:http/handler@0.3.0"), "{error}");
        assert!(find("other", "demo:greet/greeter").expect_err("not there").contains("nobody runs other"));
    }
}
