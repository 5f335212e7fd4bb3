//! The robot's side of an enrolment, as a machine without input or output.

use alcub3_crypto::{Digest, HashAlg, Secret, VerifyingKey, hmac};

use super::messages::proof_parts;
use super::{EnrolChallenge, EnrolError, EnrolRequest, EnrolResponse};
use crate::{HierarchyAuthorisations, VerifiedAnchors};

/// The first state: the request is on its way.
#[derive(Clone, Debug)]
pub struct Robot {
    request: EnrolRequest,
    digest: Digest,
    authority: VerifyingKey,
}

/// What TPM2_ActivateCredential takes, both without an outer size.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credential {
    /// TPMS_ID_OBJECT.
    pub id_object: Vec<u8>,
    /// The encrypted secret.
    pub encrypted_secret: Vec<u8>,
}

/// The second state: the authority's challenge is there, the TPM is to recover its secret.
#[derive(Clone, Debug)]
pub struct RobotChallenged {
    robot: Robot,
    challenge: EnrolChallenge,
}

/// The third state: the response is on its way.
#[derive(Clone, Debug)]
pub struct AwaitingRecord {
    robot: Robot,
    challenge: EnrolChallenge,
}

impl Robot {
    /// Begins an enrolment with the authority whose key the robot was given beforehand. Gives the first message.
    pub fn begin(request: EnrolRequest, authority: VerifyingKey) -> (Self, Vec<u8>) {
        let message = request.to_canonical();
        let digest = HashAlg::Sha256.digest(&[&message]);
        (
            Self {
                request,
                digest,
                authority,
            },
            message,
        )
    }

    /// Takes the authority's challenge. Gives what the TPM is to recover.
    ///
    /// # Errors
    /// [`EnrolError`] where it is not this authority's, or not in answer to this request.
    pub fn challenged(self, message: &[u8]) -> Result<(RobotChallenged, Credential), EnrolError> {
        let challenge = EnrolChallenge::verify(message, &self.authority)?;
        if challenge.robot != self.request.robot {
            return Err(EnrolError::WrongRobot(challenge.robot));
        }
        if challenge.request != self.digest {
            return Err(EnrolError::WrongSession);
        }
        let (id_object, encrypted_secret) = (challenge.id_object.clone(), challenge.encrypted_secret.clone());
        Ok((
            RobotChallenged {
                robot: self,
                challenge,
            },
            Credential {
                id_object,
                encrypted_secret,
            },
        ))
    }
}

impl RobotChallenged {
    /// Answers with the secret that the TPM recovered, handing the authorisations over. Gives the second message.
    ///
    /// # Errors
    /// [`EnrolError::Crypto`] where the authority's custody key is no key.
    pub fn respond(
        self,
        secret: &Secret,
        custody: &HierarchyAuthorisations,
    ) -> Result<(AwaitingRecord, Vec<u8>), EnrolError> {
        let Self { robot, challenge } = self;
        let sealed = custody.seal(&challenge.custody_key, &robot.request.robot, challenge.session)?;
        let sealed_digest = HashAlg::Sha256.digest(&[&sealed]);
        let parts = proof_parts(&challenge.nonce, &robot.digest, &sealed_digest);
        let proof = hmac(HashAlg::Sha256, secret.expose(), &parts);
        let proof = proof.as_bytes().try_into().map_err(|_| EnrolError::Proof)?;
        let response = EnrolResponse {
            session: challenge.session,
            proof,
            custody: sealed,
        };
        Ok((AwaitingRecord { robot, challenge }, response.to_canonical()))
    }
}

impl AwaitingRecord {
    /// Takes the authority's last message.
    ///
    /// # Errors
    /// [`EnrolError`] where it is not this authority's, of another exchange, or about other keys than this robot's.
    pub fn enrolled(self, message: &[u8]) -> Result<VerifiedAnchors, EnrolError> {
        let request = &self.robot.request;
        let verified = VerifiedAnchors::verify(message, &self.robot.authority, &request.robot)?;
        if verified.session() != self.challenge.session {
            return Err(EnrolError::WrongSession);
        }
        let record = verified.enrolment().record();
        let same = record.endorsement_key == request.endorsement_key.name()
            && record.attestation_key == request.attestation_key
            && record.identity == request.identity
            && record.hardware_binding == request.hardware.binding(record.hardware_binding.alg())
            && record.origin.is_of(&request.origin);
        if same {
            Ok(verified)
        } else {
            Err(EnrolError::OtherKeys)
        }
    }
}
