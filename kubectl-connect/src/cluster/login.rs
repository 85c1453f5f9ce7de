//! Why the kubeconfig's way to log in led nowhere, as one sentence.

use kube::client::AuthError;

use crate::failure::{Failure, chain, root, words_of};

/// What failed while logging in, if it was that. The library has it at the bottom of what it says of the request.
pub fn cause(error: &kube::Error) -> Option<&AuthError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let boxed = error.downcast_ref::<Box<AuthError>>().map(|error| &**error);
        if let Some(found) = error.downcast_ref::<AuthError>().or(boxed) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The sentence, and what to do.
pub fn failure(error: &AuthError) -> Failure {
    let why = match error {
        AuthError::AuthExecRun { out, .. } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said =
                said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
            let code = out
                .status
                .code()
                .map_or_else(|| "by a signal".to_owned(), |code| format!("with exit code {code}"));
            format!("the program that the kubeconfig names ended {code}: {said}")
        }
        AuthError::AuthExecStart(error) => {
            format!("the program that the kubeconfig names cannot be run: {}", words_of(error.kind()))
        }
        AuthError::AuthExec(why) => why.clone(),
        AuthError::Oidc(error) => format!("the login provider of the kubeconfig: {}", root(error)),
        error => chain(error),
    };
    Failure::new(format!("Cannot log in to the cluster: {why}"))
        .hint("Log in again with the tool of your cluster, or choose another --context.")
}
