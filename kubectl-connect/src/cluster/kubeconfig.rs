//! The kubeconfig, from wherever it comes, and the proxy that it names.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use connect_hub::dial::Proxies;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::failure::{Failure, Outcome, chain, words_of};

/// Who names the proxy, for sentences.
const PROXY_URL: &str = "proxy-url in the kubeconfig";

/// The kubeconfig that was named, or the usual ones, or the service account of the Pod this runs in; and the proxy that it
/// names, which stands above those of the environment.
pub(super) async fn load(
    path: Option<&Path>,
    options: &KubeConfigOptions,
) -> Outcome<(Config, Option<Proxies>)> {
    let read = match (path, std::env::var_os("KUBECONFIG")) {
        (Some(path), _) => Kubeconfig::read_from(path),
        (None, Some(list)) if !paths(&list).is_empty() => read_list(&paths(&list)),
        (None, _) => Kubeconfig::read(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) if path.is_none() && is_absent(&error) => {
            let config = Config::incluster().map_err(|_| {
                Failure::new("No cluster: there is no kubeconfig").hint(
                    "Name one with --kubeconfig or KUBECONFIG, or log in with the tool of your cluster.",
                )
            })?;
            return Ok((config, None));
        }
        Err(error) => return Err(unusable(&error, options)),
    };
    let proxies = proxies(&kubeconfig, options)?;
    let loaded = Config::from_custom_kubeconfig(kubeconfig, options).await;
    let mut config = loaded.map_err(|error| unusable(&error, options))?;
    config.proxy_url = None; // ours, which knows NO_PROXY
    Ok((config, proxies))
}

/// The files of a list such as `KUBECONFIG` has.
fn paths(list: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// Merges the files of a list. As with kubectl, one that does not exist is passed over; when none does, there is none.
fn read_list(paths: &[PathBuf]) -> Result<Kubeconfig, KubeconfigError> {
    let mut missing = None;
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        match Kubeconfig::read_from(path) {
            Ok(next) => {
                merged = Some(match merged {
                    Some(merged) => merged.merge(next)?,
                    None => next,
                });
            }
            Err(error) if is_absent(&error) => missing = missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    merged.ok_or_else(|| missing.unwrap_or(KubeconfigError::FindPath))
}

/// The proxy of the cluster that is meant.
fn proxies(kubeconfig: &Kubeconfig, options: &KubeConfigOptions) -> Outcome<Option<Proxies>> {
    let context = options.context.as_ref().or(kubeconfig.current_context.as_ref());
    let named = kubeconfig.contexts.iter().find(|named| Some(&named.name) == context);
    let of_context = named.and_then(|named| named.context.as_ref()).map(|context| &context.cluster);
    let Some(name) = options.cluster.as_ref().or(of_context) else { return Ok(None) };
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == *name);
    let url = cluster.and_then(|cluster| cluster.cluster.as_ref()?.proxy_url.as_deref());
    let Some(url) = url.filter(|url| !url.trim().is_empty()) else { return Ok(None) };
    Proxies::only(url, PROXY_URL).map(Some).map_err(|_| {
        Failure::new(format!("The proxy-url of cluster {name} in the kubeconfig is not the URL of a proxy"))
            .hint("Write it as http://proxy.example.com:3128; https:// and socks5:// work, too.")
    })
}

fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(error, _) => error.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

fn unusable(error: &KubeconfigError, options: &KubeConfigOptions) -> Failure {
    match error {
        KubeconfigError::ReadConfig(error, path) => {
            Failure::new(format!("Cannot read the kubeconfig {}: {}", path.display(), words_of(error.kind())))
        }
        KubeconfigError::CurrentContextNotSet => Failure::new("The kubeconfig names no current context")
            .hint("Choose one with --context, or: kubectl config use-context NAME"),
        KubeconfigError::LoadContext(name) => Failure::new(format!("The kubeconfig has no context {name}"))
            .hint("See them with: kubectl config get-contexts"),
        KubeconfigError::LoadClusterOfContext(name) => {
            let asked = if options.cluster.is_some() { "" } else { ", which the context names" };
            Failure::new(format!("The kubeconfig has no cluster {name}{asked}"))
                .hint("See them with: kubectl config get-clusters")
        }
        error => Failure::new(format!("Cannot use the kubeconfig: {}", chain(error))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(folder: &Path, name: &str, context: &str, proxy: Option<&str>) -> PathBuf {
        let path = folder.join(name);
        let proxy = proxy.map(|url| format!(", proxy-url: '{url}'")).unwrap_or_default();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {context}\n\
             clusters: [{{name: {context}, cluster: {{server: 'https://{context}.example.com'{proxy}}}}}]\n\
             contexts: [{{name: {context}, context: {{cluster: {context}, user: u}}}}]\n\
             users: [{{name: u, user: {{}}}}]\n"
        );
        std::fs::write(&path, text).expect("written");
        path
    }

    #[test]
    fn a_missing_file_of_a_list_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let there = |name: &str| file(folder.path(), name, name, None);
        let (a, b, missing) = (there("a"), there("b"), folder.path().join("missing"));
        let bad = folder.path().join("bad");
        std::fs::write(&bad, "{").expect("written");
        let current = |paths: &[&PathBuf]| {
            let paths: Vec<_> = paths.iter().map(|path| (*path).clone()).collect();
            read_list(&paths).map(|read| (read.current_context, read.contexts.len()))
        };
        for (list, expected) in [
            (&[&a][..], ("a", 1)),
            (&[&a, &b], ("a", 2)),
            (&[&missing, &b], ("b", 1)),
            (&[&a, &missing], ("a", 1)),
            (&[&missing, &a, &missing, &b], ("a", 2)),
            (&[&a, &a], ("a", 1)),
        ] {
            let (context, contexts) = current(list).expect("readable");
            assert_eq!((context.as_deref(), contexts), (Some(expected.0), expected.1), "{list:?}");
        }
        for list in [&[&missing][..], &[&missing, &missing]] {
            assert!(is_absent(&current(list).expect_err("nothing is there")), "{list:?}");
        }
        for list in [&[&bad][..], &[&missing, &bad], &[&a, &bad]] {
            assert!(!is_absent(&current(list).expect_err("one cannot be read")), "{list:?}");
        }
        let folder = folder.path().to_owned();
        assert!(!is_absent(&current(&[&a, &folder]).expect_err("a folder is no file")));
    }

    #[test]
    fn the_proxy_is_that_of_the_cluster_that_is_meant() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = file(folder.path(), "one", "one", Some("socks5://proxy"));
        let two = file(folder.path(), "two", "two", None);
        let odd = file(folder.path(), "odd", "odd", Some("ftp://mia:secret@proxy"));
        let kubeconfig = read_list(&[one, two, odd]).expect("readable");
        let chosen = |context: Option<&str>, cluster: Option<&str>| {
            let options = KubeConfigOptions {
                context: context.map(Into::into),
                cluster: cluster.map(Into::into),
                user: None,
            };
            proxies(&kubeconfig, &options).map(|proxies| proxies.is_some())
        };
        assert_eq!(chosen(None, None), Ok(true));
        assert_eq!(chosen(Some("two"), None), Ok(false));
        assert_eq!(chosen(Some("two"), Some("one")), Ok(true));
        assert_eq!(chosen(Some("none"), None), Ok(false));
        let refused = chosen(Some("odd"), None).expect_err("no proxy").render();
        assert!(refused.contains("cluster odd") && !refused.contains("secret"), "{refused}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_list_is_the_merge_of_its_files_that_exist(list in prop::collection::vec((0..4usize, any::<bool>()), 0..6)) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut paths = Vec::new();
            let mut expected = Vec::new();
            for (number, is_there) in list {
                let name = format!("c{number}");
                if is_there {
                    paths.push(file(folder.path(), &name, &name, None));
                    if !expected.contains(&name) {
                        expected.push(name);
                    }
                } else {
                    paths.push(folder.path().join("missing").join(name));
                }
            }
            let text = std::env::join_paths(&paths).expect("no colons");
            let read = read_list(&super::paths(&text));
            match (read, expected.first()) {
                (Ok(read), Some(first)) => {
                    prop_assert_eq!(read.current_context.as_ref(), Some(first));
                    let names: Vec<_> = read.contexts.into_iter().map(|context| context.name).collect();
                    prop_assert_eq!(names, expected);
                }
                (Err(error), None) => prop_assert!(is_absent(&error)),
                (read, _) => prop_assert!(false, "{:?}", read.map(|read| read.current_context)),
            }
        }

        #[test]
        fn no_list_makes_it_panic(text in "[a-z/:.\"' ]{0,40}") {
            let _ = read_list(&super::paths(OsStr::new(&text)));
        }
    }
}
