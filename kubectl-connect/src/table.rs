//! Tables as kubectl prints them: upper-case heads, columns three blanks apart, no lines, nothing at the end of a row.

use crate::screen;

/// Blanks between two columns.
const GAP: usize = 3;

/// Rows under named columns. Cells are clean: whoever fills them in takes care of that.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

// === impl Table ===

impl Table {
    /// A table with these heads.
    pub fn new<const N: usize>(heads: [&str; N]) -> Self {
        let mut table = Self::default();
        table.row(heads.map(str::to_owned));
        table
    }

    /// A table whose columns are at least so wide, as those of one that it goes on with.
    pub fn with_widths(widths: Vec<usize>) -> Self {
        Self { rows: Vec::new(), widths }
    }

    /// Whether no table went before it, and none has begun.
    pub fn is_fresh(&self) -> bool {
        self.widths.is_empty()
    }

    /// How wide its columns are, for one that goes on.
    pub fn into_widths(self) -> Vec<usize> {
        self.widths
    }

    /// Adds a row; an empty cell is shown as kubectl shows nothing.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> =
            cells.into_iter().map(|cell| if cell.is_empty() { "<none>".to_owned() } else { cell }).collect();
        self.widths.resize(self.widths.len().max(cells.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(screen::columns(cell));
        }
        self.rows.push(cells);
    }

    /// The table, each line after this indent.
    pub fn render(&self, indent: &str) -> String {
        let mut text = String::new();
        for cells in &self.rows {
            let mut line = String::from(indent);
            for (cell, width) in cells.iter().zip(&self.widths) {
                line.push_str(&screen::padded(cell, width + GAP));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another_whatever_they_are_written_in() {
        let mut table = Table::new(["NAME", "FRIENDLY NAME", "STATE"]);
        for name in ["staging", "支付環境", "デモ", "한국어", "🚀 launch", "nai\u{308}ve", "Ünï"]
        {
            table.row([name.to_owned(), format!("{name} {name}"), "Joinable".to_owned()]);
        }
        let text = table.render("");
        let places: Vec<_> = text
            .lines()
            .map(|line| {
                let at = line.find("Joinable").or_else(|| line.find("STATE")).expect("the last column");
                (screen::columns(&line[..at]), screen::columns(line) <= 80)
            })
            .collect();
        assert!(places.iter().all(|place| *place == places[0] && place.1), "{places:?}\n{text}");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["a-long-name".to_owned(), "Joinable".to_owned()]);
        table.row(["b".to_owned(), String::new()]);
        assert_eq!(table.render(""), "NAME          STATE\na-long-name   Joinable\nb             <none>\n");
    }
}
