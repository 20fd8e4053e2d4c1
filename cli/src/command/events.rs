//! `trellis events`: what happens in the lattice, as it happens.

use clap::Args;
use futures::StreamExt as _;
use serde_json::Value;
use trellis_lattice::message::event::CloudEvent;
use trellis_lattice::subject;

use crate::context::Context;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only events of these names, e.g. component_scaled
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// End after so many
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

pub(crate) async fn run(context: &Context, arguments: Events) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    let mut events = lattice.transport.subscribe(subject::events(&lattice.lattice), None).await?;
    let mut left = arguments.count;
    while left != Some(0) {
        let Some(message) = events.next().await else { break };
        let Ok(event) = serde_json::from_slice::<CloudEvent>(&message.payload) else { continue };
        if !arguments.only.is_empty() && !arguments.only.iter().any(|name| name == event.name()) {
            continue;
        }
        context.output.line(&event, line(&event))?;
        left = left.map(|left| left - 1);
    }
    Ok(())
}

/// When, who, what, and about what.
fn line(event: &CloudEvent) -> String {
    let host: String = event.source.as_str().chars().take(8).collect();
    format!("{}  {host}  {:<23}  {}", event.time, event.name(), about(&event.data))
}

/// The members that tell one event from the next; the rest is in the JSON form.
fn about(data: &Value) -> String {
    const TOLD: [&str; 12] = [
        "friendly_name",
        "component_id",
        "provider_id",
        "image_ref",
        "provider_ref",
        "max_instances",
        "source_id",
        "target",
        "name",
        "config_name",
        "reason",
        "error",
    ];
    let member = |name: &str| match data.get(name)? {
        Value::String(text) => Some(format!("{name}={text}")),
        Value::Number(number) => Some(format!("{name}={number}")),
        _ => None,
    };
    TOLD.into_iter().filter_map(member).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_line_says_what_the_event_is_about() {
        let data = json!({"host_id": "N", "component_id": "hello", "max_instances": 3, "annotations": {"a": "b"}});
        assert_eq!(super::about(&data), "component_id=hello max_instances=3");
        assert_eq!(super::about(&json!({})), "");
    }
}
