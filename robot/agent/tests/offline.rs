//! Offline evidence on the robot: it follows over restarts and power cuts, a torn tail is dropped and said, it ends where it is full,
//! and only the authority's own answer removes it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/missions.rs"]
mod missions;
mod support;

use alcub3_agent::{AgentError, OfflineError, OfflineGatherer, OfflineStatus, PlatformLogs, Surroundings};
use alcub3_attestation::evidence::Evidence;
use alcub3_attestation::offline::{Chain, MAX_LINKS, anchor, digest};
use alcub3_attestation::quote::verify_quote;
use alcub3_crypto::{Curve, SigningKey};
use alcub3_fleet_protocol::offline::{OfflineAnswer, OfflineQueue};
use alcub3_testkit::PowerUp;
use std::sync::Arc;
use std::time::Duration;
use support::{Life, NOW_MS};

fn gather(life: &Life) -> Result<OfflineStatus, AgentError> {
    let surroundings = Surroundings::unknown();
    life.robot()
        .gather_offline(&surroundings, &PlatformLogs::NONE, NOW_MS)
}

fn queue(life: &Life) -> OfflineQueue {
    OfflineQueue::from_canonical(&life.robot().offline_queue(NOW_MS).unwrap()).unwrap()
}

/// A robot that has taken a lease, which is given as well.
fn leased() -> (Life, Vec<u8>) {
    let life = Life::running();
    let lease = life.lease();
    life.robot().take_lease(&lease).unwrap();
    (life, lease)
}

fn refusal<T: std::fmt::Debug>(result: Result<T, AgentError>) -> &'static str {
    match result.unwrap_err() {
        AgentError::Offline(error) => error.code(),
        other => panic!("{other}"),
    }
}

/// Every link's quote binds all that came before it; gives the sequence numbers.
fn followed(life: &Life, queue: &OfflineQueue) -> Vec<u64> {
    let mut chain = Chain::behind(queue.anchor);
    let key = &life.robot().keys().record().attestation_key;
    let key = key.verifying_key().unwrap();
    let mut sequences = Vec::new();
    for link in &queue.links {
        let nonce = chain.next_nonce();
        let evidence = Evidence::from_canonical(chain.follow(link).unwrap()).unwrap();
        let signature = alcub3_crypto::tpm::Signature::from_tpmt_signature(evidence.signature).unwrap();
        let alg = signature.scheme.hash();
        let bound = alcub3_attestation::evidence::qualifying_data(
            alg,
            &nonce,
            &alg.digest(&[evidence.state]),
            &evidence.mission,
            evidence.sequence,
        );
        let bound = bound.unwrap();
        verify_quote(
            &key,
            &signature,
            evidence.quote,
            bound.as_bytes(),
            evidence.pcrs.clone(),
        )
        .unwrap();
        sequences.push(evidence.sequence);
    }
    sequences
}

fn answer(life: &Life, signing: &SigningKey, change: impl FnOnce(&mut OfflineAnswer)) -> Vec<u8> {
    let queue = queue(life);
    let mut answer = OfflineAnswer {
        robot: queue.robot,
        anchor: queue.anchor,
        judged: queue.links.len() as u64,
        head: queue.links.last().map(|link| digest(link)).unwrap(),
        given_at_ms: NOW_MS,
        broken: None,
    };
    change(&mut answer);
    answer.unsigned(signing.suite()).sign(signing).unwrap()
}

#[test]
fn links_follow_each_other_behind_the_lease_over_restarts_and_power_cuts() {
    let mut life = Life::running();
    assert_eq!(refusal(gather(&life)), "offline-no-anchor");
    let lease = life.lease();
    life.robot().take_lease(&lease).unwrap();
    gather(&life).unwrap();
    life.open();
    gather(&life).unwrap();
    life.reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    assert_eq!(gather(&life).unwrap().links, 3);
    let kept = queue(&life);
    assert_eq!(kept.anchor, anchor(&lease));
    let sequences = followed(&life, &kept);
    assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
    // A lease that comes while links are kept does not move what they begin behind.
    life.rearm();
    let later = life.lease();
    life.robot().take_lease(&later).unwrap();
    gather(&life).unwrap();
    assert_eq!(queue(&life).anchor, anchor(&lease));
}

#[test]
fn a_run_that_ends_in_order_leaves_no_gap_in_the_numbers() {
    let (mut life, _) = leased();
    for _ in 0..3 {
        gather(&life).unwrap();
        life.robot.take().unwrap().close().unwrap();
        life.open();
    }
    let sequences = followed(&life, &queue(&life));
    assert_eq!(sequences[2] - sequences[0], 2, "{sequences:?}");
}

#[test]
fn what_does_not_follow_is_dropped_and_said_and_the_rest_goes_on() {
    let (mut life, _) = leased();
    for _ in 0..4 {
        gather(&life).unwrap();
    }
    let whole = queue(&life);
    let folder = life.path().join("offline");
    let file = |number: usize| folder.join(format!("{number:08}.link"));
    for (torn, left) in [
        (&whole.links[3][..whole.links[3].len() / 2], 3),
        (&whole.links[2][..0], 2),
        (&whole.links[0][..], 1),
    ] {
        std::fs::write(file(left), torn).unwrap();
        life.open();
        assert_eq!(life.robot().offline_status().unwrap().links, left);
        assert_eq!(queue(&life).links, whole.links[..left]);
        let log = std::fs::read(life.path().join("audit.log")).unwrap();
        let said = format!("links behind {left} are damaged and dropped");
        assert!(String::from_utf8_lossy(&log).contains(&said), "{said}");
        assert!(!file(left).exists());
    }
    // What a removal that was cut short leaves begins at no first link.
    std::fs::write(file(1), &whole.links[1]).unwrap();
    std::fs::remove_file(file(0)).unwrap();
    assert_eq!(life.robot().offline_status().unwrap().links, 0);
    assert_eq!(gather(&life).unwrap().links, 1);
}

#[test]
fn a_full_queue_takes_no_more_and_says_so_and_stays_whole() {
    let (life, lease) = leased();
    // As many links as fit, of no evidence: whether it is any is the authority's to say.
    let mut chain = Chain::behind(anchor(&lease));
    std::fs::create_dir_all(life.path().join("offline")).unwrap();
    for number in 0..MAX_LINKS {
        let (link, longer) = chain.with(vec![7; 10]).unwrap();
        chain = longer;
        std::fs::write(life.path().join(format!("offline/{number:08}.link")), link).unwrap();
    }
    assert!(life.robot().offline_status().unwrap().is_full);
    let error = gather(&life).unwrap_err();
    assert!(matches!(
        error,
        AgentError::Offline(OfflineError::Full { links: MAX_LINKS, .. })
    ));
    let log = std::fs::read(life.path().join("audit.log")).unwrap();
    assert!(String::from_utf8_lossy(&log).contains("offline-full"));
    assert_eq!(queue(&life).links.len(), MAX_LINKS);
}

#[test]
fn only_the_authoritys_answer_to_what_is_kept_removes_it() {
    let (life, _) = leased();
    for _ in 0..3 {
        gather(&life).unwrap();
    }
    let kept = queue(&life);
    let authority = &life.authority.signing;
    let take = |answer: &[u8]| life.robot().take_offline_answer(answer, NOW_MS);
    let stranger = SigningKey::generate(Curve::P256).unwrap();
    assert_eq!(refusal(take(&answer(&life, &stranger, |_| {}))), "offline-answer");
    let r9 = || alcub3_trust_model::RobotId::new("r9").unwrap();
    let other = answer(&life, authority, |answer| answer.robot = r9());
    assert_eq!(refusal(take(&other)), "offline-answer");
    type Change = fn(&mut OfflineAnswer);
    let changes: [Change; 4] = [
        |answer| answer.judged = 4,
        |answer| answer.judged = 2,
        |answer| answer.anchor = anchor(b"another"),
        |answer| answer.head = anchor(b"another"),
    ];
    for change in changes {
        assert_eq!(
            refusal(take(&answer(&life, authority, change))),
            "offline-other-queue"
        );
    }
    // Judged in part, or ended at a link that was changed on its way: all is kept.
    for broken in [None, Some(digest(b"changed on its way"))] {
        let part = answer(&life, authority, |answer| {
            (answer.judged, answer.head, answer.broken) = (1, digest(&kept.links[0]), broken);
        });
        assert_eq!(take(&part).unwrap().kept, 2);
        assert_eq!(queue(&life), kept);
    }
    // Ended at the very link that is kept: what is behind it proves nothing, and the queue does not wait for ever.
    let ended = answer(&life, authority, |answer| {
        (answer.judged, answer.head) = (1, digest(&kept.links[0]));
        answer.broken = Some(digest(&kept.links[1]));
    });
    let taken = take(&ended).unwrap();
    assert_eq!((taken.judged, taken.unproven, taken.kept), (1, 2, 0));
    gather(&life).unwrap();
    assert_eq!(queue(&life).anchor, anchor(&ended), "behind the answer");
    let whole = answer(&life, authority, |_| {});
    assert_eq!(take(&whole).unwrap().kept, 0);
    assert_eq!(life.robot().offline_status().unwrap().links, 0);
    assert_eq!(refusal(take(&whole)), "offline-other-queue");
    assert_eq!(refusal(life.robot().offline_queue(NOW_MS)), "offline-nothing");
}

#[test]
fn evidence_is_gathered_by_itself_until_the_gatherer_is_dropped() {
    let (mut life, _) = leased();
    let robot = Arc::new(life.robot.take().unwrap());
    let surroundings = || Surroundings::unknown();
    let every = Duration::from_millis(20);
    let gatherer = OfflineGatherer::start(&robot, Box::new(surroundings), PlatformLogs::NONE, every).unwrap();
    let begun = std::time::Instant::now();
    while robot.offline_status().unwrap().links < 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing was gathered");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(gatherer);
    let links = robot.offline_status().unwrap().links;
    std::thread::sleep(Duration::from_millis(80));
    assert_eq!(robot.offline_status().unwrap().links, links);
}
