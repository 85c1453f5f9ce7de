//! The API keys that `login` keeps: one per hub, in a file that nobody else can read.
//!
//! The file is JSON, `{"hubs": {"https://hub.example.com": {"apiKey": "..."}}}`. Whatever else is in it stays as it is, so
//! it may be the `connect` tool's own file. It is replaced as a whole, so that no reader meets half of it.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use connect_hub::url::HubUrl;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::config_file::{self, MAX_BYTES, Problem};
use super::{Environment, home};
use crate::failure::{Failure, Outcome, words_of};

/// The file, below the folder for settings.
const FILE: &str = "kubectl-connect/config.json";

/// Where keys are kept; nowhere on a machine without a home.
#[derive(Debug)]
pub struct Credentials {
    path: Option<PathBuf>,
}

// === impl Credentials ===

impl Credentials {
    /// The file that was asked for, else the one in the user's folder for settings.
    pub fn at(asked: Option<PathBuf>, environment: Environment<'_>) -> Self {
        let folder = || {
            let absolute = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
            absolute("XDG_CONFIG_HOME")
                .or_else(|| absolute("APPDATA"))
                .or_else(|| home(environment).map(|home| home.join(".config")))
        };
        Self { path: asked.or_else(|| folder().map(|folder| folder.join(FILE))) }
    }

    /// The key that is kept for a hub.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn key_for(&self, hub: &HubUrl) -> Outcome<Option<SecretString>> {
        let Some(path) = &self.path else { return Ok(None) };
        let key = read(path)?
            .get("hubs")
            .and_then(|hubs| hubs.get(hub.as_str())?.get("apiKey")?.as_str().map(SecretString::from));
        Ok(key)
    }

    /// Keeps a key for a hub, and gives the file it is in.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn keep(&self, hub: &HubUrl, key: &SecretString) -> Outcome<&Path> {
        let path = self.path.as_deref().ok_or_else(|| {
            Failure::new("There is no place to save the key: this user has no home folder")
                .hint("Name a file with --config, or set HOME or XDG_CONFIG_HOME.")
        })?;
        let mut file = read(path)?;
        let hubs = file.entry("hubs").or_insert_with(|| json!({}));
        let hubs = hubs.as_object_mut().ok_or_else(|| unusable(path, &Problem::Format))?;
        hubs.insert(hub.to_string(), json!({ "apiKey": key.expose_secret() }));
        write(path, &file)?;
        Ok(path)
    }

    /// Forgets the key of a hub. Says whether there was one.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn forget(&self, hub: &HubUrl) -> Outcome<bool> {
        let Some(path) = &self.path else { return Ok(false) };
        let mut file = read(path)?;
        let hubs = file.get_mut("hubs").and_then(Value::as_object_mut);
        if hubs.and_then(|hubs| hubs.remove(hub.as_str())).is_none() {
            return Ok(false);
        }
        write(path, &file)?;
        Ok(true)
    }
}

/// What the file says; nothing when there is none.
fn read(path: &Path) -> Outcome<Map<String, Value>> {
    let bytes = match config_file::read_limited(path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(Problem::Read(ErrorKind::NotFound | ErrorKind::NotADirectory)) => return Ok(Map::new()),
        Err(problem) => return Err(unusable(path, &problem)),
    };
    serde_json::from_slice(&bytes).map_err(|_| unusable(path, &Problem::Format))
}

/// Replaces the file as a whole.
fn write(path: &Path, file: &Map<String, Value>) -> Outcome<()> {
    let refuse = |error: std::io::Error| {
        Failure::new(format!("Cannot keep the key in {}: {}", path.display(), words_of(error.kind())))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_private(folder).map_err(refuse)?;
    // Made readable by nobody else, which is what the library does on Unix systems; elsewhere the folder's rules hold.
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(refuse)?;
    let text = serde_json::to_vec_pretty(file).map_err(|error| refuse(error.into()))?;
    new.write_all(&text).and_then(|()| new.write_all(b"\n")).map_err(refuse)?;
    new.as_file().sync_all().map_err(refuse)?;
    new.persist(path).map_err(|error| refuse(error.error))?;
    Ok(())
}

/// Makes the folders that are missing, for us alone.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn unusable(path: &Path, problem: &Problem) -> Failure {
    Failure::new(format!("Cannot use the config file {}: {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_hub::url::InsecureHttp;

    fn hub(url: &str) -> HubUrl {
        HubUrl::parse(url, InsecureHttp::Refused).expect("valid")
    }

    fn key(credentials: &Credentials, url: &str) -> Option<String> {
        let key = credentials.key_for(&hub(url)).expect("readable");
        key.map(|key| key.expose_secret().to_owned())
    }

    #[test]
    fn a_key_is_kept_for_its_hub_alone_until_it_is_forgotten() {
        let home = tempfile::tempdir().expect("a folder");
        let text = home.path().to_str().expect("plain path").to_owned();
        let credentials = Credentials::at(None, &|name| (name == "HOME").then(|| text.clone()));
        assert_eq!(key(&credentials, "https://a"), None);
        let path = credentials.keep(&hub("https://a"), &"pc_a".into()).expect("kept").to_owned();
        credentials.keep(&hub("https://b"), &"pc_b".into()).expect("kept");
        assert_eq!(path, home.path().join(".config/kubectl-connect/config.json"));
        assert_eq!(key(&credentials, "https://a").as_deref(), Some("pc_a"));
        assert_eq!(key(&credentials, "https://b").as_deref(), Some("pc_b"));
        assert_eq!(key(&credentials, "https://c"), None);
        assert_eq!(credentials.forget(&hub("https://a")), Ok(true));
        assert_eq!(credentials.forget(&hub("https://a")), Ok(false));
        assert_eq!(key(&credentials, "https://a"), None);
        assert_eq!(key(&credentials, "https://b").as_deref(), Some("pc_b"));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_the_file_even_where_they_could_before() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/config.json");
        let credentials = Credentials::at(Some(path.clone()), &|_| None);
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        credentials.keep(&hub("https://a"), &"pc_a".into()).expect("kept");
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed");
        credentials.keep(&hub("https://a"), &"pc_b".into()).expect("kept");
        assert_eq!(mode(&path), 0o600);
        let beside = path.parent().expect("a folder").read_dir().expect("readable").count();
        assert_eq!(beside, 1, "nothing is left beside the file");
    }

    #[test]
    fn what_else_is_in_the_file_stays_and_a_broken_file_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, r#"{"hubUrl":"https://mine","apiKey":"pc_mine","agentId":"x"}"#)
            .expect("a file");
        let credentials = Credentials::at(Some(path.clone()), &|_| None);
        credentials.keep(&hub("https://a"), &"pc_a".into()).expect("kept");
        let file: Value = serde_json::from_slice(&std::fs::read(&path).expect("there")).expect("JSON");
        assert_eq!(
            file,
            json!({"hubUrl": "https://mine", "apiKey": "pc_mine", "agentId": "x", "hubs": {"https://a": {"apiKey": "pc_a"}}})
        );
        std::fs::write(&path, "pc_secret").expect("a file");
        let refused = credentials.keep(&hub("https://a"), &"pc_a".into()).expect_err("broken").render();
        assert!(refused.contains("it is not JSON") && !refused.contains("pc_secret"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "pc_secret");
    }
}
