//! The control plane's certificate authority: the API server's certificate, and one for each user we make up.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::kubeconfig::Identity;
use crate::scratch::private_file;

/// Files in the control plane's folder.
pub(super) const CA: &str = "ca.crt";
pub(super) const SERVER_CERTIFICATE: &str = "server.crt";
pub(super) const SERVER_KEY: &str = "server.key";
pub(super) const ACCOUNTS_KEY: &str = "accounts.key";
pub(super) const ACCOUNTS_PUBLIC_KEY: &str = "accounts.pub";

/// Names under which the API server is reached.
const SERVER_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "kubernetes.default.svc"];

/// Signs what this control plane trusts.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The certificate that proves the others.
    pub(super) ca_pem: String,
}

impl Authority {
    /// Makes an authority, and writes what the API server reads into `folder`.
    pub(super) fn write(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).context("a CA without names")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "connect-tests");
        let key = KeyPair::generate().context("cannot make a key")?;
        let ca_pem = params.self_signed(&key).context("cannot sign the CA")?.pem();
        let authority = Self { issuer: Issuer::new(params, key), ca_pem };
        fs::write(folder.join(CA), &authority.ca_pem).context("cannot write the CA")?;
        authority.write_server(folder)?;
        let accounts = KeyPair::generate().context("cannot make a key")?;
        private_file(&folder.join(ACCOUNTS_KEY), accounts.serialize_pem())?;
        private_file(&folder.join(ACCOUNTS_PUBLIC_KEY), accounts.public_key_pem())?;
        Ok(authority)
    }

    /// A user who proves who they are by a certificate: CN is the name, each O a group.
    pub(super) fn user(&self, name: &str, groups: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::new(Vec::new()).context("a user without names")?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, name);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        let (certificate, key) = self.sign(&params)?;
        Ok(Identity::Certificate { name: name.to_owned(), certificate, key })
    }

    fn write_server(&self, folder: &Path) -> Result<()> {
        let mut params =
            CertificateParams::new(SERVER_NAMES.map(str::to_owned)).context("a name is not one")?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let (certificate, key) = self.sign(&params)?;
        private_file(&folder.join(SERVER_CERTIFICATE), certificate)?;
        private_file(&folder.join(SERVER_KEY), key)
    }

    fn sign(&self, params: &CertificateParams) -> Result<(String, String)> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign")?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}
