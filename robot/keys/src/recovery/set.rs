//! Making a recovery set: the robot vouches for it with its identity key.

use crate::Result;
use crate::robot::{OPERATION_TIMEOUT, RobotKeys};
use alcub3_crypto::{CryptoError, Entropy};
use alcub3_fleet_protocol::chip::{AdmittedChip, ChipError};
use alcub3_fleet_protocol::recovery::{RecoveryError, RecoverySet, WrappedShare};
use alcub3_tpm::ops::{Key, PersistentKey};
use alcub3_tpm::{Auth, Lane, OsEntropy};
use alcub3_trust_model::{HardwareTier, SessionId, handle_map};

impl RobotKeys {
    /// Believes the admission of a holder's chip if this robot's authority signed it.
    ///
    /// # Errors
    /// [`ChipError`].
    pub fn admitted_chip(&self, admission: &[u8]) -> std::result::Result<AdmittedChip, ChipError> {
        AdmittedChip::verify(admission, &self.anchors().authority)
    }

    /// Makes a recovery set on this robot's curve, and a share for each holder, `needed` of whom bring back what is duplicated
    /// to it. Its secret is in memory meanwhile. Commands: 1 Sign, by the identity key.
    ///
    /// # Errors
    /// [`crate::KeysError::Recovery`] names the holder that cannot be one; the chip's.
    pub fn make_recovery_set(
        &self,
        holders: &[AdmittedChip],
        needed: u8,
    ) -> Result<(RecoverySet, Vec<WrappedShare>)> {
        let own_tier = self.record.enrolled.enrolment().record().tier;
        let simulated = |chip: &&AdmittedChip| chip.tier() == HardwareTier::Simulator;
        if own_tier != HardwareTier::Simulator
            && let Some(simulator) = holders.iter().find(simulated)
        {
            return Err(RecoveryError::Simulator(simulator.operator().clone()).into());
        }
        let mut set = [0; 16];
        OsEntropy.fill(&mut set).map_err(CryptoError::from)?;
        let (set, robot) = (SessionId::new(set), self.record.robot.clone());
        let (set, shares) =
            RecoverySet::create(set, robot, self.record.curve, (holders, needed), &mut OsEntropy)?;
        let digest = self.record.identity.name_alg().digest(&[&set.statement()]);
        let identity = Key::from(PersistentKey::new(
            handle_map::IDENTITY,
            self.record.identity.clone(),
        ));
        let signature = self.tpm.run(Lane::Background, OPERATION_TIMEOUT, move |chip| {
            chip.sign(&identity, Auth::Empty, &digest)
        })?;
        Ok((set.signed(signature.to_tpmt()), shares))
    }
}
