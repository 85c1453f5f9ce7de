//! Argo CD's rules, run as Argo CD runs them: Lua 5.1, the object in `obj`, no input and no output but the answer.

use anyhow::{Context as _, Result};
use mlua::{Lua, LuaOptions, LuaSerdeExt, StdLib};
use serde_json::Value;

use super::kit;

/// The libraries that Argo CD opens, besides the language's own.
const LIBRARIES: [StdLib; 3] = [StdLib::TABLE, StdLib::STRING, StdLib::OS];

/// Where rules for a kind are kept.
fn key(what: &str, kind: &str) -> String {
    format!("resource.customizations.{what}.connect.privateconnect.co_{kind}")
}

/// What a script makes of an object.
fn run(script: &str, object: &Value) -> Result<Value> {
    let libraries = LIBRARIES.into_iter().fold(StdLib::NONE, |all, library| all | library);
    let lua = Lua::new_with(libraries, LuaOptions::default()).context("no interpreter")?;
    let object = lua.to_value(object).context("the object is no table")?;
    lua.globals().set("obj", object).context("the object cannot be given")?;
    let answer: mlua::Value = lua.load(script).eval().with_context(|| format!("it fails: {script}"))?;
    lua.from_value(answer).context("the answer is no value")
}

/// The health of an object, and why.
pub(super) fn health(object: &Value) -> Result<(String, String)> {
    let config = kit("argocd-cm.yaml")?;
    let kind = object["kind"].as_str().context("a kind")?;
    let script = config["data"][key("health", kind)].as_str().context("rules for the kind")?;
    let answer = run(script, object)?;
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("message")))
}

/// The actions on a share that are offered, and what each makes of it.
pub(super) struct Actions(Value);

impl Actions {
    pub(super) fn read() -> Result<Self> {
        let config = kit("argocd-cm.yaml")?;
        let text = config["data"][key("actions", "EnvironmentShare")].as_str().context("actions")?;
        Ok(Self(serde_saphyr::from_str(text).context("actions are YAML")?))
    }

    /// Names of those that can be chosen now.
    pub(super) fn offered(&self, object: &Value) -> Result<Vec<String>> {
        let script = self.0["discovery.lua"].as_str().context("a script")?;
        let found = run(script, object)?;
        let found = found.as_object().context("a table of actions")?;
        let enabled = found.iter().filter(|(_, action)| action["disabled"] != true);
        let mut names: Vec<String> = enabled.map(|(name, _)| name.clone()).collect();
        names.sort();
        Ok(names)
    }

    /// The object after an action.
    pub(super) fn perform(&self, name: &str, object: &Value) -> Result<Value> {
        let definitions = self.0["definitions"].as_array().context("definitions")?;
        let definition =
            definitions.iter().find(|definition| definition["name"] == name).context("the action")?;
        run(definition["action.lua"].as_str().context("a script")?, object)
    }
}
