//! What `doctor` works with.

use connect_hub::url::{HubUrl, InsecureHttp};

use super::credentials::Credentials;
use super::hub::MeantKey;
use super::{Environment, invalid_namespace, is_label};
use crate::cli::{DoctorArgs, ReportArg};
use crate::failure::{Failure, Outcome};

/// What is to be checked.
#[derive(Debug)]
pub struct DoctorSettings {
    /// Namespace of the operator.
    pub operator_namespace: String,
    /// A hub that is to be checked, besides those that the cluster speaks of.
    pub hub: Option<HubUrl>,
    /// The API key of the environment.
    pub api_key: Option<MeantKey>,
    /// Keys that `login` has kept.
    pub credentials: Credentials,
    /// How it is printed; for people, if nothing is said.
    pub form: Option<ReportArg>,
}

/// Checks the flags of `doctor`.
///
/// # Errors
/// A value that cannot be used.
pub fn doctor(args: DoctorArgs, environment: Environment<'_>) -> Outcome<DoctorSettings> {
    let DoctorArgs { operator_namespace, hub, output } = args;
    let hub = hub.map(|text| HubUrl::parse(&text, InsecureHttp::Allowed)).transpose();
    let hub = hub.map_err(|error| Failure::new(format!("--hub cannot be used: {error}")))?;
    if !is_label(&operator_namespace) {
        return Err(invalid_namespace("--operator-namespace", &operator_namespace));
    }
    let api_key = MeantKey::of(environment, None);
    let credentials = Credentials::at(None, environment);
    Ok(DoctorSettings { operator_namespace, hub, api_key, credentials, form: output })
}
