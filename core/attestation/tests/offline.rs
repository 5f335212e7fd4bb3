//! Offline evidence: a chain of quotes, each judged as what it was then, and what is done to it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{AppraisalPolicy, LastSeen, Policy, Reason, appraise};
use alcub3_attestation::event_log::builder::Boot;
use alcub3_attestation::offline::{
    Anchored, Broken, Chain, ChainError, JudgedQueue, MAX_EXPANDED_BYTES, anchor, judge,
};
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::{Level, RobotId, domain};
use software_robot::{NOW_MS, Robot, Verifier, uefi_log};

const MINUTE: u64 = 60_000;
const GIVEN: u64 = NOW_MS;
const RECEIVED: u64 = NOW_MS + 600 * MINUTE;

fn anchored(robot: &Robot, answer: &[u8]) -> Anchored {
    Anchored {
        anchor: anchor(answer),
        given_at_ms: GIVEN,
        last_seen: LastSeen {
            sequence: robot.sequence,
            clock: robot.clock,
        },
        quoted_after_ms: GIVEN - MINUTE,
        rearmed: Vec::new(),
    }
}

/// Half an hour passes, on all clocks.
fn time_passes(robot: &mut Robot) {
    robot.clock.clock_ms += 30 * MINUTE;
    robot.state.time_ms += 30 * MINUTE;
}

/// A robot's links, and what comes to it before each.
fn links(robot: &mut Robot, answer: &[u8], comes: &mut [&mut dyn FnMut(&mut Robot)]) -> Vec<Vec<u8>> {
    let mut chain = Chain::behind(anchor(answer));
    let mut links = Vec::new();
    for come in comes {
        time_passes(robot);
        come(robot);
        robot.sequence += 1;
        robot.nonce = chain.next_nonce();
        let (link, longer) = chain.with(robot.evidence()).unwrap();
        chain = longer;
        links.push(link);
    }
    links
}

fn four(robot: &mut Robot, answer: &[u8]) -> Vec<Vec<u8>> {
    let mut nothing = [(); 4].map(|()| |_: &mut Robot| {});
    let mut comes: Vec<&mut dyn FnMut(&mut Robot)> = nothing
        .iter_mut()
        .map(|n| n as &mut dyn FnMut(&mut Robot))
        .collect();
    links(robot, answer, &mut comes)
}

fn judged(links: &[Vec<u8>], anchored: &Anchored, verifier: &Verifier) -> JudgedQueue {
    let links = links.iter().map(Vec::as_slice);
    judge(links, anchored, (&verifier.policy(), None), RECEIVED)
}

fn good(queue: &JudgedQueue) -> Vec<bool> {
    queue.links.iter().map(|link| link.was_good()).collect()
}

#[test]
fn each_link_is_judged_as_what_it_was_then_with_the_time_it_is_of() {
    let mut robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let start = anchored(&robot, b"answer");
    let cut = &mut |robot: &mut Robot| {
        robot.clock.reset_count += 1;
        robot.clock.clock_ms = 100;
        robot.uefi_log = uefi_log(&Boot {
            boot_loader: b"another loader",
            ..Boot::default()
        });
    };
    let back = &mut |robot: &mut Robot| {
        robot.clock.reset_count += 1;
        robot.uefi_log = uefi_log(&Boot::default());
    };
    let stop = &mut |robot: &mut Robot| {
        robot.agent.push(robot.stop_event(5));
        robot.state.stopped = true;
    };
    let queue = links(&mut robot, b"answer", &mut [&mut |_| {}, cut, back, stop]);
    let found = judged(&queue, &start, &verifier);
    assert!(found.broken.is_none(), "{:?}", found.broken);
    assert_eq!(good(&found), [true, false, true, false]);
    assert!(
        found.links[3]
            .findings()
            .iter()
            .any(|f| f.reason == Reason::StopInForce)
    );
    assert_eq!(found.links[3].stops().len(), 1);
    assert_eq!(found.last_seen.sequence, robot.sequence);
    for (number, link) in found.links.iter().enumerate() {
        let at = link.as_of.at_ms();
        assert_eq!(at, GIVEN + 30 * MINUTE * (number as u64 + 1), "{link:?}");
        assert!(link.as_of.earliest_ms >= GIVEN && link.as_of.latest_ms <= RECEIVED);
    }
    // In one boot the clock holds them apart.
    let apart = found.links[3].as_of.latest_ms - found.links[2].as_of.latest_ms;
    assert!(apart >= 22 * MINUTE, "{apart}");
    // The same stop, rearmed before the robot was cut off, is in force for nobody.
    let rearmed = Anchored {
        rearmed: found.links[3].stops().to_vec(),
        ..start
    };
    let again = judged(&queue, &rearmed, &verifier);
    assert!(
        !again.links[3]
            .findings()
            .iter()
            .any(|f| f.reason == Reason::StopInForce)
    );
}

#[test]
fn nothing_is_dropped_swapped_put_in_changed_or_from_elsewhere() {
    let mut robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let start = anchored(&robot, b"answer");
    let mut stranger = Robot::new();
    let queue = four(&mut robot, b"answer");
    assert_eq!(good(&judged(&queue, &start, &verifier)), [true; 4]);
    let ends_at = |links: &[Vec<u8>], code: &str, at: u64| {
        let found = judged(links, &start, &verifier);
        let broken = found.broken.as_ref().expect(code);
        assert_eq!((broken.code(), broken.index()), (code, at), "{broken}");
        assert_eq!(found.links.len() as u64, at);
    };
    let without = |at: usize| [&queue[..at], &queue[at + 1..]].concat();
    for at in 0..3 {
        ends_at(&without(at), "offline-chain", at as u64);
    }
    let mut swapped = queue.clone();
    swapped.swap(1, 2);
    ends_at(&swapped, "offline-chain", 1);
    let doubled = [&queue[..2], &queue[1..]].concat();
    ends_at(&doubled, "offline-chain", 2);
    // Put in between, by the robot itself: what follows was made behind another link.
    let mut other = robot.clone();
    other.sequence -= 3;
    let inserted = {
        let mut chain = Chain::behind(anchor(b"answer"));
        chain.follow(&queue[0]).unwrap();
        other.nonce = chain.next_nonce();
        chain.with(other.evidence()).unwrap().0
    };
    let put_in = [&queue[..1], &[inserted], &queue[1..]].concat();
    let found = judged(&put_in, &start, &verifier);
    assert_eq!(found.broken.as_ref().map(Broken::code), Some("offline-chain"));
    assert_eq!(found.broken.map(|broken| broken.index()), Some(2));
    // Another robot's links, and those behind another answer.
    ends_at(&four(&mut stranger, b"answer"), "signature", 0);
    ends_at(&four(&mut robot.clone(), b"an older answer"), "offline-chain", 0);
    // Made ahead of the answer, and put behind it.
    let mut early = Chain::behind(anchor(b"answer"));
    let (link, _) = {
        robot.nonce = Chain::behind(anchor(b"an older answer")).next_nonce();
        robot.sequence += 1;
        early.with(robot.evidence()).unwrap()
    };
    ends_at(std::slice::from_ref(&link), "binding", 0);
    early.follow(&link).unwrap();
}

#[test]
fn no_changed_byte_of_a_link_leaves_it_or_what_follows_good() {
    let mut robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let start = anchored(&robot, b"answer");
    let queue = four(&mut robot, b"answer");
    for at in 0..queue[1].len() {
        let mut changed = queue.clone();
        changed[1][at] ^= 1;
        let found = judged(&changed, &start, &verifier);
        assert!(found.broken.is_some(), "byte {at}");
        assert!(found.links.len() <= 2, "byte {at}");
        if let Some(link) = found.links.get(1) {
            // A bit that no quote covers, as the tier: the next link binds it.
            assert_eq!(found.broken.map(|b| b.index()), Some(2), "{:?}", link.findings());
        }
    }
}

#[test]
fn order_and_time_are_the_tpms() {
    let mut robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let start = anchored(&robot, b"answer");
    let has = |queue: &JudgedQueue, at: usize, reason| {
        queue.links[at]
            .findings()
            .iter()
            .any(|found| found.reason == reason)
    };
    // A sequence that goes back, a clock that goes back.
    let back = &mut |robot: &mut Robot| robot.sequence -= 2;
    let clock = &mut |robot: &mut Robot| robot.clock.clock_ms -= 100 * MINUTE;
    let queue = links(
        &mut robot.clone(),
        b"answer",
        &mut [&mut |_| {}, back, &mut |_| {}, clock],
    );
    let found = judged(&queue, &start, &verifier);
    assert!(has(&found, 1, Reason::Sequence) && has(&found, 3, Reason::ClockBack));
    // A clock that went on for a year within ten hours fits no time; a state that says so is worth a warning.
    let year = 365 * 24 * 60 * MINUTE;
    let ahead = &mut |robot: &mut Robot| robot.clock.clock_ms += year;
    let claims = &mut |robot: &mut Robot| robot.state.time_ms += year;
    let queue = links(&mut robot, b"answer", &mut [ahead, claims]);
    let found = judged(&queue, &start, &verifier);
    assert!(has(&found, 0, Reason::OfflineClock) && !found.links[0].was_good());
    assert!(has(&found, 1, Reason::StateAge));
    assert!(found.links[1].as_of.at_ms() <= RECEIVED);
}

#[test]
fn numbers_that_nobody_was_shown_are_named_by_the_next_evidence() {
    let mut robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let start = anchored(&robot, b"answer");
    let queue = four(&mut robot, b"answer");
    robot.sequence += 1;
    robot.nonce = software_robot::NONCE;
    let live = |shown: &[Vec<u8>]| {
        let shown = judged(shown, &start, &verifier).last_seen.sequence;
        let verdict = appraise(&robot.evidence(), &verifier.policy(), robot.state.time_ms);
        let verdict = verdict.behind_offline_evidence(shown);
        assert!(verdict.is_trusted());
        let gap = verdict
            .findings()
            .iter()
            .find(|f| f.reason == Reason::EvidenceGap);
        gap.map(|gap| gap.detail.clone())
    };
    assert_eq!(live(&queue), None);
    let named = live(&queue[..2]).unwrap();
    assert!(named.starts_with("2 numbers behind 12 "), "{named}");
}

#[test]
fn a_log_that_stays_is_in_the_first_link_alone() {
    let mut robot = Robot::new();
    let queue = four(&mut robot, b"answer");
    assert!(queue[0].len() > robot.uefi_log.len());
    for link in &queue[1..] {
        assert!(
            link.len() < queue[0].len() - robot.uefi_log.len() / 2,
            "{}",
            link.len()
        );
    }
}

#[test]
fn a_link_is_held_to_the_fleets_policy_as_of_its_own_time() {
    let policy = "name = \"p\"\nversion = 7\n[[class]]\nname = \"c\"\nrobots = [\"r1\"]\n[class.level.CUI]\n\
                  refuse = [\"clock-unsafe\"]\nmax-state-age-ms = 5000";
    let policy = AppraisalPolicy::from_toml(policy).unwrap();
    let rule = policy.rule(&RobotId::new("r1").unwrap(), Level::Cui);
    let mut robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let start = anchored(&robot, b"answer");
    let queue = links(
        &mut robot,
        b"answer",
        &mut [
            &mut |_| (),
            &mut |robot| robot.clock.safe = false,
            &mut |robot| robot.clock.safe = true,
            // A clock that was set, further than the fleet accepts.
            &mut |robot| robot.state.time_ms += 24 * 60 * MINUTE,
        ],
    );
    let links = || queue.iter().map(Vec::as_slice);
    let references = rule.over(verifier.references.clone());
    let policy = Policy {
        references: &references,
        ..verifier.policy()
    };
    let alone = judge(links(), &start, (&policy, None), RECEIVED);
    assert_eq!(good(&alone), [true; 4]);
    let held = judge(links(), &start, (&policy, Some(&rule)), RECEIVED);
    assert_eq!(good(&held), [true, false, true, false], "{:?}", held.links);
}

/// A link that takes all of the evidence before it has a few bytes, whatever it stands for.
#[test]
fn a_queue_stands_for_no_more_evidence_than_is_judged_at_once() {
    let evidence = vec![7; 14 << 20];
    let (first, _) = Chain::behind(anchor(b"answer")).with(evidence.clone()).unwrap();
    let mut theirs = Chain::before(&first).unwrap();
    theirs.follow(&first).unwrap();
    let repeated = |chain: &Chain| {
        let mut out = Encoder::structure(domain::OFFLINE_LINK, 1, 3);
        out.u64(2)
            .u64(chain.length())
            .u64(3)
            .bytes(chain.head().as_bytes());
        out.u64(4).array(1).array(2).u64(0).u64(evidence.len() as u64);
        out.finish()
    };
    let fit = MAX_EXPANDED_BYTES / evidence.len() as u64;
    while theirs.length() < fit {
        let link = repeated(&theirs);
        theirs.follow(&link).unwrap();
    }
    let before = theirs.clone();
    let refused = theirs.follow(&repeated(&before)).unwrap_err();
    assert!(matches!(refused, ChainError::Expanded { index } if index == fit));
    assert_eq!(Broken::Chain(refused).code(), "offline-expanded");
    assert_eq!(theirs, before);
    // Nor does a robot make one.
    let refused = before.with(evidence).unwrap_err();
    assert!(matches!(refused, ChainError::Expanded { .. }), "{refused}");
}
