//! Offline evidence as the authority takes it: what it shows counts against a robot at once, and a queue that grows while it is sent
//! is taken however often it comes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::appraisal::{AppraisalPolicy, Reason};
use alcub3_attestation::health::HealthState;
use alcub3_attestation::offline::{Chain, JudgedLink, anchor};
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_fleet_protocol::offline::OfflineQueue;
use alcub3_server::MissionApprovalError;
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{AttestationKind, Level, SessionId, StopId};
use support::approvals::{HOUR, propose, rearm};
use support::robot::Robot;
use support::{NOW, World};

const MINUTE_MS: u64 = 60_000;

/// A robot's queue behind the lease that it was given.
struct Offline {
    world: World,
    robot: Robot,
    chain: Chain,
    queue: OfflineQueue,
}

impl Offline {
    fn leased() -> Self {
        let mut robot = Robot::new("rover-1");
        let mut world = World::ready(&mut robot);
        let request = world.authority.challenge(&robot.id, NOW).unwrap();
        let appraised = world.authority.appraise(&robot.evidence(&request), NOW).unwrap();
        let anchor = anchor(&appraised.answer.lease.unwrap());
        let queue = OfflineQueue {
            robot: robot.id.clone(),
            anchor,
            links: Vec::new(),
        };
        Self {
            world,
            robot,
            chain: Chain::behind(anchor),
            queue,
        }
    }

    fn gather(&mut self) {
        let request = AttestRequest {
            session: SessionId::new([0; 16]),
            nonce: self.chain.next_nonce().0.to_vec(),
            kind: AttestationKind::Operational,
            runtime_from: None,
            registers: None,
        };
        let message = EvidenceMessage::from_canonical(&self.robot.evidence(&request)).unwrap();
        let (link, longer) = self.chain.with(message.evidence).unwrap();
        self.queue.links.push(link);
        self.chain = longer;
    }

    fn send(&mut self, now_ms: u64) -> alcub3_server::OfflineJudged {
        let message = self.queue.to_canonical();
        self.world.authority.appraise_offline(&message, now_ms).unwrap()
    }
}

/// As a receipt does: nobody is put on a mission because it was found good before it stopped.
#[test]
fn a_stop_that_offline_evidence_shows_ends_what_was_found_good_before_it() {
    let mut offline = Offline::leased();
    offline.gather();
    let now = NOW + 2000;
    assert!(offline.send(now).queue.links[0].was_good());
    let health = |offline: &Offline| offline.world.authority.health(&offline.robot.id, now).unwrap();
    assert_eq!(health(&offline).state, HealthState::Fresh);
    offline.robot.stops.push(StopId::new([5; 16]));
    offline.robot.stopped = true;
    offline.gather();
    assert!(!offline.send(now).queue.links[1].was_good());
    let standing = offline.world.authority.standing(&offline.robot.id).unwrap();
    assert_eq!(standing.trusted_at_ms, None);
    let failing = health(&offline);
    assert_eq!(failing.state, HealthState::Failing);
    assert!(
        failing.why.contains(Reason::StopInForce.code()),
        "{}",
        failing.why
    );
    let refused = propose(&mut offline.world, &offline.robot, Level::Cui, HOUR);
    assert!(matches!(refused, Err(MissionApprovalError::NotFresh { .. })));
    // Shown again, it says nothing new.
    offline.send(now);
    let again = offline.world.authority.standing(&offline.robot.id).unwrap();
    assert_eq!(again, standing);
}

/// A robot that gathers faster than its queue is judged sends it again and again, one link longer each time.
#[test]
fn a_queue_that_grows_while_it_is_sent_is_taken_however_often_it_comes() {
    let mut offline = Offline::leased();
    for sent in 1..=40 {
        offline.gather();
        let judged = offline.send(NOW + MINUTE_MS);
        assert_eq!((judged.queue.links.len(), judged.known), (sent, sent - 1));
    }
}

/// What a robot would fail live, it does not pass offline.
#[test]
fn links_are_held_to_the_appraisal_policy() {
    let mut offline = Offline::leased();
    let policy = "name = \"p\"\nversion = 1\n[[class]]\nname = \"c\"\nrobots = [\"rover-1\"]\n[class.level.UNCLASSIFIED]\n\
                  refuse = [\"clock-unsafe\"]";
    let policy = AppraisalPolicy::from_toml(policy).unwrap();
    offline
        .world
        .authority
        .put_appraisal_policy(&policy, NOW)
        .unwrap();
    offline.gather();
    offline.robot.clock.safe = false;
    offline.gather();
    let judged = offline.send(NOW + MINUTE_MS);
    let good: Vec<bool> = judged.queue.links.iter().map(JudgedLink::was_good).collect();
    assert_eq!(good, [true, false]);
}

/// The order in which the authority hears of things is not the order in which they came.
#[test]
fn a_stop_that_was_quoted_before_the_rearm_is_over_with_it_and_a_later_one_is_in_force() {
    let mut offline = Offline::leased();
    let (first, second) = (StopId::new([5; 16]), StopId::new([6; 16]));
    offline.robot.stops.push(first);
    offline.robot.stopped = true;
    offline.robot.set_counter(NvIndex::RobotEpoch, 8);
    offline.gather();
    offline.robot.clock.clock_ms += 1;
    rearm(&mut offline.world, &offline.robot).unwrap();
    let in_force = |offline: &Offline| {
        let standing = offline.world.authority.standing(&offline.robot.id).unwrap();
        standing.stops.iter().any(|stop| !standing.rearmed.contains(stop))
    };
    offline.send(NOW + MINUTE_MS);
    assert!(!in_force(&offline), "it was rearmed");
    offline.robot.stops.push(second);
    offline.robot.clock.clock_ms += 1;
    offline.gather();
    offline.send(NOW + MINUTE_MS);
    assert!(in_force(&offline), "it was not");
}

/// Whoever overheard a queue may send it as often as he likes.
#[test]
fn a_queue_that_says_nothing_new_has_the_answer_it_had_and_pushes_no_other_out() {
    let mut offline = Offline::leased();
    offline.gather();
    let first = offline.send(NOW + MINUTE_MS).answer;
    let request = offline.world.authority.challenge(&offline.robot.id, NOW).unwrap();
    let evidence = offline.robot.evidence(&request);
    let appraised = offline.world.authority.appraise(&evidence, NOW).unwrap();
    let newer = anchor(&appraised.answer.lease.unwrap());
    for sent in 0..40 {
        assert_eq!(offline.send(NOW + MINUTE_MS + sent).answer, first);
    }
    offline.queue = OfflineQueue {
        robot: offline.robot.id.clone(),
        anchor: newer,
        links: Vec::new(),
    };
    offline.chain = Chain::behind(newer);
    offline.gather();
    assert!(offline.send(NOW + 2 * MINUTE_MS).queue.links[0].was_good());
}
