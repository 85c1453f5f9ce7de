//! Alerts and dashboard: every query names what the operator tells, and every alert has its part in the runbook.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use connect_tests::wait::SOON;
use serde_json::Value;

use super::OPERATOR;
use connect_tests::helm::{Helm, the};

/// What all our metrics begin with.
const PREFIX: &str = "private_connect_";

/// Switches on what is looked at here.
const SETTINGS: [&str; 2] = [
    "--set",
    "prometheusRule.enabled=true,prometheusRule.runbookUrl=https://wiki.example.com/RUNBOOK.md,dashboard.enabled=true",
];

/// Labels that series have beside their own, and words of the query language that look like labels.
const OF_PROMETHEUS: [&str; 1] = ["le"];

#[tokio::test]
async fn every_alert_has_its_part_in_the_runbook_and_the_other_way_round() -> Result<()> {
    let runbook =
        std::fs::read_to_string(format!("{OPERATOR}/RUNBOOK.md")).context("cannot read the runbook")?;
    let parts: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let rules = rules(&Helm::new().await?).await?;
    let alerts: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["alert"].as_str()).collect();
    assert!(!alerts.is_empty());
    assert_eq!(parts, alerts);
    for rule in &rules {
        let name = rule["alert"].as_str().context("an alert has a name")?;
        for link in ["runbook", "runbook_url"] {
            let link = rule["annotations"][link].as_str().context("an alert has a link")?;
            ensure!(link.ends_with(&format!("RUNBOOK.md#{}", name.to_lowercase())), "{name} links to {link}");
        }
        ensure!(
            rule["annotations"]["summary"].is_string() && rule["labels"]["severity"].is_string(),
            "{name}"
        );
    }
    Ok(())
}

/// Holds the queries of dashboard and alerts against what an operator tells that has shared something.
pub(super) async fn every_query_has_its_metric(helm: &Helm, admin: &str) -> Result<()> {
    let answer = reqwest::Client::new().get(format!("{admin}/metrics")).timeout(SOON).send().await?;
    let told = series(&answer.error_for_status()?.text().await?);
    let mut queries: Vec<String> = Vec::new();
    for rule in rules(helm).await? {
        queries.push(rule["expr"].as_str().context("an alert has a query")?.to_owned());
    }
    let objects = helm.objects("own", &SETTINGS).await?;
    let dashboard =
        the(&objects, "ConfigMap")?["data"]["private-connect.json"].as_str().context("a dashboard")?;
    let dashboard: Value = serde_json::from_str(dashboard).context("the dashboard is JSON")?;
    for panel in dashboard["panels"].as_array().context("it has panels")? {
        for target in panel["targets"].as_array().context("a panel has queries")? {
            queries.push(target["expr"].as_str().context("a query is text")?.to_owned());
        }
    }
    ensure!(queries.len() > 20, "there are {} queries", queries.len());
    for query in &queries {
        let metrics: Vec<&str> = words(query).filter(|word| word.starts_with(PREFIX)).collect();
        ensure!(!metrics.is_empty(), "{query} asks for nothing of ours");
        for metric in metrics {
            let labels = told.iter().find(|(name, _)| name == metric).map(|(_, labels)| labels);
            let labels =
                labels.with_context(|| format!("{query}: nobody tells {metric}; told are {told:?}"))?;
            for label in grouped_by(query) {
                ensure!(labels.contains(label), "{query}: {metric} has no label {label}");
            }
        }
    }
    Ok(())
}

async fn rules(helm: &Helm) -> Result<Vec<Value>> {
    let objects = helm.objects("own", &SETTINGS).await?;
    let groups = the(&objects, "PrometheusRule")?["spec"]["groups"].as_array().context("it has groups")?;
    Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
}

/// Names of the series in a scrape, each with its labels.
fn series(scrape: &str) -> Vec<(String, BTreeSet<String>)> {
    let samples = scrape.lines().filter(|line| !line.starts_with('#'));
    let one = |line: &str| {
        let (name, rest) = line.split_at(line.find(['{', ' '])?);
        let labels =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        Some((name.to_owned(), labels.collect()))
    };
    samples.filter_map(one).collect()
}

/// What a query groups by, without the labels that are Prometheus's own.
fn grouped_by(query: &str) -> impl Iterator<Item = &str> {
    let lists = query.split("by (").skip(1).filter_map(|rest| rest.split_once(')'));
    lists.flat_map(|(list, _)| list.split(',').map(str::trim)).filter(|label| !OF_PROMETHEUS.contains(label))
}

fn words(query: &str) -> impl Iterator<Item = &str> {
    query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
}
