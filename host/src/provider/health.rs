//! How a provider is, and which event says so: passed and failed on a change, else status. Pure.

use trellis_lattice::message::event::EventName;
use trellis_provider_sdk::Health;

/// What the last health check said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    /// None was made yet. Leads out: the first check.
    #[default]
    Unknown,
    /// All was well. Leads out: a check that fails.
    Passing,
    /// Something was not. Leads out: a check that passes.
    Failing,
}

/// The state after a check, and the event for it.
pub(super) fn step(state: State, check: &Health) -> (State, EventName) {
    let next = match check {
        Health::Healthy => State::Passing,
        Health::Unhealthy(_) => State::Failing,
    };
    let event = match next {
        same if same == state => EventName::HealthCheckStatus,
        State::Failing => EventName::HealthCheckFailed,
        State::Passing | State::Unknown => EventName::HealthCheckPassed,
    };
    (next, event)
}

#[cfg(test)]
mod tests {
    use super::{State, step};
    use trellis_lattice::message::event::EventName;
    use trellis_provider_sdk::Health;

    #[test]
    fn passed_and_failed_are_said_once_each_change() {
        let ill = || Health::Unhealthy("disk".to_owned());
        let checks = [Health::Healthy, Health::Healthy, ill(), ill(), Health::Healthy];
        let mut state = State::default();
        let events = checks.map(|check| {
            let (next, event) = step(state, &check);
            state = next;
            event
        });
        let (passed, failed, status) =
            (EventName::HealthCheckPassed, EventName::HealthCheckFailed, EventName::HealthCheckStatus);
        assert_eq!(events, [passed, status, failed, status, passed]);
    }
}
