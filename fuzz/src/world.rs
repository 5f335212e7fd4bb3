// A small world for fuzz targets that need one: an authority, a robot on a mission, and a command session. The bytes under
// test are always the payload of a message whose signature or tag is right, so that what is behind the signature is reached.
// A test of `cargo xtask` compiles this file too, and checks that the seeds fit it.

use std::sync::LazyLock;

use alcub3_command_authority::cose::Unsigned;
use alcub3_command_authority::{
    ActiveMissions, AttestationLease, CommandPattern, Issuer, MissionToken, Role, SafetyLimits, SessionKeys,
    VerifiedLease, VerifiedMission,
};
use alcub3_crypto::{Curve, Digest, HashAlg, MacKey, SigningKey, Suite};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{
    BootId, Integrity, Labels, LeaseId, Level, LevelProfiles, MissionId, OperatorId, RobotId, SessionId,
};

/// The robot's boot. The seeds of `cargo xtask fuzz-seeds` name the same robot, boot, mission and lease.
pub const BOOT: BootId = BootId::new([3; 16]);
/// Its lease.
pub const LEASE: LeaseId = LeaseId::new([5; 16]);
/// Its mission.
pub const MISSION: MissionId = MissionId::new([8; 16]);
/// The exchange in which it asked for something.
pub const SESSION: SessionId = SessionId::new([6; 16]);
/// The time at which everything is judged, UTC in milliseconds since 1970.
pub const NOW_MS: u64 = 1_790_000_000_000;

/// Everything that a robot holds when it judges a command.
pub struct World {
    /// The authority's key, which also signs leases here.
    pub authority: SigningKey,
    /// The robot.
    pub robot: RobotId,
    /// What it is cleared for.
    pub labels: Labels,
    /// Its one mission.
    pub missions: ActiveMissions,
    /// The one issuer's session.
    pub sessions: SessionKeys,
    /// The session's key once more, to make tags with.
    pub mac: MacKey,
    /// Its lease.
    pub lease: VerifiedLease,
    /// The issuer.
    pub issuer: OperatorId,
}

/// The world, made once.
pub static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// A payload, signed by the authority.
pub fn signed(payload: &[u8]) -> Vec<u8> {
    Unsigned::new(Suite::EcdsaP256Sha256, payload.to_vec())
        .sign(&WORLD.authority)
        .expect("the authority signs")
}

/// A payload, MACed with the session's key.
pub fn maced(payload: &[u8]) -> Vec<u8> {
    Unsigned::new(Suite::HmacSha256, payload.to_vec())
        .mac(&WORLD.mac)
        .expect("the session's key fits")
}

impl World {
    fn new() -> Self {
        let authority = SigningKey::generate(Curve::P256).expect("a key");
        let robot = RobotId::new("robot-17").expect("a robot's name");
        let issuer = OperatorId::new("operator-1").expect("an operator's name");
        let labels = Labels::new(Level::Unclassified, Integrity::Operational);
        let mut missions = ActiveMissions::new();
        missions.insert(mission(&authority, &robot, &issuer, &labels));
        let mut sessions = SessionKeys::new();
        let mac = || MacKey::new(HashAlg::Sha256, &[4; 32]);
        sessions.insert(MISSION, issuer.clone(), mac());
        let lease = lease(&authority, &robot);
        Self {
            authority,
            robot,
            labels,
            missions,
            sessions,
            mac: mac(),
            lease,
            issuer,
        }
    }
}

fn mission(authority: &SigningKey, robot: &RobotId, issuer: &OperatorId, labels: &Labels) -> VerifiedMission {
    let issuer = Issuer {
        operator: issuer.clone(),
        role: Role::Commander,
        key: authority.verifying_key(),
        integrity: Integrity::Operational,
        allowed: vec![CommandPattern::new("move.*").expect("a pattern")],
    };
    let token = MissionToken {
        mission: MISSION,
        robot: robot.clone(),
        labels: labels.clone(),
        not_before_ms: NOW_MS - 1_000,
        not_after_ms: NOW_MS + 600_000,
        end_clock_ms: 600_000,
        anchor: MissionAnchor::new(0).expect("an anchor"),
        anchor_value: 7,
        robot_epoch: 1,
        level_epoch: 1,
        reset_count: 2,
        allowed_resets: 0,
        issuers: vec![issuer],
        limits: SafetyLimits {
            max_speed_mm_per_s: 2_000,
            max_turn_mdeg_per_s: 90_000,
            max_duration_ms: 10_000,
            geofence: None,
        },
        replaces: None,
    };
    let bytes = token
        .unsigned(Suite::EcdsaP256Sha256)
        .sign(authority)
        .expect("the authority signs");
    VerifiedMission::as_approved(&bytes, &authority.verifying_key(), robot)
        .expect("the world's mission holds")
}

fn lease(verifier: &SigningKey, robot: &RobotId) -> VerifiedLease {
    let lease = AttestationLease {
        robot: robot.clone(),
        lease: LEASE,
        boot: BOOT,
        ceiling: Level::Unclassified,
        not_before_ms: NOW_MS - 1_000,
        not_after_ms: NOW_MS + 1_000,
        verdict: Digest::zero(HashAlg::Sha256),
    };
    let bytes = lease
        .unsigned(Suite::EcdsaP256Sha256)
        .sign(verifier)
        .expect("the verifier signs");
    VerifiedLease::verify(
        &bytes,
        &verifier.verifying_key(),
        robot,
        BOOT,
        &LevelProfiles::builtin(),
    )
    .expect("the world's lease holds")
}
