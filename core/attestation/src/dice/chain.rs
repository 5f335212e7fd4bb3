//! The chain as a whole: from a pinned key to the attestation key, of the enrolled device.

use super::certificate::Certificate;
use super::measurement::Measurement;
use super::policy::Policy;
use crate::appraisal::{Finding, Reason};
use alcub3_crypto::VerifyingKey;

/// A chain that holds: signed from a pinned key on, each certificate by the one before it, of the enrolled device. Only
/// [`VerifiedChain::verify`] makes one.
#[derive(Debug)]
pub(super) struct VerifiedChain {
    certificates: Vec<Certificate>,
    leaf: Certificate,
}

impl VerifiedChain {
    pub(super) fn verify(ders: &[&[u8]], policy: &Policy<'_>, now_s: u64) -> Result<Self, Finding> {
        let mut certificates = Vec::with_capacity(ders.len());
        for (at, der) in ders.iter().enumerate() {
            certificates.push(Certificate::parse(der).map_err(|finding| finding.at_layer(at))?);
        }
        check_root(&certificates, policy)?;
        check_links(&certificates)?;
        check_times(&certificates, now_s)?;
        let leaf = certificates.pop();
        let leaf = leaf.ok_or_else(|| Finding::new(Reason::Malformed, "it has no certificate"))?;
        let chain = Self { certificates, leaf };
        chain.check_rights()?;
        chain.check_device(policy)?;
        Ok(chain)
    }

    /// The attestation key.
    pub(super) const fn key(&self) -> &VerifyingKey {
        &self.leaf.key
    }

    /// All certificates' measurements with their numbers, where they have some.
    pub(super) fn measurements(&self) -> impl Iterator<Item = (usize, &Measurement)> {
        let all = self.all().enumerate();
        all.filter_map(|(at, certificate)| Some((at, certificate.extensions.measurement.as_ref()?)))
    }

    /// The keys from the first measured layer's down: those that a device makes of itself.
    pub(super) fn device_keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        let measured = |certificate: &&Certificate| certificate.extensions.measurement.is_some();
        let below = self.all().skip_while(move |one| !measured(one));
        below.map(|certificate| &certificate.key)
    }

    /// The first authority without measurements below one that has them: a layer that nobody measured.
    pub(super) fn unmeasured(&self) -> Option<usize> {
        let measured = |certificate: &Certificate| certificate.extensions.measurement.is_some();
        let first = self.certificates.iter().position(measured)?;
        let mut below = self.certificates.iter().enumerate().skip(first);
        below
            .find(|(_, certificate)| !measured(certificate))
            .map(|(at, _)| at)
    }

    fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().chain([&self.leaf])
    }

    fn check_rights(&self) -> Result<(), Finding> {
        for (at, certificate) in self.certificates.iter().enumerate() {
            let below = self.certificates.len().saturating_sub(at + 1);
            certificate
                .extensions
                .may_issue(below)
                .map_err(|why| Finding::new(Reason::DiceAuthority, why).at_layer(at))?;
        }
        self.leaf
            .extensions
            .may_attest()
            .map_err(|why| Finding::new(Reason::DiceLeaf, why).at_layer(self.certificates.len()))
    }

    /// The device's key issued the first measurements, or is the key of what they measure. A key further down could be one
    /// that any device's firmware gave itself.
    fn check_device(&self, policy: &Policy<'_>) -> Result<(), Finding> {
        let first = self.measurements().next().map(|(at, _)| at);
        let first = first.ok_or_else(|| Finding::new(Reason::DiceLayerMissing, "it has no measurements"))?;
        let issuer = first.checked_sub(1);
        let is_device = |at: usize| {
            self.all()
                .nth(at)
                .is_some_and(|found| found.key == *policy.device_key)
        };
        // Where the device's key is the pinned one and issued the first certificate, the root's check has shown it.
        let pinned = issuer.is_none() && policy.roots.is_empty();
        if !pinned && !is_device(first) && !issuer.is_some_and(is_device) {
            let detail = "neither the first measured layer nor its issuer has the enrolled device's key";
            return Err(Finding::new(Reason::DiceDevice, detail).at_layer(first));
        }
        let mut names = self.all().filter_map(|found| found.extensions.ueid.as_ref());
        let name = names.next();
        match names.all(|other| Some(other) == name) {
            true => Ok(()),
            false => Err(Finding::new(Reason::DiceDevice, "it names two devices")),
        }
    }
}

fn check_root(certificates: &[Certificate], policy: &Policy<'_>) -> Result<(), Finding> {
    let pinned = match policy.roots {
        [] => core::slice::from_ref(policy.device_key),
        roots => roots,
    };
    let signed = |first: &Certificate| pinned.iter().any(|key| first.verify(key).is_ok());
    match certificates.first().is_some_and(signed) {
        true => Ok(()),
        false => {
            let detail = "no pinned key signed its first certificate";
            Err(Finding::new(Reason::DiceRoot, detail).at_layer(0))
        }
    }
}

fn check_links(certificates: &[Certificate]) -> Result<(), Finding> {
    let pairs = certificates.iter().zip(certificates.iter().skip(1));
    for (at, (issuer, subject)) in pairs.enumerate() {
        if !subject.names(issuer) {
            let detail = format!("certificate {} is not issued by {at}", at + 1);
            return Err(Finding::new(Reason::DiceIssuer, detail).at_layer(at + 1));
        }
        subject
            .verify(&issuer.key)
            .map_err(|error| Finding::new(Reason::DiceChainSignature, error.to_string()).at_layer(at + 1))?;
    }
    Ok(())
}

fn check_times(certificates: &[Certificate], now_s: u64) -> Result<(), Finding> {
    for (at, certificate) in certificates.iter().enumerate() {
        certificate
            .check_time(now_s)
            .map_err(|detail| Finding::new(Reason::DiceValidity, detail).at_layer(at))?;
    }
    Ok(())
}
