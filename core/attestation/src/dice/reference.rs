//! Reference values: what a layer must be.

use super::document::{bytes, digest_lists, digests};
use super::measurement::Measurement;
use super::open_profile::{Mode, OpenProfileInput};
use super::tcb_info::TcbInfo;
use crate::appraisal::{Finding, Reason};
use alcub3_crypto::Digest;
use serde::{Deserialize, Serialize};

/// Characters of a foreign name that a finding shows.
const NAME_FOR_PEOPLE: usize = 64;

/// What one layer must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerReference {
    /// Its targets, in the order of the certificate and as many.
    Tcg(Vec<TcbReference>),
    /// Its inputs.
    OpenProfile(OpenProfileReference),
}

/// What one target must be. The first six fields must be stated as they are here, and not stated where they are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TcbReference {
    /// Its vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<u64>,
    /// Its index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Its type.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "bytes",
        rename = "type"
    )]
    pub kind: Option<Vec<u8>>,
    /// What else its vendor states.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "bytes")]
    pub vendor_info: Option<Vec<u8>>,
    /// The approved firmware: lists of digests, one of which must be stated whole and in order.
    #[serde(with = "digest_lists")]
    pub firmware: Vec<Vec<Digest>>,
    /// The approved versions; where there are none, the version is not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// The lowest security version number, which must then be stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_svn: Option<u64>,
    /// Whether it may leave unsaid in what mode it is, as some makers' targets always do. What it says counts all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_omit_mode: bool,
}

/// What the inputs of the Open Profile must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OpenProfileReference {
    /// The approved digests of code.
    #[serde(with = "digests")]
    pub code: Vec<Digest>,
    /// The approved digests over the configuration descriptor, by any approved hash.
    #[serde(with = "digests")]
    pub configurations: Vec<Digest>,
    /// The approved digests of the authority over the code.
    #[serde(with = "digests")]
    pub authorities: Vec<Digest>,
    /// The profile's name, which must be stated exactly so, and not stated where it is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl LayerReference {
    /// What a layer that is known to be good is held to from now on.
    pub(super) fn golden(measured: &Measurement) -> Self {
        match measured {
            Measurement::Tcg(targets) => Self::Tcg(targets.iter().map(TcbReference::golden).collect()),
            Measurement::OpenProfile(input) => Self::OpenProfile(OpenProfileReference::golden(input)),
        }
    }

    /// What is wrong with a layer.
    pub(super) fn judge(&self, measured: &Measurement) -> Vec<Finding> {
        match (self, measured) {
            (Self::Tcg(references), Measurement::Tcg(targets)) if references.len() == targets.len() => {
                let pairs = references.iter().zip(targets);
                pairs
                    .flat_map(|(reference, target)| reference.judge(target))
                    .collect()
            }
            (Self::Tcg(references), Measurement::Tcg(targets)) => {
                let (wanted, found) = (references.len(), targets.len());
                let detail = format!("it has {found} targets, there are references for {wanted}");
                vec![Finding::new(Reason::DiceLayer, detail)]
            }
            (Self::OpenProfile(reference), Measurement::OpenProfile(input)) => reference.judge(input),
            _ => vec![Finding::new(
                Reason::DiceLayer,
                "its measurements are of another profile than its reference",
            )],
        }
    }
}

impl TcbReference {
    fn golden(target: &TcbInfo) -> Self {
        Self {
            vendor: target.vendor.clone(),
            model: target.model.clone(),
            layer: target.layer,
            index: target.index,
            kind: target.kind.clone(),
            vendor_info: target.vendor_info.clone(),
            firmware: vec![target.fwids.clone()],
            versions: target.version.clone().into_iter().collect(),
            min_svn: target.svn,
            may_omit_mode: !target.flags.is_some_and(|flags| flags.says_all()),
        }
    }

    fn judge(&self, target: &TcbInfo) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |reason, detail: String| findings.push(Finding::new(reason, detail));
        if let Some(field) = self.other_field(target) {
            find(Reason::DiceLayer, format!("its {field} is another"));
        }
        if !self.firmware.contains(&target.fwids) {
            find(Reason::DiceFirmware, list(&target.fwids));
        }
        if let Some(version) = self.refused_version(target) {
            find(Reason::DiceVersion, version);
        }
        match (self.min_svn, target.svn) {
            (Some(floor), Some(svn)) if svn < floor => {
                find(Reason::DiceSvn, format!("{svn}, the floor is {floor}"));
            }
            (Some(floor), None) => find(Reason::DiceSvn, format!("it states none, the floor is {floor}")),
            _ => {}
        }
        match target.flags {
            Some(flags) if flags.is_insecure() => {
                let detail = "notConfigured, notSecure, recovery or debug is set";
                find(Reason::DiceMode, detail.to_owned());
            }
            flags if !self.may_omit_mode && !flags.is_some_and(|flags| flags.says_all()) => {
                find(Reason::DiceMode, "it does not say in which".to_owned());
            }
            _ => {}
        }
        findings
    }

    fn other_field(&self, target: &TcbInfo) -> Option<&'static str> {
        let fields = [
            ("vendor", self.vendor == target.vendor),
            ("model", self.model == target.model),
            ("layer", self.layer == target.layer),
            ("index", self.index == target.index),
            ("type", self.kind == target.kind),
            ("vendorInfo", self.vendor_info == target.vendor_info),
        ];
        fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
    }

    fn refused_version(&self, target: &TcbInfo) -> Option<String> {
        match &target.version {
            _ if self.versions.is_empty() => None,
            Some(version) if self.versions.contains(version) => None,
            Some(version) => Some(for_people(version)),
            None => Some("it states none".to_owned()),
        }
    }
}

impl OpenProfileReference {
    fn golden(input: &OpenProfileInput) -> Self {
        Self {
            code: vec![input.code],
            configurations: vec![input.code.alg().digest(&[&input.configuration])],
            authorities: vec![input.authority],
            profile: input.profile.clone(),
        }
    }

    fn judge(&self, input: &OpenProfileInput) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |reason, detail: String| findings.push(Finding::new(reason, detail));
        if self.profile != input.profile {
            let found = input.profile.as_deref().map(for_people);
            let detail = format!(
                "its profile is {}",
                found.unwrap_or_else(|| "not named".to_owned())
            );
            find(Reason::DiceLayer, detail);
        }
        if !self.code.contains(&input.code) {
            find(Reason::DiceFirmware, list(&[input.code]));
        }
        let configuration = input.configuration.as_slice();
        let is_approved = |approved: &Digest| approved.alg().digest(&[configuration]) == *approved;
        if !self.configurations.iter().any(is_approved) {
            let digest = input.code.alg().digest(&[configuration]);
            find(Reason::DiceConfiguration, list(&[digest]));
        }
        if !self.authorities.contains(&input.authority) {
            find(Reason::DiceSigner, list(&[input.authority]));
        }
        if input.mode != Mode::Normal {
            find(Reason::DiceMode, format!("its mode is {}", input.mode.name()));
        }
        findings
    }
}

/// A name that others chose: cut, and without characters that would do something to a terminal or a log.
fn for_people(name: &str) -> String {
    match name.char_indices().nth(NAME_FOR_PEOPLE) {
        Some((end, _)) => format!("{:?}…", name.get(..end).unwrap_or_default()),
        None => format!("{name:?}"),
    }
}

fn list(digests: &[Digest]) -> String {
    let texts: Vec<String> = digests.iter().map(|digest| format!("{digest:?}")).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::for_people;

    #[test]
    fn a_name_in_a_finding_is_cut_and_does_nothing_to_a_terminal() {
        assert_eq!(for_people("2.4.1"), "\"2.4.1\"");
        assert_eq!(for_people("\u{1b}[2J\n"), "\"\\u{1b}[2J\\n\"");
        let long = "ö".repeat(4000);
        assert_eq!(for_people(&long), format!("\"{}\"…", "ö".repeat(64)));
    }
}
