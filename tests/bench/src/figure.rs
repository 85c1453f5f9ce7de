//! A row of a table: what was measured, beside what, which goal it had, and whether it met it.

use serde::Serialize;

use super::statistics::Spread;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A multiple of the peer's figure.
    Ratio,
    /// Megabytes (1,000,000 bytes) per second.
    MegabytesPerSecond,
    /// Thousandths of a second.
    Milliseconds,
    /// Connections per second.
    PerSecond,
    /// 1,024 bytes.
    Kibibytes,
    /// 1,048,576 bytes.
    Mebibytes,
    /// Things that were counted.
    Count,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Not lower.
    AtLeast(f64),
    /// Not higher.
    AtMost(f64),
    /// None: the figure is for information.
    None,
}

/// How a figure stands to its goal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "why")]
pub enum Verdict {
    /// As it should be.
    Met,
    /// Not as it should be; by how much, in words.
    Missed(String),
    /// The run says nothing; why, in words.
    Void(String),
    /// It has no goal.
    Information,
    /// There is no figure; why, in words.
    NotMeasured(String),
    /// Nobody asked for as much as the goal speaks of; why, in words.
    NotJudged(String),
}

/// A row of a table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which row of the list of goals, such as `D4`.
    pub id: &'static str,
    /// What was measured.
    pub what: String,
    /// Ours, as it is.
    pub ours: Option<Measure>,
    /// The peer's, as it is, and who that is.
    pub peer: Option<Peer>,
    /// What is held against the goal: a ratio, or ours as it is.
    pub figure: Option<Measure>,
    /// What it should be.
    pub goal: Goal,
    /// Whether it is.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Some values of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// What they count.
    pub unit: Unit,
    /// Their middle.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// How many there were.
    pub samples: usize,
}

/// What somebody else gave beside us.
#[derive(Clone, Debug, Serialize)]
pub struct Peer {
    /// Who.
    pub name: &'static str,
    /// What.
    #[serde(flatten)]
    pub measure: Measure,
}

/// Rows of one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Its name in files.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Its rows, in order.
    pub rows: Vec<Row>,
}

// === impl Unit ===

impl Unit {
    /// The value as people read it, with at most three digits that say something.
    pub fn show(self, value: f64) -> String {
        let digits = match value.abs() {
            size if size == 0.0 || size >= 100.0 => 0,
            size if size >= 10.0 => 1,
            _ => 2,
        };
        let number = match self {
            Self::Count => format!("{value:.0}"),
            Self::Ratio => format!("{value:.2}"),
            _ => format!("{value:.digits$}"),
        };
        format!("{number}{}", self.suffix())
    }

    /// What stands after a number.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Ratio => "x",
            Self::MegabytesPerSecond => " MB/s",
            Self::Milliseconds => " ms",
            Self::PerSecond => " /s",
            Self::Kibibytes => " KiB",
            Self::Mebibytes => " MiB",
            Self::Count => "",
        }
    }
}

// === impl Goal ===

impl Goal {
    /// As people write it.
    pub fn show(self, unit: Unit) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {}", unit.show(least)),
            Self::AtMost(most) => format!("<= {}", unit.show(most)),
            Self::None => "-".to_owned(),
        }
    }

    /// Whether this value is as it should be, and if not, by how much it misses.
    fn judge(self, value: f64) -> Verdict {
        let (reached, miss) = match self {
            Self::AtLeast(least) => (value >= least, (least - value) / least),
            Self::AtMost(0.0) => (value <= 0.0, f64::INFINITY),
            Self::AtMost(most) => (value <= most, (value - most) / most),
            Self::None => return Verdict::Information,
        };
        match (reached, miss.is_finite()) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Missed(format!("by {:.0} %", (100.0 * miss).max(1.0))),
            (false, false) => Verdict::Missed("must be none".to_owned()),
        }
    }
}

// === impl Measure ===

impl Measure {
    /// These values.
    pub fn new(unit: Unit, spread: Spread, samples: usize) -> Self {
        let Spread { median, min, max } = spread;
        Self { unit, median, min, max, samples }
    }

    /// A value that was taken once.
    pub fn once(unit: Unit, value: f64) -> Self {
        Self::new(unit, Spread::once(value), 1)
    }

    /// The middle, and the range when there is one.
    pub fn show(&self) -> String {
        let Self { unit, median, min, max, samples } = *self;
        if samples < 2 {
            return unit.show(median);
        }
        let bare = |value| unit.show(value).trim_end_matches(unit.suffix()).to_owned();
        format!("{} ({}-{})", unit.show(median), bare(min), bare(max))
    }
}

// === impl Row ===

impl Row {
    /// A row of this figure, judged by its median.
    pub fn new(id: &'static str, what: impl Into<String>, figure: Measure, goal: Goal) -> Self {
        let verdict = goal.judge(figure.median);
        Self { id, what: what.into(), ours: None, peer: None, figure: Some(figure), goal, verdict }
    }

    /// A row without a figure.
    pub fn missing(id: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        let verdict = Verdict::NotMeasured(why.into());
        Self { id, what: what.into(), ours: None, peer: None, figure: None, goal: Goal::None, verdict }
    }

    /// A row that nobody asked for.
    pub fn left_out(id: &'static str, what: impl Into<String>, how: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotJudged(how.into()), ..Self::missing(id, what, "") }
    }

    /// With ours as it is, where the figure is a ratio.
    #[must_use]
    pub fn ours(self, measure: Option<Measure>) -> Self {
        Self { ours: measure, ..self }
    }

    /// With what the peer gave.
    #[must_use]
    pub fn beside(self, name: &'static str, measure: Option<Measure>) -> Self {
        Self { peer: measure.map(|measure| Peer { name, measure }), ..self }
    }

    /// The same row, void when the loopback under it varied too much.
    #[must_use]
    pub fn void_if(self, void: bool, variation: f64) -> Self {
        if !void || matches!(self.verdict, Verdict::NotMeasured(_) | Verdict::NotJudged(_)) {
            return self;
        }
        let why = format!("plain loopback varied {variation:.1}x in this run");
        Self { verdict: Verdict::Void(why), ..self }
    }

    /// The same row, its figure for information: it was taken with less than the goal speaks of.
    #[must_use]
    pub fn not_judged_because(self, reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotJudged(reason.into()), ..self }
    }

    /// The same row, missed for this reason, whatever its figure.
    #[must_use]
    pub fn missed_because(self, reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Missed(reason.into()), ..self }
    }
}

// === impl Verdict ===

impl Verdict {
    /// In words.
    pub fn show(&self) -> String {
        match self {
            Self::Met => "met".to_owned(),
            Self::Missed(by) => format!("MISSED {by}"),
            Self::Void(why) => format!("void: {why}"),
            Self::Information => "-".to_owned(),
            Self::NotMeasured(why) => format!("not measured: {why}"),
            Self::NotJudged(why) => format!("not judged: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(goal: Goal, value: f64) -> Verdict {
        Row::new("D4", "rate", Measure::once(Unit::Ratio, value), goal).verdict
    }

    #[test]
    fn a_figure_is_held_against_its_goal() {
        assert_eq!(verdict(Goal::AtLeast(0.8), 0.8), Verdict::Met);
        assert_eq!(verdict(Goal::AtLeast(0.8), 0.6), Verdict::Missed("by 25 %".to_owned()));
        assert_eq!(verdict(Goal::AtMost(10.0), 10.0), Verdict::Met);
        assert_eq!(verdict(Goal::AtMost(10.0), 15.0), Verdict::Missed("by 50 %".to_owned()));
        assert_eq!(verdict(Goal::AtMost(0.0), 1.0), Verdict::Missed("must be none".to_owned()));
        assert_eq!(verdict(Goal::None, 1.0), Verdict::Information);
    }

    #[test]
    fn a_void_run_judges_nothing() {
        let row = Row::new("D4", "rate", Measure::once(Unit::Ratio, 0.9), Goal::AtLeast(0.8));
        assert_eq!(row.clone().void_if(false, 1.2).verdict, Verdict::Met);
        let void = row.void_if(true, 2.04).verdict;
        assert_eq!(void.show(), "void: plain loopback varied 2.0x in this run");
    }

    #[test]
    fn values_are_shown_with_the_digits_that_say_something() {
        assert_eq!(Unit::Milliseconds.show(0.123_4), "0.12 ms");
        assert_eq!(Unit::Milliseconds.show(12.34), "12.3 ms");
        assert_eq!(Unit::MegabytesPerSecond.show(812.4), "812 MB/s");
        assert_eq!(Unit::Count.show(3.0), "3");
        let spread = Spread { median: 0.83, min: 0.791, max: 0.9 };
        assert_eq!(Measure::new(Unit::Ratio, spread, 7).show(), "0.83x (0.79-0.90)");
        assert_eq!(Goal::AtMost(1.2).show(Unit::Ratio), "<= 1.20x");
    }
}
