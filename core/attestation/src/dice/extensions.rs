//! The extensions of a certificate, each known, once, and in its one encoding (RFC 5280 §4.2).

use super::measurement::{Measurement, exact};
use crate::appraisal::{Finding, Reason};
use der::asn1::{ObjectIdentifier, OctetString};
use der::oid::AssociatedOid;
use der::{DecodeOwned, Encode, Sequence};
use std::collections::BTreeSet;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

/// tcg-dice-Ueid.
const UEID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.4");
/// tcg-dice-kp-attestInit and tcg-dice-kp-attestLoc (TCG DICE Certificate Profiles).
const ATTESTATION: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("2.23.133.5.4.100.8"),
    ObjectIdentifier::new_unwrap("2.23.133.5.4.100.9"),
];
/// tcg-dice-kp-eca.
const EMBEDDED_CA: [ObjectIdentifier; 1] = [ObjectIdentifier::new_unwrap("2.23.133.5.4.100.12")];

/// What the extensions that are known here say; others, if not critical, say nothing.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    purposes: Option<ExtendedKeyUsage>,
    /// The device's identifier.
    pub(super) ueid: Option<Vec<u8>>,
    /// The measurements of the layer whose key is certified.
    pub(super) measurement: Option<Measurement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
struct TcgUeid {
    ueid: OctetString,
}

impl Extensions {
    pub(super) fn read(extensions: &[Extension]) -> Result<Self, Finding> {
        let mut found = Self::default();
        let mut seen = BTreeSet::new();
        for extension in extensions {
            if !seen.insert(extension.extn_id) {
                let detail = format!("{} comes twice", extension.extn_id);
                return Err(Finding::new(Reason::DiceExtension, detail));
            }
            found.take(extension)?;
        }
        Ok(found)
    }

    fn take(&mut self, extension: &Extension) -> Result<(), Finding> {
        let (id, value) = (extension.extn_id, extension.extn_value.as_bytes());
        match id {
            BasicConstraints::OID => self.constraints = Some(standard(id, value)?),
            KeyUsage::OID => self.key_usage = Some(standard(id, value)?),
            ExtendedKeyUsage::OID => self.purposes = Some(standard(id, value)?),
            UEID => self.ueid = Some(standard::<TcgUeid>(id, value)?.ueid.as_bytes().to_vec()),
            _ => match Measurement::of_extension(id, value) {
                Some(read) => self.measure(read.map_err(|error| error.to_string()))?,
                None if extension.critical => {
                    let detail = format!("{id} is critical and not known here");
                    return Err(Finding::new(Reason::DiceExtension, detail));
                }
                None => {}
            },
        }
        Ok(())
    }

    /// Two kinds of measurements in one certificate could be judged by the one and trusted for the other.
    fn measure(&mut self, read: Result<Measurement, String>) -> Result<(), Finding> {
        let refuse = |detail: String| Finding::new(Reason::DiceMeasurement, detail);
        match self.measurement.replace(read.map_err(refuse)?) {
            None => Ok(()),
            Some(_) => Err(refuse("it has two extensions with measurements".to_owned())),
        }
    }

    /// Whether the key may issue certificates with `below` authorities between them and it; if not, why.
    pub(super) fn may_issue(&self, below: usize) -> Result<(), &'static str> {
        let constraints = self.constraints.as_ref().filter(|constraints| constraints.ca);
        let constraints = constraints.ok_or("basicConstraints do not make it an authority")?;
        if constraints
            .path_len_constraint
            .is_some_and(|most| below > usize::from(most))
        {
            return Err("more authorities stand below it than pathLenConstraint allows");
        }
        if !self.key_usage.is_some_and(|usage| usage.key_cert_sign()) {
            return Err("its keyUsage is not keyCertSign");
        }
        self.has_purpose(&EMBEDDED_CA)
    }

    /// Whether the key may sign statements and nothing else; if not, why.
    pub(super) fn may_attest(&self) -> Result<(), &'static str> {
        if self
            .constraints
            .as_ref()
            .is_some_and(|constraints| constraints.ca)
        {
            return Err("basicConstraints make it an authority");
        }
        match self.key_usage {
            Some(usage) if usage.key_cert_sign() => Err("its keyUsage has keyCertSign"),
            Some(usage) if usage.digital_signature() => self.has_purpose(&ATTESTATION),
            _ => Err("its keyUsage is not digitalSignature"),
        }
    }

    fn has_purpose(&self, wanted: &[ObjectIdentifier]) -> Result<(), &'static str> {
        match &self.purposes {
            Some(ExtendedKeyUsage(purposes)) if !purposes.iter().any(|purpose| wanted.contains(purpose)) => {
                Err("its extendedKeyUsage has other purposes")
            }
            _ => Ok(()),
        }
    }
}

fn standard<T>(id: ObjectIdentifier, value: &[u8]) -> Result<T, Finding>
where
    T: DecodeOwned<Error = der::Error> + Encode,
{
    exact(value).map_err(|error| Finding::new(Reason::DiceExtension, format!("{id}: {error}")))
}
