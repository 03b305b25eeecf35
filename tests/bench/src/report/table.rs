//! A Markdown table.

/// Rows of as many cells as there are columns.
pub(super) struct Table {
    lines: Vec<String>,
}

impl Table {
    pub(super) fn new(columns: &[&str]) -> Self {
        let rule = "---|".repeat(columns.len());
        Self { lines: vec![line(columns), format!("|{rule}")] }
    }

    pub(super) fn row<S: AsRef<str>>(&mut self, cells: &[S]) {
        let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
        self.lines.push(line(&cells));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.len() == 2
    }

    pub(super) fn render(self) -> String {
        self.lines.join("\n") + "\n"
    }
}

fn line(cells: &[&str]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_rule_below_its_head() {
        let mut table = Table::new(&["a", "b"]);
        assert!(table.is_empty());
        table.row(&["1", "2"]);
        assert_eq!(table.render(), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
