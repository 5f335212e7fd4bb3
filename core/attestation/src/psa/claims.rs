//! The claims of a token (RFC 9783 §4), and why a claims-set was refused.

use super::PROFILE;
use super::component::{self, Component};
use crate::appraisal::{Finding, Reason};
use crate::cbor::{self, CborError, Key};
use alcub3_crypto::{HashAlg, VerifyingKey};

/// The claim in which drafts before the RFC named their profile (RFC 9783 §4.6).
const OLD_PROFILE_KEY: Key = Key::Number(-75000);
/// Longest text of a claim, in bytes.
const MAX_TEXT_BYTES: usize = 512;

/// A claim that is understood: its key in the CWT registry, and its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim(i64, &'static str);

const NONCE: Claim = Claim(10, "nonce");
const INSTANCE_ID: Claim = Claim(256, "instance-id");
const EAT_PROFILE: Claim = Claim(265, "profile");
const BOOT_SEED: Claim = Claim(268, "boot-seed");
const CLIENT_ID: Claim = Claim(2394, "client-id");
const LIFECYCLE: Claim = Claim(2395, "security-lifecycle");
const IMPLEMENTATION_ID: Claim = Claim(2396, "implementation-id");
const CERTIFICATION: Claim = Claim(2398, "certification-reference");
const COMPONENTS: Claim = Claim(2399, "software-components");
const SERVICE: Claim = Claim(2400, "verification-service-indicator");

/// Why a claim was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimError {
    #[error(transparent)]
    Cbor(#[from] CborError),
    #[error("it has {0} bytes; {1} are allowed")]
    Size(usize, &'static str),
    #[error("{0}")]
    Value(&'static str),
    #[error("element {0} lacks attribute {1}")]
    AttributeMissing(usize, i64),
    #[error("element {0} has the attribute {1}, which is not known")]
    AttributeUnknown(usize, String),
    #[error("attribute {1} of element {0}: {2}")]
    Attribute(usize, i64, #[source] Box<ClaimError>),
}

/// A hash of 32, 48 or 64 bytes (`psa-hash-type`): a measurement or a signer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashValue(Vec<u8>);

impl HashValue {
    /// The hash; `None` for another length.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        matches!(bytes.len(), 32 | 48 | 64).then(|| Self(bytes.to_vec()))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for HashValue {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&[u8]> for HashValue {
    type Error = ();

    fn try_from(bytes: &[u8]) -> Result<Self, ()> {
        Self::new(bytes).ok_or(())
    }
}

impl core::fmt::Display for HashValue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        hexadecimal(&self.0, f)
    }
}

/// Which instance: the 32-byte identifier of its attestation key (RFC 9783 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId(pub [u8; 32]);

impl InstanceId {
    /// How the PSA attestation API suggests that it is made: SHA-256 of the public key as an uncompressed point. `None` for RSA.
    /// Makers may choose another way, so what counts is what was enrolled.
    #[must_use]
    pub fn of_key(key: &VerifyingKey) -> Option<Self> {
        let (_, x, y) = key.ec_point()?;
        let digest = HashAlg::Sha256.digest(&[&[0x04], x, y]);
        digest.as_bytes().try_into().ok().map(Self)
    }
}

impl core::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        hexadecimal(&self.0, f)
    }
}

/// The security lifecycle: a state, and what the maker adds to it (RFC 9783 §4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    /// The state.
    pub state: LifecycleState,
    /// The maker's own part, which means nothing here.
    pub minor: u8,
}

/// The state of a PSA root of trust. Only [`Self::Secured`] and [`Self::NonPsaRotDebug`] can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LifecycleState {
    /// 0x00: must not occur.
    Unknown,
    /// 0x10: before anything is provisioned.
    AssemblyAndTest,
    /// 0x20: while the root of trust is provisioned.
    PsaRotProvisioning,
    /// 0x30: in use, without debug.
    Secured,
    /// 0x40: debug of all but the root of trust.
    NonPsaRotDebug,
    /// 0x50: debug of the root of trust, which hides its secrets meanwhile.
    RecoverablePsaRotDebug,
    /// 0x60: out of use.
    Decommissioned,
}

impl LifecycleState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::AssemblyAndTest,
        Self::PsaRotProvisioning,
        Self::Secured,
        Self::NonPsaRotDebug,
        Self::RecoverablePsaRotDebug,
        Self::Decommissioned,
    ];

    /// The claim's upper byte.
    #[must_use]
    pub const fn major(self) -> u8 {
        match self {
            Self::Unknown => 0x00,
            Self::AssemblyAndTest => 0x10,
            Self::PsaRotProvisioning => 0x20,
            Self::Secured => 0x30,
            Self::NonPsaRotDebug => 0x40,
            Self::RecoverablePsaRotDebug => 0x50,
            Self::Decommissioned => 0x60,
        }
    }

    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::AssemblyAndTest => "assembly-and-test",
            Self::PsaRotProvisioning => "psa-rot-provisioning",
            Self::Secured => "secured",
            Self::NonPsaRotDebug => "non-psa-rot-debug",
            Self::RecoverablePsaRotDebug => "recoverable-psa-rot-debug",
            Self::Decommissioned => "decommissioned",
        }
    }
}

impl core::fmt::Display for LifecycleState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a token claims. It is the root of trust's word once the signature holds, and good only by a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The challenge: 32, 48 or 64 bytes.
    pub nonce: HashValue,
    /// Who asked for the token: below zero from the non-secure side, above from the secure one, never zero.
    pub client: i32,
    /// Which instance.
    pub instance: InstanceId,
    /// Which implementation of the root of trust.
    pub implementation: [u8; 32],
    /// The lifecycle.
    pub lifecycle: Lifecycle,
    /// What was loaded.
    pub components: Vec<Component>,
    /// Tells one boot from another; 8 to 32 bytes.
    pub boot_seed: Option<Vec<u8>>,
    /// Which entry of PSA's list of certificates: an EAN-13, a dash, five digits.
    pub certification: Option<String>,
    /// Where the maker would have it verified. Nothing follows it.
    pub verification_service: Option<String>,
}

impl Claims {
    /// Reads the claims-set that fills all of `payload`; what is wrong or not understood is added to `findings`.
    pub(super) fn read(payload: &[u8], findings: &mut Vec<Finding>) -> Option<Self> {
        let pairs = cbor::pairs(payload)
            .map_err(|error| findings.push(set_refused(&error)))
            .ok()?;
        let mut set = Set { pairs, findings };
        set.profile();
        let (nonce, client) = (set.needed(NONCE, hash), set.needed(CLIENT_ID, client));
        let instance = set.needed(INSTANCE_ID, instance);
        let implementation = set.needed(IMPLEMENTATION_ID, implementation);
        let lifecycle = set.needed(LIFECYCLE, lifecycle);
        let components = set.needed(COMPONENTS, component::read_all);
        let boot_seed = set.optional(BOOT_SEED, boot_seed);
        let certification = set.optional(CERTIFICATION, certification);
        let verification_service = set.optional(SERVICE, short_text);
        set.note_unknown();
        Some(Self {
            nonce: nonce?,
            client: client?,
            instance: instance?,
            implementation: implementation?,
            lifecycle: lifecycle?,
            components: components?,
            boot_seed: boot_seed?,
            certification: certification?,
            verification_service: verification_service?,
        })
    }
}

/// A claims-set while it is read: what is left of it, and what was found.
struct Set<'a, 'f> {
    pairs: Vec<(Key, &'a [u8])>,
    findings: &'f mut Vec<Finding>,
}

impl<'a> Set<'a, '_> {
    fn take(&mut self, key: &Key) -> Option<&'a [u8]> {
        let at = self.pairs.iter().position(|(found, _)| found == key)?;
        Some(self.pairs.swap_remove(at).1)
    }

    /// The claim, which must be there; `None` after a finding.
    fn needed<T>(&mut self, claim: Claim, read: impl FnOnce(&'a [u8]) -> Result<T, ClaimError>) -> Option<T> {
        let found = self.optional(claim, read)?;
        if found.is_none() {
            let detail = format!("there is no claim {}", claim.0);
            self.findings
                .push(Finding::about(Reason::PsaClaimMissing, claim.1, detail));
        }
        found
    }

    /// The claim, where it is there; the outer `None` after a finding.
    fn optional<T>(
        &mut self,
        claim: Claim,
        read: impl FnOnce(&'a [u8]) -> Result<T, ClaimError>,
    ) -> Option<Option<T>> {
        let Some(bytes) = self.take(&Key::Number(claim.0)) else {
            return Some(None);
        };
        match read(bytes) {
            Ok(value) => Some(Some(value)),
            Err(error) => {
                let finding = Finding::about(Reason::PsaClaimMalformed, claim.1, error.to_string());
                self.findings.push(finding);
                None
            }
        }
    }

    fn profile(&mut self) {
        let old = self
            .take(&OLD_PROFILE_KEY)
            .and_then(|bytes| cbor::text(bytes).ok());
        let found = match (old, self.needed(EAT_PROFILE, short_text)) {
            (Some(old), _) => format!("{old:?}, of the drafts before RFC 9783"),
            (None, Some(profile)) if profile == PROFILE => return,
            (None, Some(profile)) => format!("{profile:?}"),
            (None, None) => return,
        };
        let detail = format!("it is {found}; {PROFILE:?} is known");
        self.findings
            .push(Finding::about(Reason::PsaProfile, EAT_PROFILE.1, detail));
    }

    /// A receiver must not fail on a claim that it does not understand (RFC 9783 §5.1.3, as RFC 9711 has it).
    fn note_unknown(&mut self) {
        for (key, _) in &self.pairs {
            let finding = Finding::about(Reason::PsaClaimUnknown, key.to_string(), "it changes nothing");
            self.findings.push(finding);
        }
    }
}

fn set_refused(error: &CborError) -> Finding {
    let reason = match error {
        CborError::Duplicate(_) => Reason::PsaClaimDuplicate,
        _ => Reason::PsaMalformed,
    };
    Finding::about(reason, "claims-set", error.to_string())
}

pub(super) fn hash(bytes: &[u8]) -> Result<HashValue, ClaimError> {
    let bytes = cbor::byte_string(bytes)?;
    HashValue::new(bytes).ok_or(ClaimError::Size(bytes.len(), "32, 48 or 64"))
}

pub(super) fn short_text(bytes: &[u8]) -> Result<String, ClaimError> {
    let text = cbor::text(bytes)?;
    match text.len() {
        1..=MAX_TEXT_BYTES => Ok(text.to_owned()),
        length => Err(ClaimError::Size(length, "1 to 512")),
    }
}

fn client(bytes: &[u8]) -> Result<i32, ClaimError> {
    let number = i32::try_from(cbor::number(bytes)?);
    let client = number.map_err(|_| ClaimError::Value("it is not a number of 32 bits"))?;
    match client {
        0 => Err(ClaimError::Value("it is zero, which is nobody")),
        client => Ok(client),
    }
}

fn instance(bytes: &[u8]) -> Result<InstanceId, ClaimError> {
    let bytes = cbor::byte_string(bytes)?;
    let (kind, id) = bytes.split_first().ok_or(ClaimError::Size(0, "33"))?;
    let id = id.try_into().map_err(|_| ClaimError::Size(bytes.len(), "33"))?;
    match kind {
        0x01 => Ok(InstanceId(id)),
        _ => Err(ClaimError::Value("it is not of the type RAND (0x01)")),
    }
}

fn implementation(bytes: &[u8]) -> Result<[u8; 32], ClaimError> {
    let bytes = cbor::byte_string(bytes)?;
    bytes.try_into().map_err(|_| ClaimError::Size(bytes.len(), "32"))
}

fn lifecycle(bytes: &[u8]) -> Result<Lifecycle, ClaimError> {
    let number = u16::try_from(cbor::number(bytes)?);
    let [major, minor] = number
        .map_err(|_| ClaimError::Value("it is not a number of 16 bits"))?
        .to_be_bytes();
    let state = LifecycleState::ALL
        .into_iter()
        .find(|state| state.major() == major);
    let state = state.ok_or(ClaimError::Value("its upper byte is of no lifecycle state"))?;
    Ok(Lifecycle { state, minor })
}

fn boot_seed(bytes: &[u8]) -> Result<Vec<u8>, ClaimError> {
    let seed = cbor::byte_string(bytes)?;
    match seed.len() {
        8..=32 => Ok(seed.to_vec()),
        length => Err(ClaimError::Size(length, "8 to 32")),
    }
}

fn certification(bytes: &[u8]) -> Result<String, ClaimError> {
    let text = cbor::text(bytes)?;
    if is_certification_reference(text) {
        Ok(text.to_owned())
    } else {
        Err(ClaimError::Value(
            "it is not thirteen digits, a dash and five digits",
        ))
    }
}

/// Thirteen digits (EAN-13), a dash, five digits (RFC 9783 §4.2.3).
pub(super) fn is_certification_reference(text: &str) -> bool {
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-')
        .is_some_and(|(article, version)| digits(article, 13) && digits(version, 5))
}

fn hexadecimal(bytes: &[u8], f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
