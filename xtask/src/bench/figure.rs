//! A figure: what was measured, what it is compared with, and what it should be.

use std::fmt;

use serde::Serialize;

/// One figure of the list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    name: &'static str,
    unit: &'static str,
    median: f64,
    p10: f64,
    p90: f64,
    /// What it is compared with.
    reference: Option<&'static str>,
    /// Measured in the same run, in turns.
    reference_median: Option<f64>,
    /// Median by median.
    ratio: Option<f64>,
    /// What the ratio should be, or the median where there is no reference.
    target: Option<Target>,
    /// Whether it is.
    met: Option<bool>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    /// A figure that is compared with nothing.
    pub(crate) fn absolute(name: &'static str, unit: &'static str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            name,
            unit,
            median: percentile(&values, 50),
            p10: percentile(&values, 10),
            p90: percentile(&values, 90),
            reference: None,
            reference_median: None,
            ratio: None,
            target: None,
            met: None,
        }
    }

    /// The same, compared with `values` of `reference`.
    pub(crate) fn against(mut self, reference: &'static str, values: &[f64]) -> Self {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let median = percentile(&values, 50);
        self.reference = Some(reference);
        self.reference_median = Some(median);
        self.ratio = (median > 0.0).then_some(self.median / median);
        self
    }

    /// The ratio, or the median, should not be above this.
    pub(crate) fn at_most(self, limit: f64) -> Self {
        self.aim(Target::AtMost(limit))
    }

    /// The ratio, or the median, should not be below this.
    pub(crate) fn at_least(self, limit: f64) -> Self {
        self.aim(Target::AtLeast(limit))
    }

    /// Whether it is not what it should be.
    pub(crate) fn misses(&self) -> bool {
        self.met == Some(false)
    }

    fn aim(mut self, target: Target) -> Self {
        let value = if self.reference.is_some() { self.ratio } else { Some(self.median) };
        self.target = Some(target);
        self.met = value.map(|value| match target {
            Target::AtMost(limit) => value <= limit,
            Target::AtLeast(limit) => value >= limit,
        });
        self
    }

    fn cells(&self) -> [String; 7] {
        let optional = |value: Option<String>| value.unwrap_or_default();
        let target = self.target.map(|target| match target {
            Target::AtMost(limit) => format!("≤ {limit}"),
            Target::AtLeast(limit) => format!("≥ {limit}"),
        });
        let met = self.met.map(|met| if met { "yes" } else { "NO" }.to_owned());
        let reference = self.reference.zip(self.reference_median);
        [
            self.name.to_owned(),
            format!("{} {}", number(self.median), self.unit),
            format!("{} … {}", number(self.p10), number(self.p90)),
            optional(reference.map(|(name, median)| format!("{name}: {}", number(median)))),
            optional(self.ratio.map(|ratio| format!("{ratio:.2}"))),
            optional(target),
            optional(met),
        ]
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [name, median, _, reference, ratio, ..] = self.cells();
        write!(f, "{name}: {median}")?;
        if ratio.is_empty() { Ok(()) } else { write!(f, " ({reference}; ratio {ratio})") }
    }
}

/// The figures as a table for people.
pub(crate) fn table(figures: &[Figure]) -> String {
    let head = ["figure", "median", "p10 … p90", "reference", "ratio", "target", "met"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(figures.iter().map(Figure::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Of sorted values; 0 when there are none.
fn percentile(values: &[f64], percent: usize) -> f64 {
    let last = values.len().saturating_sub(1);
    values.get((last * percent + 50) / 100).copied().unwrap_or(0.0)
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, table};

    #[test]
    fn medians_and_percentiles_are_of_the_values() {
        let figure = Figure::absolute("f", "µs", (1..=11).rev().map(f64::from).collect());
        assert_eq!((figure.p10, figure.median, figure.p90), (2.0, 6.0, 10.0));
        let figure = figure.against("reference", &[4.0, 2.0, 3.0]).at_most(1.9);
        assert_eq!((figure.reference_median, figure.ratio, figure.met), (Some(3.0), Some(2.0), Some(false)));
        assert!(figure.misses() && !Figure::absolute("f", "ms", vec![1.0]).at_most(1.0).misses());
    }

    #[test]
    fn a_table_has_a_line_for_each_figure() {
        let figures = [Figure::absolute("one", "ms", vec![1.0]), Figure::absolute("two", "MiB", vec![2.0])];
        let table = table(&figures);
        assert_eq!(table.lines().count(), 3);
        assert!(table.contains("two") && table.contains("2.00 MiB"), "{table}");
    }
}
