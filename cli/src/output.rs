//! What a command says: payload on standard output as a table or JSON, talk and waiting on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use trellis_host::artifact::registry::Progress;

use crate::args::Format;

/// Waits that are shorter show nothing.
const SHOW_AFTER: Duration = Duration::from_millis(500);

/// Where a command's results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Writes `value` as JSON, or `rows` as a table under `header`.
    pub(crate) fn list<T: Serialize, const N: usize>(
        self,
        value: &T,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.json(value),
            Format::Table => write_line(&table(header, rows)),
        }
    }

    /// Writes `value` as JSON, or `text` for people.
    pub(crate) fn result<T: Serialize>(self, value: &T, text: impl AsRef<str>) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.json(value),
            Format::Table => write_line(text.as_ref()),
        }
    }

    /// Writes `value` as one line of JSON, or `text` for people: for what comes one after the other.
    pub(crate) fn line<T: Serialize>(self, value: &T, text: impl AsRef<str>) -> anyhow::Result<()> {
        match self.format {
            Format::Json => write_line(&serde_json::to_string(value).context("write the result as JSON")?),
            Format::Table => write_line(text.as_ref()),
        }
    }

    /// The same list again, in the place of the one before: on a terminal the screen is cleared, for programs each is
    /// one line of JSON.
    pub(crate) fn again<T: Serialize, const N: usize>(
        self,
        value: &T,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> anyhow::Result<()> {
        const CLEAR: &str = "\x1b[2J\x1b[H";
        let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
        self.line(value, format!("{clear}{}", table(header, rows)))
    }

    /// A bar on a terminal for a transfer of `total` bytes, and what moves it.
    pub(crate) fn transfer(self, what: String, total: u64) -> (ProgressBar, Progress) {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(total) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}");
        let bar = bar.with_style(style.expect("the template is valid")).with_message(what);
        let moved = bar.clone();
        (bar, Arc::new(move |done, _| moved.set_position(done)))
    }

    fn json<T: Serialize>(self, value: &T) -> anyhow::Result<()> {
        write_line(&serde_json::to_string_pretty(value).context("write the result as JSON")?)
    }

    /// Awaits `work`; on a terminal, says `what` while it lasts longer than half a second.
    pub(crate) async fn waiting<T>(self, what: String, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if let Ok(done) = tokio::time::timeout(SHOW_AFTER, &mut work).await {
            return done;
        }
        if !std::io::stderr().is_terminal() {
            return work.await;
        }
        let spinner = ProgressBar::new_spinner().with_message(what);
        spinner.enable_steady_tick(Duration::from_millis(100));
        let done = work.await;
        spinner.finish_and_clear();
        done
    }
}

/// Says something to people.
pub(crate) fn say(text: impl std::fmt::Display) {
    // When nobody listens on standard error there is nobody to tell that.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says why a command failed.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    say(format_args!("error: {}", describe(error)));
    ExitCode::FAILURE
}

/// An error and its causes in one line; a cause that the text before it repeats is left out.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn write_line(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // The reader has what it wanted, e.g. `trellis get links | head -1`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write the result to standard output"),
    }
}

fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

/// `a=1, b=2`, for a cell of a table.
pub(crate) fn pairs<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    map.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn an_error_names_each_cause_once() {
        let error = anyhow!("no such file").context("read a.wasm: no such file").context("start actor a");
        assert_eq!(super::describe(&error), "start actor a: read a.wasm: no such file");
    }

    #[test]
    fn a_table_has_a_header_and_a_line_a_row() {
        let table = super::table(["id", "name"], [["1".to_owned(), "one".to_owned()]]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [["ID", "NAME"], ["1", "one"]]);
    }
}
