//! The authority's side of an enrolment, as a machine without input or output. Nothing is issued before the secret came
//! back from the robot's TPM.

use alcub3_crypto::hpke::RecipientKey;
use alcub3_crypto::tpm::make_credential;
use alcub3_crypto::{Digest, Entropy, HashAlg, MacKey, Secret, SigningKey, Suite, VerifyingKey};
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::{HardwareTier, Level, LevelProfile, LevelProfiles, SessionId, danger};

use super::messages::proof_parts;
use super::{EnrolChallenge, EnrolError, EnrolRequest, EnrolResponse, checks};
use crate::endorsement::{EndorsementBasis, pin_digest};
use crate::origin::{JudgedOrigin, Origin};
use crate::{EnrolmentRecord, HierarchyAuthorisations, TrustAnchors};

/// What the validation of the endorsement certificate found (see `alcub3-attestation`), or what an operator pinned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endorsement {
    /// The certified or pinned key.
    pub key: VerifyingKey,
    /// What vouched for it.
    pub basis: EndorsementBasis,
    /// The kind of TPM that the certificate and its issuer vouch for, or that the pin states.
    pub tier: HardwareTier,
}

/// What the authority admits.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Admission {
    /// The highest level that this robot may be admitted to.
    pub ceiling: Level,
    /// Whether simulators count: for demonstrations and tests only; the record says what the TPM is.
    pub admit_simulators: bool,
    /// What each level asks of a robot.
    pub profiles: LevelProfiles,
}

/// The authority's keys that an enrolment uses.
#[derive(Copy, Clone, Debug)]
pub struct Issuer<'a> {
    /// Signs challenges and records.
    pub signing: &'a SigningKey,
    /// Opens custody.
    pub custody: &'a RecipientKey,
}

/// The entrance of the machine.
#[derive(Copy, Clone, Debug)]
pub struct Authority;

/// The first state: the request is well formed and its keys are as they must be. The certificate is not yet judged.
#[derive(Clone, Debug)]
pub struct Received {
    request: EnrolRequest,
    digest: Digest,
    /// What its keys are as strong as.
    strength: Suite,
    origin: Origin,
}

/// The second state: the challenge is on its way.
#[derive(Debug)]
pub struct Challenged {
    request: EnrolRequest,
    digest: Digest,
    endorsement: Endorsement,
    origin: Origin,
    ceiling: Level,
    session: SessionId,
    nonce: [u8; 32],
    secret: Secret,
}

/// The third state: the robot's TPM holds both keys, and its authorisations are in custody.
#[derive(Debug)]
pub struct Proven {
    request: EnrolRequest,
    endorsement: Endorsement,
    origin: Origin,
    ceiling: Level,
    session: SessionId,
    custody: HierarchyAuthorisations,
}

/// The result.
#[derive(Debug)]
pub struct EnrolledRobot {
    /// What was recorded.
    pub record: EnrolmentRecord,
    /// The signed record.
    pub signed_record: Vec<u8>,
    /// The last message to the robot.
    pub message: Vec<u8>,
    /// The robot's hardware record, to be kept with it.
    pub hardware: HardwareRecord,
    /// The robot's authorisations, to be put away before the message is sent.
    pub custody: HierarchyAuthorisations,
}

impl Authority {
    /// Takes a request and checks the robot's keys.
    ///
    /// # Errors
    /// [`EnrolError`] says which key is not as it must be.
    pub fn receive(message: &[u8]) -> Result<Received, EnrolError> {
        let request = EnrolRequest::from_canonical(message)?;
        let strength = checks::request(&request)?;
        Ok(Received {
            request,
            digest: HashAlg::Sha256.digest(&[message]),
            strength,
            origin: Origin::default(),
        })
    }
}

impl Received {
    /// The request: its certificate is to be validated now.
    pub const fn request(&self) -> &EnrolRequest {
        &self.request
    }

    /// Takes what was found of the robot's origin into the record. Without this the record says nothing of it.
    ///
    /// # Errors
    /// [`EnrolError::Origin`] where that was found of other evidence than this request's, or [`EnrolError::OriginText`].
    pub fn with_origin(self, judged: &JudgedOrigin) -> Result<Self, EnrolError> {
        let origin = judged.of(&self.request.origin)?;
        Ok(Self { origin, ..self })
    }

    /// Challenges the robot, whose certificate was validated. Gives the message.
    ///
    /// # Errors
    /// [`EnrolError::OtherEndorsementKey`], [`EnrolError::Basis`], [`EnrolError::NoLevel`], or what cryptography refused.
    pub fn challenge(
        self,
        endorsement: Endorsement,
        admission: Admission,
        issuer: Issuer<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(Challenged, Vec<u8>), EnrolError> {
        if self.request.endorsement_key.verifying_key()? != endorsement.key {
            return Err(EnrolError::OtherEndorsementKey);
        }
        self.rests_on(&endorsement)?;
        let tier = endorsement.tier;
        let ceiling = admission.ceiling_of(self.strength, tier);
        let ceiling = ceiling.ok_or(EnrolError::NoLevel { tier })?;
        let (mut session, mut nonce, mut secret) = ([0; 16], [0; 32], Secret::zeroed(32));
        entropy.fill(&mut session)?;
        entropy.fill(&mut nonce)?;
        entropy.fill(secret.expose_mut())?;
        let attestation_key = self.request.attestation_key.name();
        let credential = make_credential(
            &self.request.endorsement_key,
            &attestation_key,
            secret.expose(),
            entropy,
        )?;
        let session = SessionId::new(session);
        let challenge = EnrolChallenge {
            session,
            robot: self.request.robot.clone(),
            request: self.digest,
            id_object: credential.id_object,
            encrypted_secret: credential.encrypted_secret,
            nonce,
            custody_key: issuer.custody.public().to_vec(),
        };
        let message = challenge.unsigned(issuer.signing.suite()).sign(issuer.signing)?;
        let Self {
            request,
            digest,
            origin,
            ..
        } = self;
        Ok((
            Challenged {
                request,
                digest,
                endorsement,
                origin,
                ceiling,
                session,
                nonce,
                secret,
            },
            message,
        ))
    }
}

impl Received {
    /// Whether that is what vouches for this request's key: its own certificate, or a pin of the key where it sent none.
    fn rests_on(&self, endorsement: &Endorsement) -> Result<(), EnrolError> {
        let sent = &self.request.endorsement_certificate;
        let fits = match &endorsement.basis {
            EndorsementBasis::Certificate(digest) | EndorsementBasis::CertificateUnlisted(digest) => {
                !sent.is_empty() && *digest == HashAlg::Sha256.digest(&[sent])
            }
            EndorsementBasis::PinnedKey(digest) => sent.is_empty() && *digest == pin_digest(&endorsement.key),
        };
        if fits && endorsement.basis.supports(endorsement.tier) {
            Ok(())
        } else {
            Err(EnrolError::Basis)
        }
    }
}

impl Admission {
    /// The highest level whose floors a robot meets with its keys and its kind of TPM; none where it meets no level's.
    pub fn ceiling_of(&self, keys: Suite, tier: HardwareTier) -> Option<Level> {
        let admitted = Level::ALL.into_iter().filter(|level| *level <= self.ceiling);
        admitted
            .rev()
            .find(|level| self.profile(*level, tier).check_robot(keys, tier).is_ok())
    }

    /// A level's profile as it is held against a robot with a kind of TPM.
    pub const fn profile(&self, level: Level, tier: HardwareTier) -> LevelProfile {
        let profile = *self.profiles.of(level);
        if self.admit_simulators {
            danger::admitting_simulators(profile, tier)
        } else {
            profile
        }
    }
}

impl Challenged {
    /// The exchange.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The request.
    pub const fn request(&self) -> &EnrolRequest {
        &self.request
    }

    /// The highest level that the robot may serve once it has proven itself.
    pub const fn ceiling(&self) -> Level {
        self.ceiling
    }

    /// Takes the robot's answer: checks the proof, then opens custody.
    ///
    /// # Errors
    /// [`EnrolError::WrongSession`], [`EnrolError::Proof`], or where custody does not open.
    pub fn answered(self, message: &[u8], issuer: Issuer<'_>) -> Result<Proven, EnrolError> {
        let response = EnrolResponse::from_canonical(message)?;
        if response.session != self.session {
            return Err(EnrolError::WrongSession);
        }
        let sealed_digest = HashAlg::Sha256.digest(&[&response.custody]);
        let parts = proof_parts(&self.nonce, &self.digest, &sealed_digest);
        let key = MacKey::new(HashAlg::Sha256, self.secret.expose());
        if !key.verify(&parts, &response.proof) {
            return Err(EnrolError::Proof);
        }
        let robot = &self.request.robot;
        let custody = HierarchyAuthorisations::open(&response.custody, issuer.custody, robot, self.session)?;
        let Self {
            request,
            endorsement,
            origin,
            ceiling,
            session,
            ..
        } = self;
        Ok(Proven {
            request,
            endorsement,
            origin,
            ceiling,
            session,
            custody,
        })
    }
}

impl Proven {
    /// The request.
    pub const fn request(&self) -> &EnrolRequest {
        &self.request
    }

    /// Issues the record and the anchors. `anchors.authority` is the issuer's own key or the one that follows it.
    ///
    /// # Errors
    /// [`EnrolError::Sign`].
    pub fn issue(
        self,
        anchors: &TrustAnchors,
        issuer: Issuer<'_>,
        now_ms: u64,
    ) -> Result<EnrolledRobot, EnrolError> {
        let alg = self.request.attestation_key.name_alg();
        let hardware = self.request.hardware;
        let record = EnrolmentRecord {
            robot: self.request.robot,
            endorsement_key: self.request.endorsement_key.name(),
            endorsement: self.endorsement.basis,
            attestation_key: self.request.attestation_key,
            identity: self.request.identity,
            hardware_binding: hardware.binding(alg),
            tier: self.endorsement.tier,
            ceiling: self.ceiling,
            issued_at_ms: now_ms,
            origin: self.origin,
        };
        let suite = issuer.signing.suite();
        let signed_record = record.unsigned(suite).sign(issuer.signing)?;
        let message = anchors
            .unsigned(self.session, &signed_record, suite)
            .sign(issuer.signing)?;
        Ok(EnrolledRobot {
            record,
            signed_record,
            message,
            hardware,
            custody: self.custody,
        })
    }
}
