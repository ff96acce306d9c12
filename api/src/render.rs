//! Tables and JSON on standard output.

use std::io::Write as _;

/// Prints text to standard output; a reader that went away is not our failure.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line.
pub(crate) fn line(text: impl AsRef<str>) {
    print(&format!("{}\n", text.as_ref()));
}

/// Prints a value as indented JSON.
pub(crate) fn json(value: &serde_json::Value) {
    // A Value always prints.
    line(serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Lays rows out in columns, two spaces apart; the last column is as long as it is.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (w, cell) in widths.iter_mut().zip(row) {
            *w = (*w).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut put = |cells: Vec<&str>| {
        let mut text = String::new();
        for (cell, w) in cells.iter().zip(&widths) {
            text.push_str(&format!("{cell:<w$}  "));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    put(head.to_vec());
    for row in rows {
        put(row.iter().map(String::as_str).collect());
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let t = super::table(&["a", "bb"], &[vec!["xyz".into(), "1".into()], vec!["é".into(), "2".into()]]);
        assert_eq!(t, "a    bb\nxyz  1\né    2\n");
    }
}
