//! Missions: the authority's word on what a robot may do, for whom, and until when.

use std::collections::{BTreeMap, BTreeSet};

use alcub3_crypto::{Digest, HashAlg, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{
    BelowFloor, Integrity, Labels, Level, LevelProfile, LevelProfiles, MissionId, OperatorId, RobotId, domain,
};

use crate::cose::{CoseError, Message, Unsigned};
use crate::{CommandPattern, MissionOrder, Reason, Role, SafetyLimits};

/// Someone who may command the robot on a mission.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issuer {
    /// Who.
    pub operator: OperatorId,
    /// As what.
    pub role: Role,
    /// The key of the issuer's signatures.
    pub key: VerifyingKey,
    /// How far the issuer is trusted.
    pub integrity: Integrity,
    /// Which commands the issuer may give, within the role.
    pub allowed: Vec<CommandPattern>,
}

/// What a mission token says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissionToken {
    /// The mission.
    pub mission: MissionId,
    /// The robot.
    pub robot: RobotId,
    /// The mission's labels; a command's must not be above them, an issuer's integrity not below.
    pub labels: Labels,
    /// When it begins, UTC in milliseconds since 1970.
    pub not_before_ms: u64,
    /// When it ends, UTC in milliseconds since 1970; at this moment it is over.
    pub not_after_ms: u64,
    /// When it ends on the TPM's clock, in milliseconds.
    pub end_clock_ms: u64,
    /// The mission anchor it took.
    pub anchor: MissionAnchor,
    /// The anchor's value while the mission runs.
    pub anchor_value: u64,
    /// The robot's zeroization epoch.
    pub robot_epoch: u64,
    /// The level's zeroization epoch.
    pub level_epoch: u64,
    /// The TPM's resetCount when the mission's keys are made.
    pub reset_count: u32,
    /// How many TPM resets the mission's keys survive.
    pub allowed_resets: u32,
    /// Who may command.
    pub issuers: Vec<Issuer>,
    /// The limits of every command.
    pub limits: SafetyLimits,
    /// The digest of the signed token in whose place this one comes, where the mission was handed over.
    pub replaces: Option<Digest>,
}

const VERSION: u64 = 1;
const MAX_ISSUERS: usize = 64;
const MAX_PATTERNS: usize = 64;

/// Why a mission was refused.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum MissionError {
    /// The message is malformed, of another key, or not authentic.
    #[error("mission token refused")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("mission token refused")]
    Payload(#[from] DecodeError),
    /// The mission is another robot's.
    #[error("the mission is for robot {0}")]
    WrongRobot(RobotId),
    /// The mission ends before it begins.
    #[error("the mission ends before it begins")]
    Times,
    /// The mission lasts longer than its level allows.
    #[error("the mission lasts {lasts_ms} ms, {level} allows {most_ms} ms")]
    TooLong {
        /// How long it lasts, in milliseconds.
        lasts_ms: u64,
        /// The level.
        level: Level,
        /// The longest allowed, in milliseconds.
        most_ms: u64,
    },
    /// More resets than the level allows.
    #[error("the mission's keys would survive {asked} TPM resets, {level} allows {most}")]
    TooManyResets {
        /// How many.
        asked: u32,
        /// The level.
        level: Level,
        /// The most allowed.
        most: u32,
    },
    /// The token or an issuer's key is weaker than the level asks for.
    #[error("{what}: {source}")]
    SuiteTooWeak {
        /// The token, or the issuer's name.
        what: String,
        /// What the level asks for.
        source: BelowFloor,
    },
    /// An issuer is named twice.
    #[error("issuer {0} is named twice")]
    IssuerTwice(OperatorId),
    /// An issuer's key is of another kind than missions know.
    #[error("the key of issuer {0} is on neither P-256 nor P-384")]
    IssuerKey(OperatorId),
    /// Nobody may command.
    #[error("the mission names no issuer")]
    NoIssuer,
}

impl MissionError {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "mission-too-long",
            Self::TooManyResets { .. } => "too-many-resets",
            Self::SuiteTooWeak { source, .. } => source.code(),
            _ => "mission-token",
        }
    }
}

impl MissionToken {
    /// The token, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(
            domain::MISSION,
            VERSION,
            14 + usize::from(self.replaces.is_some()),
        );
        out.u64(2)
            .bytes(self.mission.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        self.labels.encode(out.u64(4));
        out.u64(5)
            .u64(self.not_before_ms)
            .u64(6)
            .u64(self.not_after_ms)
            .u64(7)
            .u64(self.end_clock_ms);
        out.u64(8)
            .u64(self.anchor.number().into())
            .u64(9)
            .u64(self.anchor_value);
        out.u64(10).u64(self.robot_epoch).u64(11).u64(self.level_epoch);
        out.u64(12)
            .u64(self.reset_count.into())
            .u64(13)
            .u64(self.allowed_resets.into());
        out.u64(14).array(self.issuers.len());
        for issuer in &self.issuers {
            issuer.encode(&mut out);
        }
        self.limits.encode(out.u64(15));
        if let Some(replaces) = &self.replaces {
            out.u64(16).digest(replaces);
        }
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::MISSION, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::MISSION, VERSION)?;
        fields.key(r, 2, "mission")?;
        let mission = MissionId::new(*r.bytes_of("mission")?);
        fields.key(r, 3, "robot")?;
        let robot = RobotId::new(r.text("robot")?).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 4, "labels")?;
        let labels = Labels::decode(r)?;
        let mut number = |r: &mut Reader<'_>, key, field| -> Result<u64, DecodeError> {
            fields.key(r, key, field)?;
            r.u64(field)
        };
        let not_before_ms = number(r, 5, "not_before_ms")?;
        let not_after_ms = number(r, 6, "not_after_ms")?;
        let end_clock_ms = number(r, 7, "end_clock_ms")?;
        let anchor = number(r, 8, "anchor")?;
        let anchor = u8::try_from(anchor).ok().and_then(MissionAnchor::new);
        let anchor = anchor.ok_or_else(|| r.fault("anchor", Fault::Value))?;
        let anchor_value = number(r, 9, "anchor_value")?;
        let robot_epoch = number(r, 10, "robot_epoch")?;
        let level_epoch = number(r, 11, "level_epoch")?;
        fields.key(r, 12, "reset_count")?;
        let reset_count = r.u32("reset_count")?;
        fields.key(r, 13, "allowed_resets")?;
        let allowed_resets = r.u32("allowed_resets")?;
        fields.key(r, 14, "issuers")?;
        let count = r.array("issuers", MAX_ISSUERS)?;
        let issuers = (0..count).map(|_| Issuer::decode(r)).collect::<Result<_, _>>()?;
        fields.key(r, 15, "limits")?;
        let limits = SafetyLimits::decode(r)?;
        let replaces = if fields.optional(r, 16, "replaces")? {
            Some(r.digest("replaces")?)
        } else {
            None
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            mission,
            robot,
            labels,
            not_before_ms,
            not_after_ms,
            end_clock_ms,
            anchor,
            anchor_value,
            robot_epoch,
            level_epoch,
            reset_count,
            allowed_resets,
            issuers,
            limits,
            replaces,
        })
    }

    /// The highest resetCount at which the mission's keys work: the policy's bound.
    pub const fn max_reset_count(&self) -> u32 {
        self.reset_count.saturating_add(self.allowed_resets)
    }

    /// Checks the token against its level's profile.
    fn check(&self, suite: Suite, profiles: &LevelProfiles) -> Result<(), MissionError> {
        let level = self.labels.level;
        let floor = profiles.of(level);
        let lasts_ms = self
            .not_after_ms
            .checked_sub(self.not_before_ms)
            .ok_or(MissionError::Times)?;
        if lasts_ms > floor.max_mission_ms {
            return Err(MissionError::TooLong {
                lasts_ms,
                level,
                most_ms: floor.max_mission_ms,
            });
        }
        if self.allowed_resets > floor.allowed_resets {
            let (asked, most) = (self.allowed_resets, floor.allowed_resets);
            return Err(MissionError::TooManyResets { asked, level, most });
        }
        floor
            .check_suite(suite)
            .map_err(|source| MissionError::SuiteTooWeak {
                what: "the token's suite".to_owned(),
                source,
            })?;
        self.check_issuers(floor)
    }

    fn check_issuers(&self, floor: &LevelProfile) -> Result<(), MissionError> {
        if self.issuers.is_empty() {
            return Err(MissionError::NoIssuer);
        }
        for (at, issuer) in self.issuers.iter().enumerate() {
            if self
                .issuers
                .iter()
                .take(at)
                .any(|earlier| earlier.operator == issuer.operator)
            {
                return Err(MissionError::IssuerTwice(issuer.operator.clone()));
            }
            let curve = issuer.key.curve();
            let curve = curve.ok_or_else(|| MissionError::IssuerKey(issuer.operator.clone()))?;
            floor
                .check_suite(Suite::of_curve(curve))
                .map_err(|source| MissionError::SuiteTooWeak {
                    what: format!("the key of issuer {}", issuer.operator),
                    source,
                })?;
        }
        Ok(())
    }
}

impl Issuer {
    fn encode(&self, out: &mut Encoder) {
        out.map(5)
            .u64(0)
            .text(self.operator.as_str())
            .u64(1)
            .u64(self.role.id().into());
        out.u64(2)
            .bytes(&self.key.to_spki_der())
            .u64(3)
            .u64(self.integrity.id().into());
        out.u64(4).array(self.allowed.len());
        for pattern in &self.allowed {
            out.text(pattern.as_str());
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::open(r)?;
        fields.key(r, 0, "operator")?;
        let operator = OperatorId::new(r.text("operator")?).map_err(|_| r.fault("operator", Fault::Value))?;
        fields.key(r, 1, "role")?;
        let role = r.id_of("role", Role::from_id)?;
        fields.key(r, 2, "key")?;
        let key = VerifyingKey::from_spki_der(r.bytes("key")?)
            .ok()
            .filter(|key| key.curve().is_some());
        let key = key.ok_or_else(|| r.fault("key", Fault::Value))?;
        fields.key(r, 3, "integrity")?;
        let integrity = r.id_of("integrity", Integrity::from_id)?;
        fields.key(r, 4, "allowed")?;
        let count = r.array("allowed", MAX_PATTERNS)?;
        let mut allowed = Vec::with_capacity(count);
        for _ in 0..count {
            let pattern = CommandPattern::new(r.text("allowed")?);
            allowed.push(pattern.map_err(|_| r.fault("allowed", Fault::Value))?);
        }
        fields.finish(r)?;
        Ok(Self {
            operator,
            role,
            key,
            integrity,
            allowed,
        })
    }

    /// Whether two issuers cannot count as two persons: one name, or one key.
    pub fn is_same_person(&self, other: &Self) -> bool {
        self.operator == other.operator || self.key.to_spki_der() == other.key.to_spki_der()
    }

    /// Whether the mission allows the issuer a command.
    pub fn is_allowed(&self, command: &str) -> bool {
        self.allowed.iter().any(|pattern| pattern.matches(command))
    }
}

/// A mission that its authority signed, for this robot, within its level's limits. Keys are parsed.
#[derive(Clone, Debug)]
pub struct VerifiedMission {
    token: MissionToken,
    suite: Suite,
    digest: Digest,
}

impl VerifiedMission {
    /// Verifies a token within the profiles in force.
    ///
    /// # Errors
    /// [`MissionError`] says why it is none for this robot.
    pub fn verify(
        bytes: &[u8],
        authority: &VerifyingKey,
        robot: &RobotId,
        profiles: &LevelProfiles,
    ) -> Result<Self, MissionError> {
        let message = Message::parse(domain::MISSION, bytes)?;
        message.verify(authority)?;
        let token = MissionToken::decode(message.payload())?;
        if token.robot != *robot {
            return Err(MissionError::WrongRobot(token.robot));
        }
        let suite = message.suite();
        token.check(suite, profiles)?;
        Ok(Self {
            token,
            suite,
            digest: HashAlg::Sha256.digest(&[bytes]),
        })
    }

    /// Verifies a token as it was approved: within the design's own profiles, although a policy of now may be stricter.
    /// For what a mission of before says of itself; whoever lets it go on asks [`Self::meets`] as well.
    ///
    /// # Errors
    /// [`MissionError`] says why it is none for this robot.
    pub fn as_approved(
        bytes: &[u8],
        authority: &VerifyingKey,
        robot: &RobotId,
    ) -> Result<Self, MissionError> {
        Self::verify(bytes, authority, robot, &LevelProfiles::builtin())
    }

    /// That a mission of before is within the profiles in force now.
    ///
    /// # Errors
    /// [`MissionError`] says what is beyond them.
    pub fn meets(&self, profiles: &LevelProfiles) -> Result<(), MissionError> {
        self.token.check(self.suite, profiles)
    }

    /// What the token says.
    pub const fn token(&self) -> &MissionToken {
        &self.token
    }

    /// The SHA-256 of the signed token, for the audit log and the mission PCR.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The issuer of a name.
    pub fn issuer(&self, operator: &str) -> Option<&Issuer> {
        self.token
            .issuers
            .iter()
            .find(|issuer| issuer.operator.as_str() == operator)
    }

    /// Whether the mission runs at a time.
    ///
    /// # Errors
    /// The [`Reason`] why not.
    pub const fn runs_at(&self, now_ms: u64) -> Result<(), Reason> {
        if now_ms < self.token.not_before_ms {
            return Err(Reason::MissionNotBegun);
        }
        if now_ms >= self.token.not_after_ms {
            Err(Reason::MissionOver)
        } else {
            Ok(())
        }
    }
}

/// The missions that are active on the robot.
#[derive(Clone, Debug, Default)]
pub struct ActiveMissions {
    missions: BTreeMap<MissionId, VerifiedMission>,
    suspended: BTreeSet<MissionId>,
}

impl ActiveMissions {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mission; gives back one that had its identifier, in whose place it is suspended where that was.
    pub fn insert(&mut self, mission: VerifiedMission) -> Option<VerifiedMission> {
        self.missions.insert(mission.token.mission, mission)
    }

    /// Takes a mission out.
    pub fn remove(&mut self, mission: &MissionId) -> Option<VerifiedMission> {
        self.suspended.remove(mission);
        self.missions.remove(mission)
    }

    /// Takes all out: a stop.
    pub fn clear(&mut self) {
        self.suspended.clear();
        self.missions.clear();
    }

    /// One mission.
    pub fn get(&self, mission: &MissionId) -> Option<&VerifiedMission> {
        self.missions.get(mission)
    }

    /// Suspends an active mission, or resumes it; whether there is such a mission.
    pub fn obey(&mut self, mission: &MissionId, order: MissionOrder) -> bool {
        let is_active = self.missions.contains_key(mission);
        if is_active && order.suspends() {
            self.suspended.insert(*mission);
        } else {
            self.suspended.remove(mission);
        }
        is_active
    }

    /// Whether a mission is suspended.
    pub fn is_suspended(&self, mission: &MissionId) -> bool {
        self.suspended.contains(mission)
    }

    /// All missions, ascending by identifier.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedMission> {
        self.missions.values()
    }

    /// What the mission PCR is extended with: H(domain ‖ 0x00 ‖ mission ‖ token digest ‖ …), ascending by identifier.
    pub fn set_digest(&self, alg: HashAlg) -> Digest {
        let mut hasher = alg.hasher();
        hasher.update(domain::MISSION_SET.as_bytes()).update(&[0]);
        for mission in self.iter() {
            hasher
                .update(mission.token.mission.as_bytes())
                .update(mission.digest.as_bytes());
        }
        hasher.finish()
    }
}
