//! Tables for terminals.

use std::fmt::Write as _;

/// Rows under headings, in columns as wide as what stands in them. Every row has as many cells as there
/// are headings.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            // Writing to a string never fails.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(headings);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
    text
}

/// How much of something is left: `12.3 of 64.0 MB`.
pub(super) fn bytes(free: u32, total: u32) -> String {
    let (unit, size) = match total {
        0..10_000 => ("B", 1.0),
        10_000..10_000_000 => ("KB", 1e3),
        _ => ("MB", 1e6),
    };
    let digits = usize::from(size > 1.0);
    format!("{:.digits$} of {:.digits$} {unit}", f64::from(free) / size, f64::from(total) / size)
}

/// A time that has passed: `850 ms`, `12 s`, `3 min`, `5 h`, `2 d`.
pub(super) fn ago(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let rows = [["a".into(), "long".into()], ["bcd".into(), String::new()]];
        assert_eq!(table(["ID", "X"], &rows), "ID   X\na    long\nbcd\n");
    }

    #[test]
    fn amounts_have_a_unit_that_fits() {
        assert_eq!(bytes(512, 8_000), "512 of 8000 B");
        assert_eq!(bytes(12_300_000, 64_000_000), "12.3 of 64.0 MB");
    }

    #[test]
    fn times_have_a_unit_that_fits() {
        assert_eq!([ago(999), ago(119_999), ago(120_000)], ["999 ms", "119 s", "2 min"]);
    }
}
