//! The platforms that a release is made for.

/// A system and a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// As Krew and Go name it.
    pub os: &'static str,
    /// As Krew and Go name it.
    pub arch: &'static str,
    /// As Rust names both.
    pub target: &'static str,
}

// === impl Platform ===

impl Platform {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self { os: "linux", arch: "amd64", target: "x86_64-unknown-linux-gnu" },
        Self { os: "linux", arch: "arm64", target: "aarch64-unknown-linux-gnu" },
        Self { os: "darwin", arch: "amd64", target: "x86_64-apple-darwin" },
        Self { os: "darwin", arch: "arm64", target: "aarch64-apple-darwin" },
        Self { os: "windows", arch: "amd64", target: "x86_64-pc-windows-msvc" },
        Self { os: "windows", arch: "arm64", target: "aarch64-pc-windows-msvc" },
    ];

    /// `linux-amd64`.
    pub fn name(self) -> String {
        format!("{}-{}", self.os, self.arch)
    }

    /// The file of its archive.
    pub fn archive(self, version: &str) -> String {
        format!("kubectl-connect-v{version}-{}.tar.gz", self.name())
    }

    /// What the program is called there.
    pub fn program(self) -> &'static str {
        if self.os == "windows" { "kubectl-connect.exe" } else { "kubectl-connect" }
    }
}
