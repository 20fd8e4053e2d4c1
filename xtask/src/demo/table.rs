//! Tables on standard output.

/// Prints a table with its titles between blank lines; each column is as wide as what is in it.
pub(super) fn print<const N: usize>(titles: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(titles[column].chars().count())
    };
    let line = |cells: [&str; N]| {
        let padded = cells.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column)));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    println!();
    line(titles);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
    println!();
}
