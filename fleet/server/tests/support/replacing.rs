//! Robots whose parts are replaced, and an authority that is asked.
#![allow(dead_code, unreachable_pub)]

use alcub3_crypto::Digest;
use alcub3_fleet_protocol::replacement::{Replacement, ReplacementRequest, replacement_binding};
use alcub3_fleet_protocol::restore::{RestoreGrant, RestoreRequest, restore_binding};
use alcub3_fleet_protocol::{EnrolmentRecord, VerifiedAnchors};
use alcub3_server::{OperatorVote, Proposed, ReplacementProposal, ReplacementRefusal};
use alcub3_trust_model::SessionId;
use alcub3_trust_model::hardware::{HardwareRecord, Inventory, Part, PartClass, PartSource};
use alcub3_trust_model::nv_map::{NvIndex, NvMap, Register};

use crate::support::robot::{Robot, sized};
use crate::support::{ALG, NOW, Person, World};

pub fn part(class: PartClass, slot: &str, serial: &str) -> Part {
    Part {
        class,
        slot: slot.to_owned(),
        serial: serial.to_owned(),
        source: PartSource::Machine,
    }
}

/// The parts of a robot with a board of its own.
pub fn parts(board: &str, lidar: &str) -> Inventory {
    Inventory::new()
        .with(part(PartClass::Mainboard, "board_serial", board))
        .unwrap()
        .with(part(PartClass::Sensor, "lidar", lidar))
        .unwrap()
}

pub fn robot(name: &str, lidar: &str) -> Robot {
    let mut robot = Robot::new(name);
    robot.inventory = parts(name, lidar);
    robot
}

/// The same robot after a part was replaced.
pub fn replaced(mut robot: Robot, lidar: &str) -> Robot {
    robot.inventory = parts(robot.id.as_str(), lidar);
    robot
}

/// What a robot asks whose own enrolment names `known`; `signer` is the chip that certifies.
pub fn request(robot: &Robot, signer: &Robot, known: Digest, session: SessionId) -> ReplacementRequest {
    request_of(robot, signer, robot.hardware(), known, session)
}

pub fn request_of(
    robot: &Robot,
    signer: &Robot,
    hardware: HardwareRecord,
    known: Digest,
    session: SessionId,
) -> ReplacementRequest {
    let measured = vec![hardware.binding(ALG)];
    let extra = replacement_binding(session, &robot.id, &measured[0]);
    let register = Register::HardwareInventory;
    let name = NvMap::new(ALG)
        .unwrap()
        .spec(NvIndex::Register(register))
        .tpm_name(true);
    let held = register.replay(Digest::zero(ALG), &measured);
    let nv = [sized(name.as_bytes()), vec![0, 0], sized(held.as_bytes())].concat();
    let root = [sized(robot.root_public.name().as_bytes()), sized(&[0, 0, 0, 1])].concat();
    ReplacementRequest {
        session,
        robot: robot.id.clone(),
        enrolled: known,
        hardware,
        measured,
        register: signer.sign(signer.attest(0x8014, extra.as_bytes(), &nv)),
        storage_root: robot.root_public.clone(),
        certification: signer.sign(signer.attest(0x8017, extra.as_bytes(), &root)),
    }
}

/// The request with other hardware, measured as it should be.
pub fn with_hardware(robot: &Robot, hardware: HardwareRecord, known: Digest, session: SessionId) -> Vec<u8> {
    request_of(robot, robot, hardware, known, session).to_canonical()
}

pub fn vote(person: &Person, change: &Replacement) -> OperatorVote {
    OperatorVote {
        operator: person.id.clone(),
        signature: person.key.sign(&change.message()).unwrap(),
    }
}

/// What the tests do with an authority.
pub trait Replacing {
    fn asked(&mut self, robot: &Robot, known: Digest) -> Result<Proposed, ReplacementRefusal>;
    fn proposed(&mut self, robot: &Robot, known: Digest) -> Box<ReplacementProposal>;
    fn approved(&mut self, robot: &Robot, known: Digest) -> Vec<u8>;
    fn record(&self, robot: &Robot) -> EnrolmentRecord;
    fn restored(&mut self, robot: &Robot) -> (VerifiedAnchors, HardwareRecord);
    fn refusal(&mut self, request: &[u8]) -> ReplacementRefusal;
}

impl Replacing for World {
    fn asked(&mut self, robot: &Robot, known: Digest) -> Result<Proposed, ReplacementRefusal> {
        let session = self.authority.open_replacement(&robot.id, NOW)?;
        let request = request(robot, robot, known, session).to_canonical();
        self.authority.propose_replacement(&request, &mut self.vault, NOW)
    }

    fn proposed(&mut self, robot: &Robot, known: Digest) -> Box<ReplacementProposal> {
        match self.asked(robot, known).unwrap() {
            Proposed::Vote(proposal) => proposal,
            Proposed::Approved { .. } => panic!("approved before"),
        }
    }

    fn approved(&mut self, robot: &Robot, known: Digest) -> Vec<u8> {
        let proposal = self.proposed(robot, known);
        let vote = vote(&self.alice, &proposal.review().change);
        self.authority
            .approve_replacement(*proposal, &vote, &mut self.vault, NOW + 5)
            .unwrap()
    }

    fn record(&self, robot: &Robot) -> EnrolmentRecord {
        self.authority.enrolment(&robot.id).unwrap().record().clone()
    }

    /// What a robot with a lost disk is given back.
    fn restored(&mut self, robot: &Robot) -> (VerifiedAnchors, HardwareRecord) {
        let session = self.authority.open_restore(&robot.id, NOW).unwrap();
        let binding = restore_binding(ALG, session, &robot.id);
        let root = [sized(robot.root_public.name().as_bytes()), sized(&[0, 0, 0, 1])].concat();
        let request = RestoreRequest {
            session,
            robot: robot.id.clone(),
            storage_root: robot.root_public.clone(),
            certification: robot.sign(robot.attest(0x8017, binding.as_bytes(), &root)),
        };
        let answer = self
            .authority
            .restore(&request.to_canonical(), &mut self.vault, NOW);
        let key = self.authority.verifying_key();
        let grant = RestoreGrant::verify(&answer.unwrap(), &key, &request).unwrap();
        grant.contents(&key).unwrap()
    }

    fn refusal(&mut self, request: &[u8]) -> ReplacementRefusal {
        self.authority
            .propose_replacement(request, &mut self.vault, NOW)
            .unwrap_err()
    }
}

pub fn enrolled(lidar: &str) -> (World, Robot, Digest) {
    let (mut world, robot) = (World::new(), robot("rover-1", lidar));
    world.enrol(&robot);
    let before = robot.hardware().binding(ALG);
    (world, robot, before)
}
