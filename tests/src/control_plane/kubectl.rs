//! Real kubectl, run as a person runs it: arguments in, text and an exit code out.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// No command of ours takes longer, even on a machine that is busy compiling.
const LONGEST_COMMAND: Duration = Duration::from_secs(120);

/// How kubectl is run: by whom, in which namespace, with which plugins.
#[derive(Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    namespace: Option<String>,
    plugins: Vec<PathBuf>,
    environment: Environment,
}

/// What kubectl finds in its environment besides `PATH`.
#[derive(Clone)]
enum Environment {
    /// All of ours, except that `KUBECONFIG` is the one we were given or none.
    OwnConfig,
    /// All of ours.
    Ours,
    /// Nothing but this home.
    Bare(PathBuf),
}

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed to stdout.
    pub stdout: String,
    /// What it printed to stderr.
    pub stderr: String,
    command: String,
}

impl Kubectl {
    /// kubectl with this kubeconfig, or with none.
    pub fn new(program: PathBuf, kubeconfig: Option<PathBuf>) -> Self {
        let environment = Environment::OwnConfig;
        Self { program, kubeconfig, context: None, namespace: None, plugins: Vec::new(), environment }
    }

    /// kubectl as it is set up on this machine.
    pub fn of_this_machine(program: PathBuf) -> Self {
        Self { environment: Environment::Ours, ..Self::new(program, None) }
    }

    /// Uses another context of the kubeconfig.
    #[must_use]
    pub fn in_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Adds `-n NAMESPACE` to every command.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Uses another kubeconfig.
    #[must_use]
    pub fn as_user(mut self, kubeconfig: impl Into<PathBuf>) -> Self {
        self.kubeconfig = Some(kubeconfig.into());
        self
    }

    /// Puts a folder with plugins on `PATH`, before those that are there.
    #[must_use]
    pub fn with_plugins(mut self, folder: impl Into<PathBuf>) -> Self {
        self.plugins.insert(0, folder.into());
        self
    }

    /// Runs on a machine of its own: an empty home, no kubeconfig, and nothing of our environment but `PATH`.
    #[must_use]
    pub fn on_a_bare_machine(self, home: impl Into<PathBuf>) -> Self {
        let environment = Environment::Bare(home.into());
        Self { kubeconfig: None, context: None, namespace: None, environment, ..self }
    }

    /// The command, ready to be started.
    pub fn command<Argument: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = Argument>) -> Command {
        let mut command = Command::new(&self.program);
        match &self.environment {
            Environment::Ours => {}
            Environment::OwnConfig => {
                command.env_remove("KUBECONFIG");
            }
            Environment::Bare(home) => {
                command.env_clear().env("HOME", home);
            }
        }
        // Times are shown in the zone of the machine; what is expected is written in one.
        command.env("PATH", self.path()).env("TZ", "UTC");
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command.args(arguments);
        // After the arguments: kubectl takes flags before a plugin's name for its own and then finds no plugin.
        for (flag, value) in [("--namespace", &self.namespace), ("--context", &self.context)] {
            if let Some(value) = value {
                command.args([flag, value]);
            }
        }
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// kubectl cannot be started or does not end in time; a failing command is an [`Output`] like any other.
    pub async fn run<Argument: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> Result<Output> {
        self.run_with_input(arguments, "").await
    }

    /// Runs a command to its end, with this text as its input.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn run_with_input<Argument: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = Argument>,
        input: &str,
    ) -> Result<Output> {
        self.end(self.command(arguments), input).await
    }

    /// Runs a command to its end, with these variables in its environment as well.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn run_by<Argument: AsRef<OsStr>>(
        &self,
        variables: &[(&str, &str)],
        arguments: impl IntoIterator<Item = Argument>,
    ) -> Result<Output> {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        self.end(command, "").await
    }

    async fn end(&self, command: Command, input: &str) -> Result<Output> {
        let shown = shown(&command);
        let mut child = tokio::process::Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads no input may have closed it already.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = timeout(LONGEST_COMMAND, child.wait_with_output())
            .await
            .map_err(|_| anyhow!("`{shown}` did not end within {} s", LONGEST_COMMAND.as_secs()))?
            .with_context(|| format!("cannot wait for `{shown}`"))?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            command: shown,
        })
    }

    /// Applies objects written as YAML.
    ///
    /// # Errors
    /// The API server refuses them.
    pub async fn apply(&self, yaml: &str) -> Result<Output> {
        self.run_with_input(["apply", "-f", "-"], yaml).await?.success()
    }

    /// Lines for a shell in which `kubectl` then means this.
    pub fn exports(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(kubeconfig) = &self.kubeconfig {
            lines.push(format!("export KUBECONFIG={}", kubeconfig.display()));
        }
        let folders = self.plugins.iter().map(PathBuf::as_path).chain(self.program.parent());
        let folders: Vec<_> = folders.map(|folder| folder.display().to_string()).collect();
        lines.push(format!("export PATH={}:$PATH", folders.join(":")));
        if let Some(context) = &self.context {
            lines.push(format!("kubectl config use-context {context}"));
        }
        if let Some(namespace) = &self.namespace {
            lines.push(format!("kubectl config set-context --current --namespace {namespace}"));
        }
        lines
    }

    fn path(&self) -> OsString {
        let own = self.program.parent().map(Path::to_owned);
        let system = env::var_os("PATH").unwrap_or_default();
        let folders = self.plugins.iter().cloned().chain(own).chain(env::split_paths(&system));
        // Fails only for a folder with a colon in its name, which `PATH` cannot name anyway.
        env::join_paths(folders).unwrap_or(system)
    }
}

impl Output {
    /// This output, when the command succeeded.
    ///
    /// # Errors
    /// It failed; the message holds all it printed.
    pub fn success(self) -> Result<Self> {
        ensure!(self.code == Some(0), "{}", self.report());
        Ok(self)
    }

    /// This output, when the command failed with this code.
    ///
    /// # Errors
    /// It succeeded, or failed with another code.
    pub fn fails_with(self, code: i32) -> Result<Self> {
        ensure!(self.code == Some(code), "expected exit code {code}: {}", self.report());
        Ok(self)
    }

    /// The command, how it ended and all it printed.
    pub fn report(&self) -> String {
        let Self { code, stdout, stderr, command } = self;
        let ended = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        format!("`{command}` ended with {ended}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }

    /// The command as a person types it.
    pub fn command(&self) -> &str {
        &self.command
    }
}

/// A command as a person types it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        if word.contains(' ') { format!("\"{word}\"") } else { word.into_owned() }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
