//! Reasons to reconcile, and the bounded channels over which they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use connect_crds::{EnvironmentShare, ServiceExpose};
use k8s_openapi::api::core::v1::Service;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

/// Triggers waiting for a controller. Beyond it the watches wait, and the API server buffers.
const TRIGGERS_CAPACITY: usize = 1024;

/// A reason to reconcile.
#[derive(Clone, Debug)]
pub enum Trigger<K: Resource<DynamicType = ()>> {
    /// One object.
    One(ObjectRef<K>),
    /// All objects.
    All,
}

/// The sending ends of the triggers.
#[derive(Clone)]
pub struct Triggers {
    /// watches --which ServiceExposes to look at--> controller
    pub exposes_tx: mpsc::Sender<Trigger<ServiceExpose>>,
    /// watches --which EnvironmentShares to look at--> controller
    pub shares_tx: mpsc::Sender<Trigger<EnvironmentShare>>,
    /// watches --which Services to look at--> controller; none when labels on Services are not asked for
    services_tx: Option<mpsc::Sender<Trigger<Service>>>,
    ready: Arc<AtomicBool>,
}

/// The receiving ends of the triggers.
pub struct Triggered {
    /// Which ServiceExposes to look at.
    pub exposes_rx: mpsc::Receiver<Trigger<ServiceExpose>>,
    /// Which EnvironmentShares to look at.
    pub shares_rx: mpsc::Receiver<Trigger<EnvironmentShare>>,
    /// Which Services to look at, when labels on them are asked for.
    pub services_rx: Option<mpsc::Receiver<Trigger<Service>>>,
}

/// Both ends of the triggers; those of Services only when labels on them are asked for.
pub fn triggers(labelled_services: bool) -> (Triggers, Triggered) {
    let (exposes_tx, exposes_rx) = mpsc::channel(TRIGGERS_CAPACITY);
    let (shares_tx, shares_rx) = mpsc::channel(TRIGGERS_CAPACITY);
    let (services_tx, services_rx) = labelled_services.then(|| mpsc::channel(TRIGGERS_CAPACITY)).unzip();
    (
        Triggers { exposes_tx, shares_tx, services_tx, ready: Arc::default() },
        Triggered { exposes_rx, shares_rx, services_rx },
    )
}

impl Triggers {
    /// From now on changes trigger; everything is triggered once.
    pub async fn open(&self) {
        self.ready.store(true, Ordering::Release);
        self.all().await;
    }

    /// How many triggers wait for each controller.
    pub fn waiting(&self) -> impl Iterator<Item = (&'static str, usize)> {
        fn depth<T>(queue: &mpsc::Sender<T>) -> usize {
            queue.max_capacity() - queue.capacity()
        }
        let always =
            [("ServiceExpose", depth(&self.exposes_tx)), ("EnvironmentShare", depth(&self.shares_tx))];
        always.into_iter().chain(self.services_tx.as_ref().map(|queue| ("Service", depth(queue))))
    }

    /// Whether changes trigger.
    pub fn are_open(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Everything is to be looked at.
    pub async fn all(&self) {
        self.expose(Trigger::All).await;
        self.share(Trigger::All).await;
        self.service(Trigger::All).await;
    }

    /// A ServiceExpose is to be looked at, or all of them.
    pub async fn expose(&self, trigger: Trigger<ServiceExpose>) {
        if self.are_open() {
            // A closed channel means that the operator stops.
            let _ = self.exposes_tx.send(trigger).await;
        }
    }

    /// A Service is to be looked at, or all of them.
    pub async fn service(&self, trigger: Trigger<Service>) {
        if let Some(services_tx) = self.services_tx.as_ref().filter(|_| self.are_open()) {
            let _ = services_tx.send(trigger).await;
        }
    }

    /// An EnvironmentShare is to be looked at, or all of them.
    pub async fn share(&self, trigger: Trigger<EnvironmentShare>) {
        if self.are_open() {
            let _ = self.shares_tx.send(trigger).await;
        }
    }
}
