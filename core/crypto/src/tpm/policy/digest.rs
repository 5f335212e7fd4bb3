//! The running policy digest and what approvals sign.

use thiserror::Error;

use super::assertion::{Assertion, NvOperation, PcrSelection};
use crate::tpm::Name;
use crate::{Digest, HashAlg};

/// TPM_CC of the policy commands (Part 2, §6.5.2).
mod cc {
    pub(super) const NV: u32 = 0x0149;
    pub(super) const SECRET: u32 = 0x0151;
    pub(super) const SIGNED: u32 = 0x0160;
    pub(super) const AUTHORIZE: u32 = 0x016A;
    pub(super) const AUTH_VALUE: u32 = 0x016B;
    pub(super) const COMMAND_CODE: u32 = 0x016C;
    pub(super) const COUNTER_TIMER: u32 = 0x016D;
    pub(super) const CP_HASH: u32 = 0x016E;
    pub(super) const LOCALITY: u32 = 0x016F;
    pub(super) const NAME_HASH: u32 = 0x0170;
    pub(super) const OR: u32 = 0x0171;
    pub(super) const PCR: u32 = 0x017F;
    pub(super) const DUPLICATION_SELECT: u32 = 0x0188;
    pub(super) const NV_WRITTEN: u32 = 0x018F;
    pub(super) const TEMPLATE: u32 = 0x0190;
    pub(super) const AUTHORIZE_NV: u32 = 0x0192;
}

/// PCRs that a selection of three bytes names.
const PCRS: u32 = 0x00FF_FFFF;
const OR_BRANCHES: core::ops::RangeInclusive<usize> = 2..=8;

/// Why an assertion cannot stand in a policy: the TPM would refuse the command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A digest in the assertion is not of the policy's algorithm.
    #[error("{what} is a {actual} digest in a {expected} policy")]
    OtherAlgorithm {
        /// The digest.
        what: &'static str,
        /// The policy's algorithm.
        expected: HashAlg,
        /// The digest's algorithm.
        actual: HashAlg,
    },
    /// PolicyOR takes 2 to 8 branches.
    #[error("PolicyOR with {0} branches; it takes 2 to 8")]
    Branches(usize),
    /// A selection names a PCR above 23.
    #[error("PCR selection {0:#x} names a PCR above 23")]
    PcrSelection(u32),
}

/// A policy session's digest as commands run (Part 3, §23.2: policyUpdate).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PolicyDigest(Digest);

impl PolicyDigest {
    /// The digest of a fresh session.
    #[must_use]
    pub fn new(alg: HashAlg) -> Self {
        Self(Digest::zero(alg))
    }

    /// The digest so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0
    }

    /// What the assertion's command does to the digest when it succeeds.
    ///
    /// # Errors
    /// [`PolicyError`] when the TPM would refuse the command; the digest is then unchanged.
    pub fn apply(&mut self, assertion: &Assertion) -> Result<(), PolicyError> {
        check(self.0.alg(), assertion)?;
        self.update(assertion);
        Ok(())
    }

    fn update(&mut self, assertion: &Assertion) {
        match assertion {
            Assertion::Pcr {
                bank_selection,
                pcr_digest,
            } => {
                self.step(cc::PCR, &[&pcr_selection(bank_selection), pcr_digest.as_bytes()]);
            }
            Assertion::Nv {
                index_name,
                operand,
                offset,
                operation,
            } => {
                let args = self.comparison(operand, *offset, *operation);
                self.step(cc::NV, &[args.as_bytes(), index_name.as_bytes()]);
            }
            Assertion::CounterTimer {
                operand,
                offset,
                operation,
            } => {
                let args = self.comparison(operand, *offset, *operation);
                self.step(cc::COUNTER_TIMER, &[args.as_bytes()]);
            }
            Assertion::Signed {
                signer_name,
                policy_ref,
            } => self.approve(cc::SIGNED, signer_name, policy_ref),
            Assertion::Secret {
                object_name,
                policy_ref,
            } => self.approve(cc::SECRET, object_name, policy_ref),
            Assertion::Authorize { key_name, policy_ref } => {
                self.reset();
                self.approve(cc::AUTHORIZE, key_name, policy_ref);
            }
            Assertion::AuthorizeNv { index_name } => {
                self.reset();
                self.step(cc::AUTHORIZE_NV, &[index_name.as_bytes()]);
            }
            Assertion::Or(branches) => {
                self.reset();
                self.step(cc::OR, &branches.iter().map(Digest::as_bytes).collect::<Vec<_>>());
            }
            Assertion::CommandCode(code) => self.step(cc::COMMAND_CODE, &[&code.to_be_bytes()]),
            Assertion::CpHash(digest) => self.step(cc::CP_HASH, &[digest.as_bytes()]),
            Assertion::NameHash(digest) => self.step(cc::NAME_HASH, &[digest.as_bytes()]),
            Assertion::Template(digest) => self.step(cc::TEMPLATE, &[digest.as_bytes()]),
            Assertion::Locality(locality) => self.step(cc::LOCALITY, &[&[*locality]]),
            Assertion::NvWritten(written) => self.step(cc::NV_WRITTEN, &[&[u8::from(*written)]]),
            Assertion::DuplicationSelect {
                object_name,
                new_parent_name,
                include_object,
            } => {
                let object = if *include_object {
                    object_name.as_bytes()
                } else {
                    &[]
                };
                let include = [u8::from(*include_object)];
                self.step(
                    cc::DUPLICATION_SELECT,
                    &[object, new_parent_name.as_bytes(), &include],
                );
            }
            Assertion::AuthValue | Assertion::Password => self.step(cc::AUTH_VALUE, &[]),
        }
    }

    /// H(old ‖ command code ‖ arguments).
    fn step(&mut self, code: u32, arguments: &[&[u8]]) {
        let mut hasher = self.0.alg().hasher();
        hasher.update(self.0.as_bytes()).update(&code.to_be_bytes());
        for argument in arguments {
            hasher.update(argument);
        }
        self.0 = hasher.finish();
    }

    /// The two steps of an approval: the second happens for an empty policyRef as well.
    fn approve(&mut self, code: u32, name: &Name, policy_ref: &[u8]) {
        self.step(code, &[name.as_bytes()]);
        self.0 = self.0.extend(policy_ref);
    }

    fn reset(&mut self) {
        self.0 = Digest::zero(self.0.alg());
    }

    fn comparison(&self, operand: &[u8], offset: u16, operation: NvOperation) -> Digest {
        self.0
            .alg()
            .digest(&[operand, &offset.to_be_bytes(), &operation.tpm_id().to_be_bytes()])
    }
}

/// An ordered list of assertions that the TPM can take, for one hash algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    alg: HashAlg,
    assertions: Vec<Assertion>,
}

impl Policy {
    /// A policy of these assertions in this order.
    ///
    /// # Errors
    /// [`PolicyError`] when the TPM would refuse one of the commands.
    pub fn new(alg: HashAlg, assertions: Vec<Assertion>) -> Result<Self, PolicyError> {
        assertions
            .iter()
            .try_for_each(|assertion| check(alg, assertion))?;
        Ok(Self { alg, assertions })
    }

    /// The hash algorithm of the digest and of the sessions that satisfy it.
    #[must_use]
    pub fn alg(&self) -> HashAlg {
        self.alg
    }

    /// The assertions, in order.
    #[must_use]
    pub fn assertions(&self) -> &[Assertion] {
        &self.assertions
    }

    /// The authPolicy.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut running = PolicyDigest::new(self.alg);
        for assertion in &self.assertions {
            running.update(assertion);
        }
        running.digest()
    }
}

fn check(alg: HashAlg, assertion: &Assertion) -> Result<(), PolicyError> {
    let same = |what, digest: &Digest| match digest.alg() {
        actual if actual == alg => Ok(()),
        actual => Err(PolicyError::OtherAlgorithm {
            what,
            expected: alg,
            actual,
        }),
    };
    match assertion {
        Assertion::Pcr {
            bank_selection,
            pcr_digest,
        } => {
            if let Some((_, mask)) = bank_selection.iter().find(|(_, mask)| mask & !PCRS != 0) {
                return Err(PolicyError::PcrSelection(*mask));
            }
            same("pcrDigest", pcr_digest)
        }
        Assertion::Or(branches) if !OR_BRANCHES.contains(&branches.len()) => {
            Err(PolicyError::Branches(branches.len()))
        }
        Assertion::Or(branches) => branches
            .iter()
            .try_for_each(|branch| same("PolicyOR's branch", branch)),
        Assertion::CpHash(digest) => same("cpHash", digest),
        Assertion::NameHash(digest) => same("nameHash", digest),
        Assertion::Template(digest) => same("templateHash", digest),
        _ => Ok(()),
    }
}

/// TPML_PCR_SELECTION with three bytes a bank (Part 2, §10.9.7).
fn pcr_selection(banks: &[PcrSelection]) -> Vec<u8> {
    // A TPM has a handful of banks; a longer list than 2^32 cannot be held in memory.
    let count = u32::try_from(banks.len()).unwrap_or(u32::MAX);
    let mut marshalled = count.to_be_bytes().to_vec();
    for (alg, mask) in banks {
        let [first, second, third, _] = mask.to_le_bytes();
        marshalled.extend_from_slice(&alg.tpm_id().to_be_bytes());
        marshalled.extend_from_slice(&[3, first, second, third]);
    }
    marshalled
}

/// The digest of PCR values, in the order the TPM takes them: bank by bank as selected, PCRs ascending. `alg` is the
/// policy session's (or the quote's) hash, not the banks'.
#[must_use]
pub fn pcr_digest(alg: HashAlg, values: &[Digest]) -> Digest {
    let mut hasher = alg.hasher();
    for value in values {
        hasher.update(value.as_bytes());
    }
    hasher.finish()
}

/// The message whose hash a PolicySigned approval signs (Part 3, §23.3): nonceTPM ‖ expiration ‖ cpHashA ‖ policyRef.
/// `nonce_tpm` and `cp_hash` are empty where the approval is not bound to a session or to a command; `expiration` is in
/// seconds.
#[must_use]
pub fn policy_signed_message(
    nonce_tpm: &[u8],
    expiration: i32,
    cp_hash: &[u8],
    policy_ref: &[u8],
) -> Vec<u8> {
    [nonce_tpm, &expiration.to_be_bytes(), cp_hash, policy_ref].concat()
}

/// The message whose hash, with the approving key's nameAlg, a PolicyAuthorize approval signs (Part 3, §23.16):
/// approvedPolicy ‖ policyRef.
#[must_use]
pub fn policy_authorize_message(approved_policy: &Digest, policy_ref: &[u8]) -> Vec<u8> {
    [approved_policy.as_bytes(), policy_ref].concat()
}

/// cpHash: H(commandCode ‖ Names of the handles ‖ parameters) (Part 1, §16.7). `params` are the marshalled parameters.
#[must_use]
pub fn cp_hash(alg: HashAlg, command_code: u32, names: &[Name], params: &[u8]) -> Digest {
    let mut hasher = alg.hasher();
    hasher.update(&command_code.to_be_bytes());
    for name in names {
        hasher.update(name.as_bytes());
    }
    hasher.update(params);
    hasher.finish()
}
