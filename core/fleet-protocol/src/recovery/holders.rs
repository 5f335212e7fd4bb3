//! Who may hold shares together: persons with chips that the authority admitted, each another person and another chip.

use alcub3_crypto::tpm::{Public, Signature, StorageKeyPair};
use alcub3_crypto::{Curve, SharingError, VerifyingKey};

use super::{MAX_HOLDERS, RecoveryError, RecoverySet};
use crate::chip::AdmittedChip;

/// Checks that these holders can hold shares of a set whose keys are on a curve, `needed` of them at a time.
pub(super) fn check(chips: &[AdmittedChip], needed: u8, curve: Curve) -> Result<(), RecoveryError> {
    let total = u8::try_from(chips.len()).unwrap_or(u8::MAX);
    if chips.len() > MAX_HOLDERS || needed < 2 || needed > total {
        return Err(SharingError::Numbers { needed, total }.into());
    }
    for (at, one) in chips.iter().enumerate() {
        refuse_weaker(one, curve)?;
        for other in chips.iter().skip(at + 1) {
            refuse_double(one, other)?;
        }
    }
    Ok(())
}

fn refuse_double(one: &AdmittedChip, other: &AdmittedChip) -> Result<(), RecoveryError> {
    let [first, second] = [one, other].map(|chip| chip.operator().clone());
    if first == second {
        Err(RecoveryError::SameHolder(first))
    } else if one.is_the_chip_of(other) {
        Err(RecoveryError::SameChip { first, second })
    } else if one.is_comparable_with(other) {
        Ok(())
    } else {
        Err(RecoveryError::OtherKind { first, second })
    }
}

fn refuse_weaker(chip: &AdmittedChip, curve: Curve) -> Result<(), RecoveryError> {
    let parent = chip.storage_key();
    let own = parent.ec_point().map(|(own, _, _)| own);
    if own.is_some_and(|own| own >= curve && parent.name_alg() == own.hash()) {
        return Ok(());
    }
    Err(RecoveryError::WeakHolder {
        holder: chip.operator().clone(),
    })
}

/// A recovery set that its robot made, whose holders the authority admitted: as many different persons with as many different
/// chips.
#[derive(Clone, Debug)]
pub struct VerifiedSet {
    set: RecoverySet,
    holders: Vec<AdmittedChip>,
    curve: Curve,
}

impl VerifiedSet {
    /// Verifies a set with the authority's key and with the identity key of the robot that is said to have made it.
    ///
    /// # Errors
    /// [`RecoveryError`] says what is not as it must be.
    pub fn verify(
        set: RecoverySet,
        authority: &VerifyingKey,
        identity: &Public,
    ) -> Result<Self, RecoveryError> {
        if !is_made_by(&set, identity) {
            return Err(RecoveryError::NotOfRobot(set.robot.to_string()));
        }
        let curve = curve_of_parent(&set.parent).ok_or(RecoveryError::NoSetParent)?;
        let admitted = |holder: &super::Holder| {
            AdmittedChip::verify(&holder.signed, authority).map_err(|source| RecoveryError::NotAdmitted {
                holder: holder.admission.operator.clone(),
                source,
            })
        };
        let holders = set.holders.iter().map(admitted).collect::<Result<Vec<_>, _>>()?;
        check(&holders, set.needed, curve)?;
        Ok(Self { set, holders, curve })
    }

    /// The set.
    pub const fn set(&self) -> &RecoverySet {
        &self.set
    }

    /// The holders' chips, in the order of their shares.
    pub fn holders(&self) -> &[AdmittedChip] {
        &self.holders
    }

    /// The curve of the recovery parent.
    pub const fn curve(&self) -> Curve {
        self.curve
    }
}

fn is_made_by(set: &RecoverySet, identity: &Public) -> bool {
    let signature = Signature::from_tpmt_signature(&set.signature);
    signature.is_ok_and(|signature| {
        signature.scheme.hash() == identity.name_alg()
            && identity
                .verifying_key()
                .is_ok_and(|key| signature.verify(&key, &set.statement()).is_ok())
    })
}

/// A set's parent is made in memory and says so: no key that claims to be in a TPM, and nothing else that is restricted.
fn curve_of_parent(parent: &Public) -> Option<Curve> {
    let (curve, _, _) = parent.ec_point()?;
    let template = StorageKeyPair::template(curve).to_public().ok()?;
    template.is_of_one_template(parent).then_some(curve)
}
