//! `doctor`: looks at everything a share needs, and says of each thing how it is and how to fix it. Changes nothing.

mod definitions;
mod hub;
mod leftovers;
mod objects;
mod operator;
mod orphans;
mod permissions;
mod reach;

use serde::Serialize;

use crate::cli::ReportArg;
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome};
use crate::output::counted;
use crate::printer::Printer;
use crate::sanitize::Clean;
use crate::settings::doctor::DoctorSettings;
use crate::views::document;

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Result {
    /// As it should be.
    Ok,
    /// Works, but a human may want to know.
    Warning,
    /// Does not work.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// How it stands.
    pub result: Result,
    /// What was found, in one line.
    pub description: Clean,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Clean>,
}

/// Checks of one subject.
#[derive(Debug, Serialize)]
pub struct Section {
    /// The subject.
    pub name: &'static str,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
struct Report {
    sections: Vec<Section>,
}

/// Looks at everything. The answer is no when something does not work.
pub async fn run(settings: &DoctorSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let spinner = printer.spinner("Looking at the cluster, the operator and the hub");
    let report = gather(settings, cluster).await;
    drop(spinner);
    let text = match settings.form {
        Some(ReportArg::Json) => document::json(&report)?,
        Some(ReportArg::Yaml) => document::yaml(&report)?,
        None => report.render(),
    };
    printer.data(&text)?;
    match report.failed() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{} failed", counted(failed, "check")))),
    }
}

async fn gather(settings: &DoctorSettings, cluster: &Cluster) -> Report {
    let mut sections = vec![Section { name: "cluster", checks: reach::look(cluster).await }];
    // Nothing can be learned from a cluster that does not answer; each check would only say so again.
    if sections[0].has_failed() {
        return Report { sections };
    }
    sections[0].checks.extend(reach::namespace(cluster).await);
    let has_namespace = !sections[0].has_failed();
    let definitions = Section { name: "definitions", checks: definitions::look(cluster).await };
    let has_definitions = !definitions.has_failed();
    sections.push(definitions);
    if has_namespace {
        sections.push(Section { name: "permissions", checks: permissions::look(cluster).await });
    }
    // That an operator does not serve a namespace that does not exist goes without saying.
    let wanted = has_namespace.then(|| cluster.namespace());
    let (checks, is_served) = operator::look(cluster, &settings.operator_namespace, wanted).await;
    sections.push(Section { name: "operator", checks });
    if !has_namespace {
        return Report { sections };
    }
    let objects = if has_definitions { Some(objects::look(cluster).await) } else { None };
    let waiting = objects.as_ref().map(|objects| objects.waiting_for_hubs.clone()).unwrap_or_default();
    let hubs = hub::known(cluster, settings, &waiting).await;
    let (checks, down) = hub::look(&hubs, &waiting).await;
    sections.push(Section { name: "hub", checks });
    if let Some(objects) = objects {
        let checks = objects.checks(&down, is_served);
        if !checks.is_empty() {
            sections.push(Section { name: "shares and routes", checks });
        }
        let mut left = leftovers::look(cluster).await;
        if down.is_empty() {
            left.push(orphans::look(cluster, settings, &hubs).await);
        }
        sections.push(Section { name: "leftovers", checks: left });
    }
    Report { sections }
}

// === impl Section ===

impl Section {
    fn has_failed(&self) -> bool {
        self.checks.iter().any(|check| check.result == Result::Failed)
    }
}

// === impl Report ===

impl Report {
    fn failed(&self) -> i64 {
        self.count(Result::Failed)
    }

    fn count(&self, result: Result) -> i64 {
        let checks = self.sections.iter().flat_map(|section| &section.checks);
        checks.filter(|check| check.result == result).count().try_into().unwrap_or(i64::MAX)
    }

    /// What follows from what was checked, and no more.
    fn conclusion(&self) -> &'static str {
        match (self.failed(), self.count(Result::Warning)) {
            (0, 0) => "[ok] Everything works\n",
            // Something could not be looked at, or works in a way that a human may want to know of.
            (0, _) => "[!] No check failed. See the lines marked [!]\n",
            _ => "[x] Something does not work\n",
        }
    }

    fn render(&self) -> String {
        let mut text = String::new();
        for Section { name, checks } in &self.sections {
            text.push_str(&format!("{name}\n{}\n", "-".repeat(name.len())));
            checks.iter().for_each(|check| text.push_str(&check.render()));
            text.push('\n');
        }
        text.push_str(self.conclusion());
        text
    }
}

// === impl Check ===

impl Check {
    /// All is well.
    pub fn ok(description: impl AsRef<str>) -> Self {
        Self { result: Result::Ok, description: Clean::new(description.as_ref()), hint: None }
    }

    /// Works, but.
    pub fn warning(description: impl AsRef<str>, hint: impl AsRef<str>) -> Self {
        Self { result: Result::Warning, hint: Some(Clean::new(hint.as_ref())), ..Self::ok(description) }
    }

    /// Does not work.
    pub fn failed(description: impl AsRef<str>, hint: impl AsRef<str>) -> Self {
        Self { result: Result::Failed, ..Self::warning(description, hint) }
    }

    /// What a command would have said.
    pub fn of(failure: &Failure) -> Self {
        let mut lines = failure.render().lines().map(str::to_owned).collect::<Vec<_>>().into_iter();
        let sentence = lines.next().unwrap_or_default();
        Self::failed(sentence.trim_start_matches("[x] "), lines.collect::<Vec<_>>().join(" "))
    }

    fn render(&self) -> String {
        let Self { result, description, hint } = self;
        let mark = match result {
            Result::Ok => "[ok]",
            Result::Warning => "[!]",
            Result::Failed => "[x]",
        };
        let hint = hint.as_ref().filter(|hint| !hint.as_str().is_empty());
        let hint = hint.map(|hint| format!("     {hint}\n")).unwrap_or_default();
        format!("{mark} {description}\n{hint}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_works_and_how_to_fix_the_rest() {
        let report = Report {
            sections: vec![
                Section { name: "cluster", checks: vec![Check::ok("it answers")] },
                Section {
                    name: "operator",
                    checks: vec![
                        Check::warning("it is old", "Upgrade it."),
                        Check::failed("it is\ngone", ""),
                    ],
                },
            ],
        };
        assert_eq!(report.failed(), 1);
        assert_eq!(
            report.render(),
            "cluster\n-------\n[ok] it answers\n\n\
             operator\n--------\n[!] it is old\n     Upgrade it.\n[x] it is\\ngone\n\n\
             [x] Something does not work\n"
        );
    }

    #[test]
    fn the_last_line_follows_from_the_checks() {
        let ok = || Check::ok("a");
        let warning = || Check::warning("b", "");
        let failed = || Check::failed("c", "");
        for (checks, line) in [
            (vec![ok(), ok()], "[ok] Everything works\n"),
            (vec![ok(), warning()], "[!] No check failed. See the lines marked [!]\n"),
            (vec![warning(), warning()], "[!] No check failed. See the lines marked [!]\n"),
            (vec![warning(), failed()], "[x] Something does not work\n"),
        ] {
            let report = Report { sections: vec![Section { name: "x", checks }] };
            assert_eq!(report.conclusion(), line);
        }
    }
}
