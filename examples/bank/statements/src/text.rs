//! A statement as text: one line an entry, and what they come to.

use std::fmt::Write as _;

use crate::demo::bank::books::{self, Mark};
use crate::demo::bank::types::Fault;
use crate::month::{Month, day_of};

/// The statement of an account for a month.
pub(crate) fn write(account: &str, month: Month) -> Result<String, Fault> {
    let mut text = format!("Statement of {account} for {month}\n");
    let (mut after, mut sum, mut count) = (None, 0, 0);
    loop {
        let entries = books::entries(account, month.span(), after.as_ref())?;
        let Some(last) = entries.last() else { break };
        after = Some(Mark { at_ms: last.at_ms, transfer: last.transfer.clone() });
        for entry in &entries {
            let day = day_of(entry.at_ms);
            let _ = writeln!(
                text,
                "{day}  {}  {:>14}  {}  {}",
                entry.transfer,
                money(entry.amount),
                entry.counterpart,
                entry.reference
            );
            sum += entry.amount;
            count += 1;
        }
    }
    let _ = writeln!(text, "{count} entries, together {}", money(sum));
    Ok(text)
}

/// An amount with two digits behind the point.
fn money(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    format!("{sign}{}.{:02}", amount / 100, amount % 100)
}
