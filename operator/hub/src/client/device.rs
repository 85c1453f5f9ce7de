//! Logging in without a key: the hub gives a code, the user confirms it in a browser, the hub gives a key.

use std::time::Duration;

use hyper::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::Client;
use crate::error::Error;

/// What a hub that does not say gives the user, as the recorded hubs do.
const USUAL_LIFE_SECONDS: u64 = 900;

/// How often a hub that does not say is asked, as the recorded hubs want it.
const USUAL_INTERVAL_SECONDS: u64 = 5;

/// A login that waits for its user.
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// What we show to the hub; whoever has it gets the key.
    device_code: SecretString,
    /// What the user confirms.
    pub user_code: String,
    /// Where.
    pub verification_url: String,
    /// How long the user has.
    pub expires_in: Duration,
    /// How often the hub may be asked.
    pub interval: Duration,
}

/// What the hub says to a login that waits.
#[derive(Debug)]
pub enum DeviceAnswer {
    /// The user has not confirmed yet.
    Pending,
    /// The key; hubs tell it once only.
    Granted(SecretString),
    /// Too late, or told already.
    Expired,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ask<'a> {
    label: &'a str,
    agent_name: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    device_code: SecretString,
    user_code: String,
    verification_url: String,
    expires_in: Option<u64>,
    interval: Option<u64>,
}

#[derive(Deserialize)]
struct Token {
    api_key: Option<SecretString>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct WorkspaceAnswer {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    name: Option<String>,
}

// === impl Client ===

impl Client {
    /// Begins a login for a machine of this name; nothing when the hub has no such thing.
    pub async fn device_code(&self, label: &str) -> Result<Option<DeviceCode>, Error> {
        let ask = Ask { label, agent_name: label };
        let answer = self.open(Method::POST, "begin login", "/v1/device/code").json(&ask).send().await;
        let asked: Asked = match answer {
            Ok(asked) => asked,
            Err(Error::Rejected(refused)) if refused.is_unknown_route() => return Ok(None),
            Err(error) => return Err(error),
        };
        let Asked { device_code, user_code, verification_url, expires_in, interval } = asked;
        Ok(Some(DeviceCode {
            device_code,
            user_code,
            verification_url,
            expires_in: Duration::from_secs(expires_in.unwrap_or(USUAL_LIFE_SECONDS)),
            interval: Duration::from_secs(interval.unwrap_or(USUAL_INTERVAL_SECONDS)),
        }))
    }

    /// Asks whether the user has confirmed.
    pub async fn device_token(&self, code: &DeviceCode) -> Result<DeviceAnswer, Error> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("device_code", secrecy::ExposeSecret::expose_secret(&code.device_code));
        let path = format!("/v1/device/token?{}", query.finish());
        match self.open(Method::GET, "finish login", &path).send().await {
            Ok(Token { api_key: Some(key), .. }) => Ok(DeviceAnswer::Granted(key)),
            Ok(Token { error: Some(error), .. }) if error == "expired_token" => Ok(DeviceAnswer::Expired),
            Ok(Token { .. }) => Ok(DeviceAnswer::Pending),
            Err(Error::Rejected(refused)) if refused.status == 400 => Ok(DeviceAnswer::Expired),
            Err(error) => Err(error),
        }
    }

    /// The name of the workspace that the API key opens; nothing when the hub does not tell.
    pub async fn workspace(&self) -> Result<Option<String>, Error> {
        match self.keyed(Method::GET, "read workspace", "/v1/workspace").send().await {
            Ok(WorkspaceAnswer { workspace }) => Ok(workspace.name),
            Err(Error::Rejected(refused)) if refused.is_unknown_route() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
