//! A table as a picture: every row is a dot on one axis, how many times better than its goal it is.
//!
//! Rows count different things; what they have in common is a goal. The line in the middle is that goal, right of it is
//! better, left of it is missed, and a dot's whiskers are the range over all rounds.

use std::fmt::Write as _;

use super::figure::{Goal, Measure, Row, Table, Verdict};

/// Height of a row.
const ROW: f64 = 30.0;

/// Room above the rows, for title, legend and the axis.
const TOP: f64 = 104.0;

/// Room below the rows.
const BOTTOM: f64 = 28.0;

/// Where what was measured is written.
const WHAT: f64 = 64.0;

/// Where the axis begins and how wide it is.
const AXIS: f64 = 556.0;
const AXIS_WIDTH: f64 = 330.0;

/// Where figure and goal are written.
const FIGURE: f64 = 922.0;
const GOAL: f64 = 1108.0;

/// Width of everything.
const WIDTH: f64 = 1240.0;

/// The axis goes from a tenth of the goal to a hundred times better.
const LOWEST: f64 = 0.1;
const HIGHEST: f64 = 100.0;

/// Marks on the axis.
const MARKS: [(f64, &str); 4] = [(0.1, "10x worse"), (1.0, "goal"), (10.0, "10x better"), (100.0, "100x")];

/// Colours that are told apart by people who see no red or no green, and in print.
const MET: &str = "#0f766e";
const MISSED: &str = "#c2410c";
const QUIET: &str = "#94a3b8";
const TEXT: &str = "#0f172a";
const FAINT: &str = "#64748b";
const GRID: &str = "#dbe2ea";
const SHADE: &str = "#f6f8fb";

/// The longest text of a row before the axis, in characters.
const LONGEST: usize = 68;

/// The table as SVG.
pub(super) fn draw(table: &Table) -> String {
    let height = TOP + ROW * table.rows.len() as f64 + BOTTOM;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="13">
<title>{title}: measured against its goals</title>
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="24" y="36" font-size="20" font-weight="600" fill="{TEXT}">{title}</text>
"##,
        title = escaped(table.title),
    );
    legend(&mut svg);
    for number in (1..table.rows.len()).step_by(2) {
        let (y, width) = (TOP + ROW * number as f64, WIDTH - 32.0);
        let _ = writeln!(svg, r##"<rect x="16" y="{y}" width="{width}" height="{ROW}" fill="{SHADE}"/>"##);
    }
    axis(&mut svg, height);
    for (number, row) in table.rows.iter().enumerate() {
        draw_row(&mut svg, row, TOP + ROW * (number as f64 + 0.5));
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let mut x = 24.0;
    for (colour, words) in [(MET, "goal met"), (MISSED, "goal missed"), (QUIET, "void or without a goal")] {
        let _ = writeln!(svg, r#"<circle cx="{x}" cy="60" r="5" fill="{colour}"/>"#);
        let _ = writeln!(svg, r#"<text x="{}" y="64.5" fill="{FAINT}">{words}</text>"#, x + 11.0);
        x += 36.0 + 7.4 * words.len() as f64;
    }
    for (x, words) in [(FIGURE, "median (range)"), (GOAL, "goal")] {
        let _ = writeln!(svg, r#"<text x="{x}" y="{}" fill="{FAINT}">{words}</text>"#, TOP - 10.0);
    }
}

fn axis(svg: &mut String, height: f64) {
    for (value, words) in MARKS {
        let x = place(value);
        let (colour, width) = if value == 1.0 { (TEXT, 1.5) } else { (GRID, 1.0) };
        let _ = writeln!(
            svg,
            r#"<text x="{x}" y="{}" text-anchor="middle" fill="{FAINT}">{words}</text>"#,
            TOP - 10.0
        );
        let _ = writeln!(
            svg,
            r#"<line x1="{x}" y1="{}" x2="{x}" y2="{}" stroke="{colour}" stroke-width="{width}"/>"#,
            TOP - 4.0,
            height - BOTTOM + 4.0
        );
    }
}

fn draw_row(svg: &mut String, row: &Row, y: f64) {
    let Row { id, what, figure, goal, verdict, .. } = row;
    let text = y + 4.5;
    let _ = writeln!(svg, r#"<text x="24" y="{text}" font-weight="600" fill="{TEXT}">{id}</text>"#);
    let _ = writeln!(
        svg,
        r#"<text x="{WHAT}" y="{text}" fill="{TEXT}">{}</text>"#,
        escaped(&shortened(what, LONGEST))
    );
    let colour = match verdict {
        Verdict::Met => MET,
        Verdict::Missed(_) => MISSED,
        Verdict::Void(_) | Verdict::Information | Verdict::NotJudged(_) | Verdict::NotMeasured(_) => QUIET,
    };
    if let Some(figure) = figure {
        dot(svg, figure, *goal, colour, y);
        let goal = goal.show(figure.unit).replace("<=", "≤").replace(">=", "≥");
        for (x, fill, words) in [(FIGURE, colour, figure.show()), (GOAL, FAINT, goal)] {
            let fill = if fill == QUIET { FAINT } else { fill };
            let _ = writeln!(svg, r#"<text x="{x}" y="{text}" fill="{fill}">{}</text>"#, escaped(&words));
        }
    } else {
        let words = escaped(&shortened(&verdict.show(), 40));
        let _ = writeln!(svg, r#"<text x="{FIGURE}" y="{text}" fill="{FAINT}">{words}</text>"#);
    }
}

/// The median as a dot, the range as a line through it. What lies outside of the axis is drawn at its end.
fn dot(svg: &mut String, figure: &Measure, goal: Goal, colour: &str, y: f64) {
    let Some(middle) = score(goal, figure.median) else { return };
    let (x, from, to) = (
        place(middle),
        place(score(goal, figure.min).unwrap_or(middle)),
        place(score(goal, figure.max).unwrap_or(middle)),
    );
    let _ = writeln!(
        svg,
        r#"<line x1="{from:.1}" y1="{y}" x2="{to:.1}" y2="{y}" stroke="{colour}" stroke-width="3" stroke-opacity="0.35" stroke-linecap="round"/>"#
    );
    let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y}" r="5.5" fill="{colour}"/>"#);
}

/// How many times better than the goal; something that must be nothing and is nothing is as good as it gets.
fn score(goal: Goal, value: f64) -> Option<f64> {
    match goal {
        Goal::None => None,
        Goal::AtMost(most) if value <= 0.0 => Some(if most >= value { HIGHEST } else { LOWEST }),
        Goal::AtMost(most) if most <= 0.0 => Some(LOWEST),
        goal => goal.score(value),
    }
}

/// Where a score is on the axis.
fn place(score: f64) -> f64 {
    let share = (score.clamp(LOWEST, HIGHEST) / LOWEST).log10() / (HIGHEST / LOWEST).log10();
    AXIS + AXIS_WIDTH * share
}

fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figure::Unit;

    #[test]
    fn the_goal_is_between_worse_and_better() {
        assert_eq!(place(LOWEST), AXIS);
        assert_eq!(place(HIGHEST), AXIS + AXIS_WIDTH);
        assert!(place(0.9) < place(1.0) && place(1.0) < place(1.1));
        assert_eq!(place(1e9), place(HIGHEST));
        assert_eq!(place(1e-9), place(LOWEST));
    }

    #[test]
    fn nothing_where_there_must_be_nothing_is_best() {
        assert_eq!(score(Goal::AtMost(0.0), 0.0), Some(HIGHEST));
        assert_eq!(score(Goal::AtMost(0.0), 3.0), Some(LOWEST));
        assert_eq!(score(Goal::None, 3.0), None);
    }

    #[test]
    fn a_chart_has_every_row_and_is_well_formed() {
        let rows = vec![
            Row::new("D4", "download <fast & safe>", Measure::once(Unit::Ratio, 0.9), Goal::AtLeast(0.8)),
            Row::missing("D7", "idle connections", "time was up"),
        ];
        let svg = draw(&Table { name: "data-path", title: "Data path", rows });
        assert!(
            svg.contains("download &lt;fast &amp; safe&gt;") && svg.contains("not measured: time was up")
        );
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
