//! A swtpm with a pinned salt key, a storage root and an attestation key, its commands counted.
#![allow(dead_code)]

use alcub3_crypto::tpm::{Public, PublicTemplate};
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_testkit::{Bus, Hostile, Served, Swtpm, Tools};
use alcub3_tpm::ops::{Hierarchy, Key, NvPublic, nv_attribute};
use alcub3_tpm::transport::{Counted, Counts};
use alcub3_tpm::{Auth, Chip, ChipOptions, CommandCode, Object};

pub(crate) const EK: u32 = 0x8101_0001;
pub(crate) const AK: u32 = 0x8101_0010;
pub(crate) const SRK: u32 = 0x8101_0020;

pub(crate) struct Fixture {
    pub(crate) chip: Chip,
    pub(crate) counts: Counts,
    pub(crate) ek: Key,
    pub(crate) ak: Key,
    pub(crate) srk: Key,
    pub(crate) swtpm: Swtpm,
    /// Who listens on the bus, and attacks if told to.
    pub(crate) bus: Bus,
    baseline: Vec<u32>,
}

pub(crate) fn nothing() -> Secret {
    Secret::from_slice(&[])
}

/// A chip with nothing in it and no protection.
pub(crate) fn bare() -> (Chip, Counts, Swtpm) {
    let (chip, counts, swtpm, _) = overheard();
    (chip, counts, swtpm)
}

fn overheard() -> (Chip, Counts, Swtpm, Bus) {
    let swtpm = Swtpm::start().unwrap();
    let hostile = Hostile::new(swtpm.transport());
    let bus = hostile.bus();
    let counted = Counted::new(hostile);
    let counts = counted.counts();
    let chip = Chip::new(Box::new(counted), ChipOptions::default()).unwrap();
    (chip, counts, swtpm, bus)
}

pub(crate) fn primary(chip: &mut Chip, hierarchy: Hierarchy, template: &PublicTemplate) -> Object {
    chip.create_primary(hierarchy, Auth::Empty, template.as_tpmt_bytes(), None, &[])
        .unwrap()
        .object
}

pub(crate) fn fixture() -> Fixture {
    let (mut chip, counts, swtpm, bus) = overheard();
    let mut keep = |hierarchy, template: PublicTemplate, handle| {
        let object = primary(&mut chip, hierarchy, &template);
        Key::from(chip.evict_control_make(&nothing(), &object, handle).unwrap())
    };
    let ek = keep(Hierarchy::Endorsement, PublicTemplate::ek_ecc_p256(), EK);
    let ak = keep(
        Hierarchy::Endorsement,
        PublicTemplate::attestation_key(Curve::P256),
        AK,
    );
    let srk = keep(Hierarchy::Owner, PublicTemplate::storage_parent(Curve::P256), SRK);
    assert_eq!(chip.pin_salt_key(EK, Some(ek.name())).unwrap(), *ek.name());
    chip.read_clock().unwrap();
    let baseline = volatile_handles(&mut chip);
    Fixture {
        chip,
        counts,
        ek,
        ak,
        srk,
        swtpm,
        bus,
        baseline,
    }
}

/// Transient objects and sessions in the chip.
pub(crate) fn volatile_handles(chip: &mut Chip) -> Vec<u32> {
    [0x0200_0000, 0x0300_0000, 0x8000_0000]
        .into_iter()
        .flat_map(|range| chip.handles(range).unwrap())
        .collect()
}

impl Fixture {
    /// The commands an operation sends.
    pub(crate) fn sent<T>(&mut self, operation: impl FnOnce(&mut Self) -> T) -> (T, Vec<String>) {
        let mark = self.counts.total();
        let result = operation(self);
        let codes = self.counts.since(mark);
        let name = |code: &CommandCode| code.to_string().replacen("TPM2_", "", 1);
        (result, codes.iter().map(name).collect())
    }

    /// Flushes what dropped leases left, as the next operation would.
    pub(crate) fn settle(&mut self) {
        self.chip.read_clock().unwrap();
    }

    /// Nothing of this process is left in the chip but the reserved sessions.
    pub(crate) fn assert_no_leak(&mut self) {
        self.settle();
        let usage = self.chip.slot_usage();
        assert_eq!((usage.objects, usage.sessions), (0, 0));
        assert_eq!(volatile_handles(&mut self.chip), self.baseline);
    }

    pub(crate) fn tools(&self) -> (Served, Tools) {
        let served = self.swtpm.serve().unwrap();
        let tools = served.tools();
        (served, tools)
    }

    /// A key under the storage root, loaded.
    pub(crate) fn child(&mut self, template: &[u8], auth: &Secret) -> Key {
        let srk = self.srk.clone();
        let made = self
            .chip
            .create(&srk, Auth::Empty, template, auth, None, &[])
            .unwrap();
        self.chip
            .load(&srk, Auth::Empty, &made.private, &made.public)
            .unwrap()
            .into()
    }

    /// Defines an index that anyone who reaches the chip may use.
    pub(crate) fn define(&mut self, index: u32, kind: u32, size: u16) -> NvPublic {
        let public = NvPublic {
            index,
            name_alg: HashAlg::Sha256,
            attributes: kind | nv_attribute::AUTHREAD | nv_attribute::AUTHWRITE | nv_attribute::NO_DA,
            auth_policy: Vec::new(),
            size,
        };
        self.chip.nv_define(&nothing(), &public, &nothing()).unwrap();
        public
    }
}

/// Attributes of an unrestricted signing key with a policy only, or with an authorisation value only.
pub(crate) mod attributes {
    use alcub3_crypto::tpm::attribute;
    pub(crate) const FIXED: u32 =
        attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;
    pub(crate) const WITH_AUTH: u32 = FIXED | attribute::USER_WITH_AUTH | attribute::NO_DA;
    pub(crate) const WITH_POLICY: u32 = FIXED | attribute::NO_DA;
    pub(crate) const SIGN_WITH_AUTH: u32 = WITH_AUTH | attribute::SIGN;
    pub(crate) const SIGN_WITH_POLICY: u32 = WITH_POLICY | attribute::SIGN;
}

pub(crate) fn parse(template: &PublicTemplate) -> Public {
    template.to_public().unwrap()
}

/// The standard EK policy: PolicySecret(endorsement).
pub(crate) fn ek_policy() -> alcub3_crypto::tpm::policy::Policy {
    use alcub3_crypto::tpm::Name;
    use alcub3_crypto::tpm::policy::{Assertion, Policy};
    let object_name = Name::of_handle(Hierarchy::Endorsement.handle());
    Policy::new(
        HashAlg::Sha256,
        vec![Assertion::Secret {
            object_name,
            policy_ref: Vec::new(),
        }],
    )
    .unwrap()
}

pub(crate) fn ek_inputs() -> alcub3_tpm::ops::PolicyInputs {
    let proof = alcub3_tpm::ops::SecretProof::of_hierarchy(Hierarchy::Endorsement, &[], nothing());
    alcub3_tpm::ops::PolicyInputs::new().secret(proof)
}
