//! What the objects say, read from the caches whenever metrics are asked for.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Error;
use std::sync::{Arc, Mutex, PoisonError};

use connect_crds::condition::{find, kind, reason};
use connect_crds::{EnvironmentShare, ServiceExpose};
use connect_hub::tunnel::routes::ShareKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::number;
use crate::definitions::Definitions;
use crate::names::share_key;
use crate::state::Stores;
use crate::triggers::Triggers;
use crate::tunnels::Hubs;

/// Live shares with series of their own, by name; the rest is only counted. Bounds what is stored for each scrape.
const LISTED: usize = 200;

/// What shares can be, by the reason of their condition Active. Anything else counts as Pending.
const STATES: [&str; 6] = [
    reason::JOINABLE,
    reason::PENDING,
    reason::EXPIRED,
    reason::REVOKED,
    reason::JOIN_LIMIT_REACHED,
    reason::HUB_UNREACHABLE,
];

/// Why a human is needed.
const STALLED: [&str; 5] = [
    reason::INVALID_CREDENTIALS,
    reason::SERVICE_LIMIT_REACHED,
    reason::NAME_TAKEN,
    reason::HUB_REJECTED,
    reason::CRD_OUTDATED,
];

/// Caches and queues of all scopes.
#[derive(Default)]
pub(super) struct Scopes(Mutex<Vec<(Stores, Triggers)>>);

impl Scopes {
    pub(super) fn add(&self, stores: Stores, triggers: Triggers) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((stores, triggers));
    }

    /// Every share, in the order of their names.
    fn shares(&self) -> Vec<Arc<EnvironmentShare>> {
        let mut shares: Vec<_> = self.each(|stores| stores.shares.state());
        shares.sort_by_cached_key(|share| (share.namespace(), share.name_any()));
        shares
    }

    fn exposes(&self) -> Vec<Arc<ServiceExpose>> {
        self.each(|stores| stores.exposes.state())
    }

    fn each<T>(&self, read: impl Fn(&Stores) -> Vec<T>) -> Vec<T> {
        let scopes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().flat_map(|(stores, _)| read(stores)).collect()
    }

    /// What waits for a reconciliation, by kind.
    fn waiting(&self) -> BTreeMap<&'static str, usize> {
        let scopes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = BTreeMap::new();
        for (kind, depth) in scopes.iter().flat_map(|(_, triggers)| triggers.waiting()) {
            *waiting.entry(kind).or_default() += depth;
        }
        waiting
    }
}

/// Reads the caches.
pub(super) struct ObjectCollector {
    pub(super) scopes: Arc<Scopes>,
    pub(super) hubs: Arc<Hubs>,
    pub(super) definitions: Arc<Definitions>,
}

impl std::fmt::Debug for ObjectCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ObjectCollector")
    }
}

impl Collector for ObjectCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (shares, exposes) = (self.scopes.shares(), self.scopes.exposes());
        states(&shares, &mut encoder)?;
        stalled(&shares, &exposes, &mut encoder)?;
        let live: Vec<_> = shares.iter().filter(|share| state(share) == reason::JOINABLE).collect();
        let unlisted = ConstGauge::new(number(live.len().saturating_sub(LISTED)));
        let help = "Joinable shares beyond those that have series of their own";
        unlisted.encode(encoder.encode_descriptor("shares_unlisted", help, None, MetricType::Gauge)?)?;
        let listed: Vec<Listed> = self.listed(live.into_iter().take(LISTED));
        each_share(&listed, &mut encoder)?;
        let help = "Objects that wait to be looked at, by kind";
        let mut family = encoder.encode_descriptor("queue_depth", help, None, MetricType::Gauge)?;
        for (kind, depth) in self.scopes.waiting() {
            ConstGauge::new(number(depth)).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let help = "Fields that the installed CustomResourceDefinition of a kind lacks, and so drops";
        let mut family =
            encoder.encode_descriptor("definition_missing_fields", help, None, MetricType::Gauge)?;
        for kind in ["ServiceExpose", "EnvironmentShare"] {
            let missing = number(self.definitions.lacks(kind));
            ConstGauge::new(missing).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}

impl ObjectCollector {
    /// Shares with what was carried for each.
    fn listed<'a>(&self, shares: impl Iterator<Item = &'a Arc<EnvironmentShare>>) -> Vec<Listed> {
        let mut carried: HashMap<ShareKey, [u64; 4]> = HashMap::new();
        for route in self.hubs.all().iter().flat_map(|hub| hub.routes().carried()) {
            let Some(share) = route.share else { continue };
            let sums = carried.entry(share).or_default();
            let traffic = &route.traffic;
            let counts = [traffic.open() as u64, traffic.opened(), traffic.bytes_in(), traffic.bytes_out()];
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let one = |share: &Arc<EnvironmentShare>| Listed {
            share: share.clone(),
            carried: carried.get(&share_key(share)).copied().unwrap_or_default(),
        };
        shares.map(one).collect()
    }
}

/// A share with series of its own.
struct Listed {
    share: Arc<EnvironmentShare>,
    /// Connections open, connections, bytes received, bytes sent.
    carried: [u64; 4],
}

fn conditions(share: &EnvironmentShare) -> &[Condition] {
    share.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
}

fn state(share: &EnvironmentShare) -> &'static str {
    let said = find(conditions(share), kind::ACTIVE).map(|active| active.reason.as_str());
    STATES.into_iter().find(|state| Some(*state) == said).unwrap_or(reason::PENDING)
}

fn states(shares: &[Arc<EnvironmentShare>], encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut family =
        encoder.encode_descriptor("shares", "EnvironmentShares by state", None, MetricType::Gauge)?;
    for wanted in STATES {
        let count = shares.iter().filter(|share| state(share) == wanted).count();
        ConstGauge::new(number(count)).encode(family.encode_family(&[("state", wanted)])?)?;
    }
    Ok(())
}

fn stalled(
    shares: &[Arc<EnvironmentShare>],
    exposes: &[Arc<ServiceExpose>],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let is = |conditions: &[Condition], why: &str| {
        find(conditions, kind::STALLED).is_some_and(|stalled| stalled.reason == why)
    };
    let help = "Objects that wait for a human, by kind and reason";
    let mut family = encoder.encode_descriptor("stalled_objects", help, None, MetricType::Gauge)?;
    for why in STALLED {
        let of_shares = shares.iter().filter(|share| is(conditions(share), why)).count();
        let of_exposes = exposes
            .iter()
            .filter(|expose| expose.status.as_ref().is_some_and(|status| is(&status.conditions, why)))
            .count();
        for (kind, count) in [("EnvironmentShare", of_shares), ("ServiceExpose", of_exposes)] {
            let labels = [("kind", kind), ("reason", why)];
            ConstGauge::new(number(count)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// Series of single shares.
fn each_share(listed: &[Listed], encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let joins = |share: &EnvironmentShare| {
        share.status.as_ref().and_then(|status| status.joins.as_ref()).map_or(0, |joins| joins.count)
    };
    let end = |share: &EnvironmentShare| {
        share
            .status
            .as_ref()
            .and_then(|status| status.expiration_time.as_ref())
            .map_or(0, |end| end.0.as_second())
    };
    gauges(
        "share_expiration_timestamp_seconds",
        "When a share ends, in seconds since 1970",
        listed,
        encoder,
        |it| end(&it.share),
    )?;
    gauges("share_joins", "How often a share was joined", listed, encoder, |it| joins(&it.share))?;
    gauges("share_connections_open", "Connections carried now for a share", listed, encoder, |it| {
        number(it.carried[0])
    })?;
    let counters = [
        ("share_connections", "Connections carried for a share"),
        ("share_received_bytes", "Bytes from teammates to Services for a share"),
        ("share_sent_bytes", "Bytes from Services to teammates for a share"),
    ];
    for (at, (name, help)) in (1..).zip(counters) {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for Listed { share, carried } in listed {
            let (namespace, name) = (share.namespace().unwrap_or_default(), share.name_any());
            let labels = [("namespace", namespace.as_str()), ("share", name.as_str())];
            ConstCounter::new(carried[at]).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn gauges(
    name: &str,
    help: &str,
    listed: &[Listed],
    encoder: &mut DescriptorEncoder<'_>,
    value: impl Fn(&Listed) -> i64,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for one in listed {
        let (namespace, name) = (one.share.namespace().unwrap_or_default(), one.share.name_any());
        let labels = [("namespace", namespace.as_str()), ("share", name.as_str())];
        ConstGauge::new(value(one)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
