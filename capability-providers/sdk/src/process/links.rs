//! What a provider that is a process may ask of its links: it travels as calls of an interface that the host answers.

use std::sync::LazyLock;
use std::time::Duration;

use crate::{Answer, Args, Body, Call, CallError, Caller, Context, EntityId, Interface, LinkName, wire};

static LINKS: LazyLock<Interface> =
    LazyLock::new(|| Interface::parse("trellis:host/links@0.1.0").expect("the name is well formed"));
const IS_RUNNING: &str = "is-running";

/// The longest that the host may take, which has the answer at hand.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The process's end: asks through `caller`. A host that does not answer, or is older than the question, says nothing of
/// the target, which is then taken to be there.
pub(super) async fn is_running(caller: &dyn Caller, id: &EntityId, link: &LinkName, interface: &Interface) -> bool {
    let Ok(args) = wire::encode(&(link, interface)) else { return true };
    let call = Call {
        source: id.clone(),
        link: LinkName::default(),
        interface: LINKS.clone(),
        function: IS_RUNNING.into(),
        signature: None,
        context: Context::root(TIMEOUT),
        args,
        body: Body::Empty,
    };
    match tokio::time::timeout(TIMEOUT, caller.call(call)).await {
        Ok(Ok(answer)) => wire::decode(&answer.value).unwrap_or(true),
        _ => true,
    }
}

/// Whether a call is such a question.
pub(super) fn is_asked(call: &Call<Args>) -> bool {
    call.interface == *LINKS
}

/// The host's end: answers from `caller`, which is that of the provider.
pub(super) async fn answer(caller: &dyn Caller, call: Call<Args>) -> Result<Answer<Args>, CallError> {
    let Call { function, args, .. } = call;
    if &*function != IS_RUNNING {
        return Err(CallError::contract(format!("{function} is not a function of {}", *LINKS)));
    }
    let (link, interface): (LinkName, Interface) = wire::decode(&args)?;
    let value = wire::encode(&caller.is_running(&link, &interface).await)?;
    Ok(Answer { value, body: Body::Empty })
}

#[cfg(test)]
mod tests {
    use super::is_running;
    use crate::process::WithHost;
    use crate::testing::{caller_where, id, nobody, records};
    use crate::{Interface, LinkName};

    #[tokio::test]
    async fn a_process_is_told_whether_a_target_runs() {
        let interface = Interface::parse("demo:dice/roller").expect("valid");
        let name = |text: &str| LinkName::parse(text).expect("valid");
        let host = WithHost::new(caller_where(nobody(), |link| link.as_str() == "up"), records());
        let (id, up, down) = (id("dice"), name("up"), name("down"));
        assert!(is_running(&*host, &id, &up, &interface).await);
        assert!(!is_running(&*host, &id, &down, &interface).await);
        assert!(is_running(&*nobody(), &id, &down, &interface).await, "a host that does not know the question");
    }
}
