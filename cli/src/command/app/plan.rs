//! `trellis app plan`: what would change, who would be allowed what, whether callers and targets would still fit, and
//! which hosts would do it, and why.

use anyhow::bail;
use serde::Serialize;
use trellis_wadm::api::{Client, Difference, ExplanationInfo, Grant, PlanReply};

use super::fit::{self, Fit};
use super::{Check, Meant, Subject, found, request};
use crate::context::Context;
use crate::output::say;

/// What deploying something would do.
#[derive(Debug, Serialize)]
pub(super) struct Preview {
    #[serde(flatten)]
    plan: PlanReply,
    /// Whether actors that call each other fit together, as far as one of them is new.
    compatibility: Vec<Fit>,
}

impl Preview {
    /// What deploying `meant` would do.
    pub(super) async fn of(context: &Context, client: &Client, meant: &Meant) -> anyhow::Result<Self> {
        let plan = match meant {
            Meant::File(file) => client.plan(file.to_json()).await?,
            Meant::Version(app, version) => client.plan_version(app, &request(version.clone())).await?,
        };
        found(plan.result, &plan.message)?;
        let compatibility = fit::check(context, &plan.calls).await;
        Ok(Self { plan, compatibility })
    }

    /// Refuses to go on when calls would fail afterwards; says what else is to know.
    pub(super) fn require_fit(&self) -> anyhow::Result<()> {
        let broken = lines(self.compatibility.iter().filter(|fit| fit.is_broken()));
        if !broken.is_empty() {
            bail!(
                "callers and targets would not fit together:\n  {}\ndeploy what fits together in one manifest, or add \
                 --force if these calls may fail",
                broken.join("\n  ")
            );
        }
        let doubtful = lines(self.compatibility.iter().filter(|fit| fit.is_doubtful()));
        doubtful.iter().for_each(|line| say(format_args!("note: {line}")));
        Ok(())
    }
}

/// Shows what deploying `subject` would do.
pub(super) async fn show(context: &Context, client: &Client, subject: &Subject, check: Check) -> anyhow::Result<()> {
    let preview = Preview::of(context, client, &Meant::find(subject)?).await?;
    context.output.result(&preview, text(&preview))?;
    let broken = preview.compatibility.iter().filter(|fit| fit.is_broken()).count();
    let problems = preview.plan.problems.len();
    if check == Check::Fail && broken + problems > 0 {
        bail!("{problems} problems, and {broken} contracts that would not fit");
    }
    Ok(())
}

fn lines<'f>(fits: impl Iterator<Item = &'f Fit>) -> Vec<String> {
    fits.map(ToString::to_string).collect()
}

fn text(Preview { plan, compatibility }: &Preview) -> String {
    let mut lines = vec![format!("application {}", plan.name)];
    difference(&plan.difference, &mut lines);
    section("permissions", permissions(&plan.difference), &mut lines);
    section("compatibility", self::lines(compatibility.iter()), &mut lines);
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
