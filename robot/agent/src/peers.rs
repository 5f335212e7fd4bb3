//! Judging other robots while no authority is in reach: by a bundle that the authority signed, and nothing else.
//!
//! The robot is Verifier and Relying Party in one (RFC 9334). It asks with a nonce of its own, judges what the other robot's TPM
//! signed as the authority would, and remembers of it what the next judgement is compared with.

use crate::robot::Robot;
use crate::run::random_id;
use crate::{AgentError, Result};
use alcub3_attestation::appraisal::{
    Asked, LastSeen, PlatformRecord, Policy, RegisterRecord, Verdict, appraise,
};
use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::evidence::Nonce;
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::{Digest, Entropy, HashAlg};
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_fleet_protocol::policy_bundle::{PolicyBundleError, VerifiedBundle, VerifiedPeer};
use alcub3_tpm::OsEntropy;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{AttestationKind, RobotId, SessionId, StopId, domain};

const BUNDLE: &str = "policy-bundle.cose";
const FOLDER: &str = "peers";
const ASKED: &str = "peers-asked";
const VERSION: u64 = 1;
/// How long a robot that was asked may take, in milliseconds.
pub const PEER_EXCHANGE_MS: u64 = 60_000;
/// The most robots that are asked and have not answered.
const MAX_ASKED: usize = 64;
/// How far clocks of robots may be apart before a verdict says so, and a bundle may be from the future, in milliseconds.
const CLOCKS_APART_MS: u64 = 30_000;
/// The most stops of one robot that are remembered, as of an authority.
const MAX_STOPS: usize = 256;
/// The most reason codes of an entry.
const MAX_REASONS: usize = 32;

/// Why a robot is not asked or its evidence not judged. A judgement that it is untrusted is none of these.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// There is no bundle.
    #[error("this robot has no policy bundle: take one that the authority signed first")]
    NoBundle,
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] PolicyBundleError),
    /// The robot is not in the bundle.
    #[error("robot {0} is not in the policy bundle: bring one that names it")]
    Unknown(RobotId),
    /// Nobody asked for this evidence, or it was judged.
    #[error("this evidence answers no question that waits: ask the robot again")]
    NotAsked,
    /// It is of another robot than was asked.
    #[error("robot {asked} was asked, and {found} answered")]
    OtherRobot {
        /// Who was asked.
        asked: RobotId,
        /// Who answered.
        found: RobotId,
    },
    /// It came too late.
    #[error("the evidence came {late_ms} ms too late: ask the robot again")]
    Late {
        /// By how much, in milliseconds.
        late_ms: u64,
    },
    /// The message is not the one form allowed.
    #[error("the evidence: {0}")]
    Message(#[from] DecodeError),
}

impl PeerError {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoBundle => "no-bundle",
            Self::Bundle(error) => error.code(),
            Self::Unknown(_) => "peer-unknown",
            Self::NotAsked | Self::OtherRobot { .. } | Self::Late { .. } => "exchange",
            Self::Message(_) => "malformed-message",
        }
    }
}

/// A question that waits for its answer; a file each, so that it counts once over restarts too.
#[derive(Clone, Debug, Eq, PartialEq)]
struct PeerAsked {
    robot: RobotId,
    nonce: Nonce,
    asked_at_ms: u64,
}

/// What was found of another robot.
#[derive(Clone, Debug)]
pub struct PeerJudged {
    /// Which robot.
    pub robot: RobotId,
    /// The judgement, with its reasons.
    pub verdict: Verdict,
    /// Until when a trusted verdict holds, UTC in milliseconds since 1970; nothing where it is not trusted.
    pub not_after_ms: Option<u64>,
}

/// What is kept of a robot between two judgements.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct PeerRecord {
    /// Digest of the enrolment that it is of; nothing in one of an earlier version.
    enrolment: Option<Digest>,
    last_seen: Option<LastSeen>,
    platform: PlatformRecord,
    /// The stops that were seen and that no bundle says were rearmed. Each boot begins the robot's log anew.
    stops: Vec<StopId>,
    /// The stop that a bundle named and that none says is over.
    named_stop: Option<NamedStop>,
}

/// A stop as a bundle names it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
struct NamedStop {
    /// The epoch that a rearm would have to name.
    epoch: u64,
    /// Digest of the attestation key: of one chip, over all enrolments of it. Another's epochs say nothing of this one's.
    chip: Digest,
}

impl Robot {
    /// Takes a bundle of the authority, by which others are judged from now on. Gives its version.
    ///
    /// # Errors
    /// [`PeerError::Bundle`]: not the authority's, not newer than the one that is kept, or out of its time; the folder's.
    pub fn take_policy_bundle(&self, bytes: &[u8], now_utc_ms: u64) -> Result<u64> {
        let taken = self.judge_bundle(bytes, now_utc_ms);
        let (kind, subject) = (EntryKind::Configuration, "policy bundle");
        let bundle = self.refusals_audited(kind, subject.to_owned(), now_utc_ms, taken)?;
        let subject = format!("{subject} {}", bundle.version());
        let mut entry = self.audit.entry(kind, subject, now_utc_ms, Outcome::Done);
        entry.object = Some(HashAlg::Sha256.digest(&[bytes]));
        self.on_record(entry, |_| {
            self.note_named_stops(&bundle)?;
            self.folder.write(BUNDLE, bundle.as_bytes())?;
            Ok(bundle.version())
        })
    }

    fn judge_bundle(&self, bytes: &[u8], now_utc_ms: u64) -> Result<VerifiedBundle> {
        let authority = &self.keys.anchors().authority;
        let bundle = match self.kept_bundle()? {
            Some(before) => before.replaced_by(bytes, authority),
            None => VerifiedBundle::verify(bytes, authority),
        };
        let bundle = bundle.map_err(PeerError::from)?;
        bundle
            .check_time(now_utc_ms, CLOCKS_APART_MS)
            .map_err(PeerError::from)?;
        Ok(bundle)
    }

    /// Notes the stops that a bundle names before it counts: a later one that is silent about them does not end them. A record that
    /// does not read has its robot refused already, and holds no newer bundle up.
    fn note_named_stops(&self, bundle: &VerifiedBundle) -> Result<()> {
        let stopped = bundle
            .peers()
            .iter()
            .filter(|peer| peer.policy().stops.in_force().is_some());
        for peer in stopped {
            let name = &peer.enrolment().record().robot;
            let Ok(mut record) = self.peer_record(name, peer) else {
                continue;
            };
            record.enrolment = Some(enrolment_digest(peer));
            record.named_stop = record.named_stop_after(peer);
            self.folder.write(&record_file(name), &record.to_canonical())?;
        }
        Ok(())
    }

    fn kept_bundle(&self) -> Result<Option<VerifiedBundle>> {
        let Some(bytes) = self.folder.read(BUNDLE)? else {
            return Ok(None);
        };
        let bundle = VerifiedBundle::verify(&bytes, &self.keys.anchors().authority);
        Ok(Some(bundle.map_err(PeerError::from)?))
    }

    fn bundle(&self, now_utc_ms: u64) -> Result<VerifiedBundle> {
        let bundle = self.kept_bundle()?.ok_or(PeerError::NoBundle)?;
        bundle
            .check_time(now_utc_ms, CLOCKS_APART_MS)
            .map_err(PeerError::from)?;
        Ok(bundle)
    }

    /// Asks another robot for evidence: the message for [`Robot::attest`] there. No TPM command.
    ///
    /// # Errors
    /// [`PeerError`]: no bundle that holds now, or the robot is not in it.
    pub fn ask_peer(&self, peer: &RobotId, now_utc_ms: u64) -> Result<Vec<u8>> {
        let bundle = self.bundle(now_utc_ms)?;
        let policy = known_in(&bundle, peer)?;
        let mut nonce = [0; 32];
        OsEntropy.fill(&mut nonce).map_err(std::io::Error::other)?;
        let session = SessionId::new(random_id()?);
        let record = self.peer_record(peer, policy)?;
        self.forget_unanswered(now_utc_ms)?;
        let asked = PeerAsked {
            robot: peer.clone(),
            nonce: Nonce(nonce),
            asked_at_ms: now_utc_ms,
        };
        self.folder.write(&asked_file(session), &asked.to_canonical())?;
        let request = AttestRequest {
            session,
            nonce: nonce.to_vec(),
            kind: AttestationKind::Operational,
            registers: record.platform.registers.as_ref().map(RegisterRecord::positions),
            runtime_from: record
                .platform
                .runtime
                .as_ref()
                .and_then(|known| known.position_under(policy.references())),
        };
        Ok(request.to_canonical())
    }

    /// Judges the evidence of a robot that was asked; the question is used up, whatever comes of it. The judgement is on record
    /// before it is given. No TPM command.
    ///
    /// # Errors
    /// [`PeerError`] where no judgement could be made.
    pub fn judge_peer(&self, evidence: &[u8], now_utc_ms: u64) -> Result<PeerJudged> {
        let judged = self.try_judge_peer(evidence, now_utc_ms);
        let kind = EntryKind::Attest;
        let (judged, record) = self.refusals_audited(kind, "a peer's evidence".into(), now_utc_ms, judged)?;
        let outcome = if judged.verdict.is_trusted() {
            Outcome::Done
        } else {
            Outcome::Refused
        };
        let mut entry = self
            .audit
            .entry(kind, format!("peer {}", judged.robot), now_utc_ms, outcome);
        let codes = judged.verdict.findings().iter().map(|found| found.reason.code());
        entry.reasons = codes.take(MAX_REASONS).map(str::to_owned).collect();
        entry.object = Some(HashAlg::Sha256.digest(&[evidence]));
        self.audit.append(&entry)?;
        self.folder
            .write(&record_file(&judged.robot), &record.to_canonical())?;
        Ok(judged)
    }

    fn try_judge_peer(&self, evidence: &[u8], now_utc_ms: u64) -> Result<(PeerJudged, PeerRecord)> {
        let message = EvidenceMessage::from_canonical(evidence).map_err(PeerError::from)?;
        let asked = self.folder.read(&asked_file(message.session))?;
        let asked = asked.ok_or(PeerError::NotAsked)?;
        self.folder.remove(&asked_file(message.session))?;
        let asked = PeerAsked::from_canonical(&asked).map_err(PeerError::from)?;
        if let Some(late_ms) = asked.late_ms(now_utc_ms) {
            return Err(PeerError::Late { late_ms }.into());
        }
        if asked.robot != message.robot {
            let (asked, found) = (asked.robot, message.robot);
            return Err(PeerError::OtherRobot { asked, found }.into());
        }
        let bundle = self.bundle(now_utc_ms)?;
        let peer = known_in(&bundle, &asked.robot)?;
        let known = self.peer_record(&asked.robot, peer)?;
        let verdict = appraise(&message.evidence, &policy(peer, &asked, &known, self), now_utc_ms);
        let rearmed = &peer.policy().rearmed;
        let is_in_force = |stop: &StopId| !rearmed.contains(stop);
        let verdict = verdict.with_stops_in_force(known.stops.iter().copied().filter(is_in_force));
        let named_stop = known.named_stop_after(peer);
        let verdict = verdict.with_stop_since(named_stop.map(|stop| stop.epoch));
        let verdict = match &peer.policy().rule {
            Some(rule) => {
                let rule = rule.clone().over_origin(peer.enrolment().record().origin.kinds());
                verdict.held_to(&rule, peer.references())
            }
            None => verdict,
        };
        let record = PeerRecord {
            enrolment: Some(enrolment_digest(peer)),
            last_seen: LastSeen::after(known.last_seen, &verdict),
            platform: known.platform.after(&verdict),
            stops: known.stops_after(&verdict, is_in_force),
            named_stop,
        };
        let until_ms = now_utc_ms
            .saturating_add(peer.policy().lease_ms)
            .min(bundle.not_after_ms());
        let judged = PeerJudged {
            robot: asked.robot,
            not_after_ms: verdict.is_trusted().then_some(until_ms),
            verdict,
        };
        Ok((judged, record))
    }

    /// What is kept of a robot. A record that does not read is refused: without it an old quote could pass for a new boot's. A robot
    /// that was enrolled anew begins a new history: what was seen of the chip that had its name says nothing of this one.
    fn peer_record(&self, name: &RobotId, peer: &VerifiedPeer) -> Result<PeerRecord> {
        let Some(bytes) = self.folder.read(&record_file(name))? else {
            return Ok(PeerRecord::default());
        };
        let record = PeerRecord::from_canonical(&bytes).map_err(PeerError::from)?;
        let is_of_another = record.enrolment.is_some_and(|of| of != enrolment_digest(peer));
        Ok(if is_of_another {
            PeerRecord {
                named_stop: record.named_stop,
                ..PeerRecord::default()
            }
        } else {
            record
        })
    }

    /// Removes questions whose answer would come too late, and all where too many wait: whoever was asked is asked again.
    fn forget_unanswered(&self, now_utc_ms: u64) -> Result<()> {
        let waiting = self.folder.list(ASKED)?;
        let is_full = waiting.len() >= MAX_ASKED;
        for name in waiting {
            let file = format!("{ASKED}/{name}");
            let asked = self.folder.read(&file)?;
            let asked = asked.and_then(|bytes| PeerAsked::from_canonical(&bytes).ok());
            if is_full || asked.is_none_or(|asked| asked.late_ms(now_utc_ms).is_some()) {
                self.folder.remove(&file)?;
            }
        }
        Ok(())
    }
}

fn known_in<'b>(bundle: &'b VerifiedBundle, peer: &RobotId) -> Result<&'b VerifiedPeer> {
    let known = bundle.peer(peer);
    known.ok_or_else(|| AgentError::from(PeerError::Unknown(peer.clone())))
}

fn policy<'p>(
    peer: &'p VerifiedPeer,
    asked: &'p PeerAsked,
    known: &'p PeerRecord,
    robot: &Robot,
) -> Policy<'p> {
    let enrolment = peer.enrolment();
    Policy {
        attestation_key: enrolment.attestation_key(),
        robot: &enrolment.record().robot,
        nonce: &asked.nonce,
        asked: Asked::Operational,
        references: peer.references(),
        pcrs: robot.keys.pcrs(),
        nv: *enrolment.nv_map(),
        enrolled_tier: enrolment.record().tier,
        min_tier: peer.policy().min_tier,
        rearmed_stops: &peer.policy().rearmed,
        last_seen: known.last_seen,
        known_boot: known.platform.boot.as_ref(),
        known_runtime: known.platform.runtime.as_ref(),
        known_registers: known.platform.registers.as_ref(),
        max_state_age_ms: CLOCKS_APART_MS,
    }
}

fn enrolment_digest(peer: &VerifiedPeer) -> Digest {
    HashAlg::Sha256.digest(&[peer.enrolment().as_bytes()])
}

fn chip_digest(peer: &VerifiedPeer) -> Digest {
    HashAlg::Sha256.digest(&[&peer.enrolment().attestation_key().to_spki_der()])
}

fn asked_file(session: SessionId) -> String {
    format!("{ASKED}/{session}.cbor")
}

fn record_file(peer: &RobotId) -> String {
    format!("{FOLDER}/{peer}.cbor")
}

impl PeerAsked {
    /// By how much an answer is too late now; nothing while it is not. A clock that was set back counts as too late as well.
    const fn late_ms(&self, now_ms: u64) -> Option<u64> {
        match now_ms.checked_sub(self.asked_at_ms) {
            Some(took_ms) => took_ms.checked_sub(PEER_EXCHANGE_MS),
            None => Some(0),
        }
    }

    fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::PEER_ASKED, VERSION, 3);
        out.u64(2).text(self.robot.as_str()).u64(3).bytes(&self.nonce.0);
        out.u64(4).u64(self.asked_at_ms);
        out.finish()
    }

    fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::PEER_ASKED, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::PEER_ASKED, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = RobotId::new(r.text("robot")?).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 3, "nonce")?;
        let nonce = Nonce(*r.bytes_of("nonce")?);
        fields.key(r, 4, "asked_at_ms")?;
        let asked_at_ms = r.u64("asked_at_ms")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            robot,
            nonce,
            asked_at_ms,
        })
    }
}

impl PeerRecord {
    /// The stops to remember, oldest first.
    fn stops_after(&self, verdict: &Verdict, is_in_force: impl Fn(&StopId) -> bool) -> Vec<StopId> {
        let shown = verdict.attested().map_or(&[][..], |attested| &attested.stops);
        let shown = shown
            .get(shown.len().saturating_sub(MAX_STOPS)..)
            .unwrap_or_default();
        let new = shown.iter().filter(|stop| !self.stops.contains(stop));
        let mut stops: Vec<StopId> = self
            .stops
            .iter()
            .chain(new)
            .copied()
            .filter(is_in_force)
            .collect();
        stops.drain(..stops.len().saturating_sub(MAX_STOPS));
        stops
    }

    /// The stop that holds under a bundle: the one that it names, or one that was named before and that it does not say is over.
    fn named_stop_after(&self, peer: &VerifiedPeer) -> Option<NamedStop> {
        let (chip, standing) = (chip_digest(peer), &peer.policy().stops);
        let before = self.named_stop.filter(|stop| stop.chip == chip);
        let before = before
            .map(|stop| stop.epoch)
            .filter(|epoch| !standing.ends(*epoch));
        let epoch = standing.in_force().max(before)?;
        Some(NamedStop { epoch, chip })
    }

    fn to_canonical(&self) -> Vec<u8> {
        let present = usize::from(self.last_seen.is_some())
            + usize::from(self.enrolment.is_some())
            + usize::from(self.named_stop.is_some())
            + usize::from(!self.stops.is_empty());
        let mut out = Encoder::structure(domain::PEER_RECORD, VERSION, 1 + present);
        if let Some(LastSeen { sequence, clock }) = self.last_seen {
            out.u64(2).array(5).u64(sequence).u64(clock.clock_ms);
            out.u64(clock.reset_count.into())
                .u64(clock.restart_count.into())
                .bool(clock.safe);
        }
        out.u64(3).bytes(&self.platform.to_canonical());
        if let Some(enrolment) = &self.enrolment {
            out.u64(4).digest(enrolment);
        }
        if !self.stops.is_empty() {
            out.u64(5).array(self.stops.len());
            for stop in &self.stops {
                out.bytes(stop.as_bytes());
            }
        }
        if let Some(NamedStop { epoch, chip }) = &self.named_stop {
            out.u64(6).array(2).u64(*epoch).digest(chip);
        }
        out.finish()
    }

    fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::PEER_RECORD, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::PEER_RECORD, VERSION)?;
        let last_seen = match fields.optional(r, 2, "last_seen")? {
            true => Some(read_last_seen(r)?),
            false => None,
        };
        fields.key(r, 3, "platform")?;
        let platform = PlatformRecord::from_canonical(r.bytes("platform")?)?;
        let enrolment = match fields.optional(r, 4, "enrolment")? {
            true => Some(r.digest("enrolment")?),
            false => None,
        };
        let stops = match fields.optional(r, 5, "stops")? {
            true => read_stops(r)?,
            false => Vec::new(),
        };
        let named_stop = match fields.optional(r, 6, "named_stop")? {
            true => Some(read_named_stop(r)?),
            false => None,
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            enrolment,
            last_seen,
            platform,
            stops,
            named_stop,
        })
    }
}

fn read_stops(r: &mut Reader<'_>) -> std::result::Result<Vec<StopId>, DecodeError> {
    let count = r.array("stops", MAX_STOPS)?;
    (0..count)
        .map(|_| Ok(StopId::new(*r.bytes_of("stops")?)))
        .collect()
}

fn read_named_stop(r: &mut Reader<'_>) -> std::result::Result<NamedStop, DecodeError> {
    r.array_of("named_stop", 2)?;
    Ok(NamedStop {
        epoch: r.u64("named_stop")?,
        chip: r.digest("named_stop")?,
    })
}

fn read_last_seen(r: &mut Reader<'_>) -> std::result::Result<LastSeen, DecodeError> {
    r.array_of("last_seen", 5)?;
    Ok(LastSeen {
        sequence: r.u64("sequence")?,
        clock: ClockInfo {
            clock_ms: r.u64("clock_ms")?,
            reset_count: r.u32("reset_count")?,
            restart_count: r.u32("restart_count")?,
            safe: r.bool("safe")?,
        },
    })
}
