//! The authority's word on a robot whose root of trust is no TPM: a COSE_Sign1, as the enrolment record of a TPM robot is.

use alcub3_attestation::appraisal::{ReferenceError, StateReferences};
use alcub3_attestation::psa::{DocumentError, InstanceId};
use alcub3_attestation::{dice, psa};
use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::{Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault};
use alcub3_trust_model::{HardwareTier, Level, RobotId, domain};

use super::root::{DiceRoot, PsaRoot, RootKind, RootOfTrust};
use crate::wire::{self, Message};

const VERSION: u64 = 1;
/// The key of the generation: behind those of every kind's own fields.
const GENERATION: u64 = 32;
/// The most root keys of manufacturers.
const MAX_ROOTS: usize = 16;
/// The longest document of references, in bytes.
const MAX_REFERENCES: usize = 64 << 10;

/// Why a record was not made or not believed.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The message is malformed, of another key, or not authentic.
    #[error("enrolment refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("enrolment refused: {0}")]
    Payload(#[from] DecodeError),
    /// The record is another robot's.
    #[error("the record is for robot {0}")]
    WrongRobot(RobotId),
    /// The tier is none of that kind of root of trust.
    #[error(
        "a robot whose root of trust is {root} is not of the tier {tier}: without a root of trust it is none; with DICE or PSA say \
         discrete for a chip of its own, firmware for the processor's, simulator for a simulated one"
    )]
    Tier {
        /// The kind.
        root: RootKind,
        /// The tier.
        tier: HardwareTier,
    },
    /// The device's key is of no suite.
    #[error("the device's key is on neither P-256 nor P-384: no level admits it")]
    Key,
    /// There are more roots than a record names.
    #[error("{0} root keys; a record names at most {MAX_ROOTS}")]
    Roots(usize),
    /// The references are longer than a record carries.
    #[error("the references have {0} bytes; a record carries at most {MAX_REFERENCES}")]
    ReferencesTooLong(usize),
    /// There are no layers: nothing would be judged.
    #[error("the references name no layer of the DICE chain: nothing would be judged")]
    NoLayer,
    /// The references of DICE layers do not read.
    #[error(transparent)]
    Dice(#[from] dice::ReferenceError),
    /// The references of a PSA platform do not read.
    #[error(transparent)]
    Psa(#[from] DocumentError),
    /// There is no state to hold to anything.
    #[error("a robot without a root of trust proves no state: leave out the references for it")]
    NothingProven,
    /// The references for the state name no part of it.
    #[error(
        "the references for the state name no part of it: nothing would be judged; leave them out, or name one"
    )]
    NoStatePart,
    /// Which mode may follow which is proven by a register of a TPM.
    #[error(
        "the references for the state say which mode may follow which: that takes a robot register in a TPM, and this robot has \
         none; leave out `transitions`"
    )]
    Transitions,
    /// The references for the state do not read.
    #[error(transparent)]
    State(#[from] ReferenceError),
}

/// What the authority says of a robot whose root of trust is no TPM. Made only with a tier and keys that fit its kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformEnrolment {
    robot: RobotId,
    root: RootOfTrust,
    tier: HardwareTier,
    ceiling: Level,
    issued_at_ms: u64,
    state: Option<StateReferences>,
    generation: u64,
}

impl PlatformEnrolment {
    /// A record of a robot: its root of trust, the kind of hardware that this was found to be in, the highest level that it may
    /// serve, and the time, UTC in milliseconds since 1970.
    ///
    /// # Errors
    /// [`PlatformError`]: a tier that is none of its kind, a key of no suite, or references that no record carries.
    pub fn new(
        robot: RobotId,
        root: RootOfTrust,
        tier: HardwareTier,
        ceiling: Level,
        issued_at_ms: u64,
    ) -> Result<Self, PlatformError> {
        let kind = root.kind();
        if !kind.admits(tier) {
            return Err(PlatformError::Tier { root: kind, tier });
        }
        if kind != RootKind::None && root.suite().is_none() {
            return Err(PlatformError::Key);
        }
        check_references(&root)?;
        Ok(Self {
            robot,
            root,
            tier,
            ceiling,
            issued_at_ms,
            state: None,
            generation: 0,
        })
    }

    /// The record of a robot whose state is held to references.
    ///
    /// # Errors
    /// [`PlatformError`]: nothing of that robot or of those references can be judged.
    pub fn holding_state_to(self, state: StateReferences) -> Result<Self, PlatformError> {
        match () {
            () if self.root.kind() == RootKind::None => return Err(PlatformError::NothingProven),
            () if state.is_empty() => return Err(PlatformError::NoStatePart),
            () if state.asks_for_transitions() => return Err(PlatformError::Transitions),
            () => {}
        }
        let length = state.to_json().len();
        if length > MAX_REFERENCES {
            return Err(PlatformError::ReferencesTooLong(length));
        }
        Ok(Self {
            state: Some(state),
            ..self
        })
    }

    /// What its state is held to; none where it is held to nothing.
    pub const fn state(&self) -> Option<&StateReferences> {
        self.state.as_ref()
    }

    /// The record of a name's later life: see [`Self::nonce`].
    #[must_use]
    pub const fn of_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Which life of the name it is of; 0 is the first.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The robot.
    pub const fn robot(&self) -> &RobotId {
        &self.robot
    }

    /// Its root of trust, and what it is held to.
    pub const fn root(&self) -> &RootOfTrust {
        &self.root
    }

    /// The kind of hardware that its root of trust is in, as it was found at enrolment.
    pub const fn tier(&self) -> HardwareTier {
        self.tier
    }

    /// The highest level it may serve.
    pub const fn ceiling(&self) -> Level {
        self.ceiling
    }

    /// When it was issued, UTC in milliseconds since 1970.
    pub const fn issued_at_ms(&self) -> u64 {
        self.issued_at_ms
    }

    /// The record, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let own = match self.root {
            RootOfTrust::None => 0,
            RootOfTrust::Dice(_) | RootOfTrust::Psa(_) => 3,
        };
        let held = usize::from(self.state.is_some());
        let later = usize::from(self.generation > 0);
        let mut out = Encoder::structure(domain::PLATFORM_ENROLMENT, VERSION, 5 + own + held + later);
        out.u64(2)
            .text(self.robot.as_str())
            .u64(3)
            .u64(self.root.kind().id().into());
        out.u64(4)
            .u64(self.tier.id().into())
            .u64(5)
            .u64(self.ceiling.id().into());
        out.u64(6).u64(self.issued_at_ms);
        match &self.root {
            RootOfTrust::None => {}
            RootOfTrust::Dice(dice) => put_dice(&mut out, dice),
            RootOfTrust::Psa(psa) => put_psa(&mut out, psa),
        }
        if let Some(state) = &self.state {
            out.u64(13).text(&state.to_json());
        }
        if self.generation > 0 {
            out.u64(GENERATION).u64(self.generation);
        }
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, PlatformError> {
        let mut m = Message::open(domain::PLATFORM_ENROLMENT, VERSION, bytes)?;
        let robot = wire::robot(m.at(2, "robot")?)?;
        let kind = m.at(3, "root")?.id_of("root", RootKind::from_id)?;
        let tier = m.at(4, "tier")?.id_of("tier", HardwareTier::from_id)?;
        let ceiling = m.at(5, "ceiling")?.id_of("ceiling", Level::from_id)?;
        let issued_at_ms = m.at(6, "issued_at_ms")?.u64("issued_at_ms")?;
        let root = match kind {
            RootKind::None => RootOfTrust::None,
            RootKind::Dice => RootOfTrust::Dice(Box::new(dice_root(&mut m)?)),
            RootKind::Psa => RootOfTrust::Psa(Box::new(psa_root(&mut m)?)),
        };
        let state = state_references(&mut m)?;
        let generation = generation(&mut m)?;
        m.finish()?;
        let record = Self::new(robot, root, tier, ceiling, issued_at_ms)?.of_generation(generation);
        match state {
            Some(state) => record.holding_state_to(state),
            None => Ok(record),
        }
    }
}

/// The first life of a name is not stated.
fn generation(m: &mut Message<'_>) -> Result<u64, DecodeError> {
    if !m.has(GENERATION, "generation")? {
        return Ok(0);
    }
    match m.r.u64("generation")? {
        0 => Err(m.r.fault("generation", Fault::NotCanonical)),
        generation => Ok(generation),
    }
}

fn check_references(root: &RootOfTrust) -> Result<(), PlatformError> {
    let length = match root {
        RootOfTrust::None => 0,
        RootOfTrust::Dice(dice) if dice.references.layers().is_empty() => return Err(PlatformError::NoLayer),
        RootOfTrust::Dice(dice) if dice.roots.len() > MAX_ROOTS => {
            return Err(PlatformError::Roots(dice.roots.len()));
        }
        RootOfTrust::Dice(dice) => dice.references.to_json().len(),
        RootOfTrust::Psa(psa) => psa.references.to_json().len(),
    };
    if length > MAX_REFERENCES {
        return Err(PlatformError::ReferencesTooLong(length));
    }
    Ok(())
}

fn put_dice(out: &mut Encoder, dice: &DiceRoot) {
    out.u64(7).bytes(&dice.device_key.to_spki_der());
    out.u64(8).array(dice.roots.len());
    for root in &dice.roots {
        out.bytes(&root.to_spki_der());
    }
    out.u64(9).text(&dice.references.to_json());
}

fn dice_root(m: &mut Message<'_>) -> Result<DiceRoot, PlatformError> {
    let device_key = wire::key(m.at(7, "device_key")?, "device_key")?;
    let roots = wire::list(m.at(8, "roots")?, "roots", MAX_ROOTS, |r| wire::key(r, "roots"))?;
    let layers = wire::short_text(m.at(9, "layers")?, "layers", MAX_REFERENCES)?;
    let references = dice::References::from_json(&layers)?;
    one_form(m, "layers", &layers, &references.to_json())?;
    Ok(DiceRoot {
        device_key,
        roots,
        references,
    })
}

fn put_psa(out: &mut Encoder, psa: &PsaRoot) {
    out.u64(10).bytes(&psa.attestation_key.to_spki_der());
    out.u64(11).bytes(&psa.instance.0);
    out.u64(12).text(&psa.references.to_json());
}

fn psa_root(m: &mut Message<'_>) -> Result<PsaRoot, PlatformError> {
    let attestation_key = wire::key(m.at(10, "attestation_key")?, "attestation_key")?;
    let instance = InstanceId(*m.at(11, "instance")?.bytes_of("instance")?);
    let text = wire::short_text(m.at(12, "references")?, "references", MAX_REFERENCES)?;
    let references = psa::PlatformReferences::from_json(&text)?;
    one_form(m, "references", &text, &references.to_json())?;
    Ok(PsaRoot {
        attestation_key,
        instance,
        references,
    })
}

fn state_references(m: &mut Message<'_>) -> Result<Option<StateReferences>, PlatformError> {
    if !m.has(13, "state")? {
        return Ok(None);
    }
    let text = wire::short_text(&mut m.r, "state", MAX_REFERENCES)?;
    let state = StateReferences::from_json(&text)?;
    one_form(m, "state", &text, &state.to_json())?;
    Ok(Some(state))
}

/// A document in a record is written as its values are written.
fn one_form(m: &Message<'_>, field: &'static str, given: &str, written: &str) -> Result<(), DecodeError> {
    match given == written {
        true => Ok(()),
        false => Err(m.r.fault(field, Fault::NotCanonical)),
    }
}

/// A record that the authority signed.
#[derive(Clone, Debug)]
pub struct VerifiedPlatform {
    record: PlatformEnrolment,
    bytes: Vec<u8>,
}

impl VerifiedPlatform {
    /// Verifies a record.
    ///
    /// # Errors
    /// [`PlatformError`] says why it is none of this authority.
    pub fn verify(bytes: &[u8], authority: &VerifyingKey) -> Result<Self, PlatformError> {
        let message = Cose::parse(domain::PLATFORM_ENROLMENT, bytes)?;
        message.verify(authority)?;
        Ok(Self {
            record: PlatformEnrolment::decode(message.payload())?,
            bytes: bytes.to_vec(),
        })
    }

    /// As [`Self::verify`], for the record that is kept of one robot.
    ///
    /// # Errors
    /// Also one of another robot: under this one's name it would lend it that one's keys.
    pub fn verify_of(bytes: &[u8], authority: &VerifyingKey, robot: &RobotId) -> Result<Self, PlatformError> {
        let verified = Self::verify(bytes, authority)?;
        if verified.record.robot != *robot {
            return Err(PlatformError::WrongRobot(verified.record.robot));
        }
        Ok(verified)
    }

    /// What the record says.
    pub const fn record(&self) -> &PlatformEnrolment {
        &self.record
    }

    /// The signed record, to be stored or shown to others.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
