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

use alcub3_attestation::appraisal::Reason;
use alcub3_attestation::health::HealthState;
use alcub3_attestation::offline::{Chain, anchor};
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_fleet_protocol::offline::OfflineQueue;
use alcub3_server::MissionApprovalError;
use alcub3_trust_model::{AttestationKind, Level, SessionId, StopId};
use support::approvals::{HOUR, propose};
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
