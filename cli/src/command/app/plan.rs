//! `trellis app plan`: what would change, who would be allowed what, and which hosts would do it, and why.

use trellis_wadm::api::{Client, Difference, ExplanationInfo, Grant, PlanReply};

use super::file::File;
use super::{Subject, found, request};
use crate::context::Context;

/// Shows what deploying `subject` would do.
pub(super) async fn show(context: &Context, client: &Client, subject: &Subject) -> anyhow::Result<()> {
    let reply = match File::find(&subject.subject)? {
        Some(file) => client.plan(file.to_json()).await?,
        None => client.plan_version(&subject.subject, &request(subject.version.clone())).await?,
    };
    found(reply.result, &reply.message)?;
    context.output.result(&reply, text(&reply))
}

fn text(plan: &PlanReply) -> String {
    let mut lines = vec![format!("application {}", plan.name)];
    difference(&plan.difference, &mut lines);
    section("permissions", permissions(&plan.difference), &mut lines);
    section("actions", plan.actions.clone(), &mut lines);
    section("placement", plan.explanations.iter().flat_map(placement).collect(), &mut lines);
    section("waits", plan.waits.clone(), &mut lines);
    section("problems", plan.problems.clone(), &mut lines);
    if plan.actions.is_empty() && plan.problems.is_empty() && plan.waits.is_empty() {
        lines.push("nothing to do: it is so already".to_owned());
    }
    lines.join("\n")
}

fn difference(difference: &Difference, lines: &mut Vec<String>) {
    let mut found: Vec<String> = difference.added.iter().map(|name| format!("+ {name}")).collect();
    found.extend(difference.removed.iter().map(|name| format!("- {name}")));
    for (name, changes) in &difference.changed {
        found.extend(changes.iter().map(|change| format!("~ {name}: {change}")));
    }
    section("changes", found, lines);
}

fn permissions(difference: &Difference) -> Vec<String> {
    let line = |sign: &str, grant: &Grant| {
        format!("{sign} {} may call {} of {}", grant.component, grant.contract, grant.target)
    };
    let gained = difference.gained.iter().map(|grant| line("+", grant));
    gained.chain(difference.lost.iter().map(|grant| line("-", grant))).collect()
}

fn placement(why: &ExplanationInfo) -> Vec<String> {
    let mut lines = vec![format!("{} ({}): {}", why.component, why.spread, why.share)];
    lines.extend(why.chosen.iter().map(|host| format!("  on {}: {}, {}", host.host, host.count, host.why)));
    lines.extend(why.rejected.iter().map(|host| format!("  not on {}: {}", host.host, host.why)));
    lines.extend(why.more_rejected.iter().map(|(reason, count)| format!("  nor on {count} more: {reason}")));
    lines
}

fn section(title: &str, content: Vec<String>, lines: &mut Vec<String>) {
    if !content.is_empty() {
        lines.push(format!("{title}:"));
        lines.extend(content.into_iter().map(|line| format!("  {line}")));
    }
}
