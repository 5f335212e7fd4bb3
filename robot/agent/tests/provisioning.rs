//! What provisioning leaves in the chip, what it draws when, and what it refuses to take over.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{AgentError, AuthorityLink, LinkError, provision};
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, Secret};
use alcub3_keys::{KeysError, RobotRecord, StateFolder};
use alcub3_testkit::{Attack, Bus, Hostile, SimulatorCa, Swtpm, When};
use alcub3_tpm::ops::Hierarchy;
use alcub3_tpm::{Auth, Chip, CommandCode, Lane, TpmError};
use alcub3_trust_model::{Level, handle_map};
use support::{LONG, Life, SoftAuthority, certify_ek, open_tpm, request};
use tempfile::TempDir;

const HIERARCHY_CHANGE_AUTH: CommandCode = CommandCode(0x129);
const EVICT_CONTROL: CommandCode = CommandCode(0x120);
const JOURNAL: &str = "provisioning.cbor";

/// A blank chip with a certificate for its EK.
fn blank() -> Swtpm {
    let swtpm = Swtpm::start().unwrap();
    certify_ek(&open_tpm(swtpm.transport()).0, &SimulatorCa::new().unwrap());
    swtpm
}

/// One try to provision, with everything that passed on the bus.
fn attempt(
    swtpm: &Swtpm,
    folder: &TempDir,
    authority: &SoftAuthority,
    link: &mut dyn AuthorityLink,
) -> (Result<RobotRecord, AgentError>, Bus) {
    let hostile = Hostile::new(swtpm.transport());
    let bus = hostile.bus();
    let (tpm, _) = open_tpm(hostile);
    let state = StateFolder::open(folder.path()).unwrap();
    (provision(&tpm, &state, &request(authority), link), bus)
}

fn sent(bus: &Bus, code: CommandCode) -> usize {
    let is_it = |command: &[u8]| command[6..10] == code.0.to_be_bytes();
    bus.traffic()
        .iter()
        .filter(|passed| is_it(&passed.command))
        .count()
}

fn ask<T: Send + 'static>(
    swtpm: &Swtpm,
    question: impl FnOnce(&mut Chip) -> alcub3_tpm::Result<T> + Send + 'static,
) -> T {
    open_tpm(swtpm.transport())
        .0
        .run(Lane::Background, LONG, question)
        .unwrap()
}

fn authorisations_set(swtpm: &Swtpm) -> [bool; 3] {
    let set = ask(swtpm, Chip::lockout_state);
    [set.owner_auth_set, set.endorsement_auth_set, set.lockout_auth_set]
}

fn persistent(swtpm: &Swtpm) -> Vec<u32> {
    ask(swtpm, |chip| chip.handles(0x8100_0000))
}

/// What provisioning makes persistent.
fn ours() -> Vec<u32> {
    let levels = [Level::Unclassified, Level::Cui];
    let (parents, kdfs) = (
        levels.map(handle_map::level_parent),
        levels.map(handle_map::level_kdf),
    );
    let fixed = [
        handle_map::EK,
        handle_map::ATTESTATION_KEY,
        handle_map::STORAGE_ROOT,
        handle_map::IDENTITY,
    ];
    [&fixed[..], &parents, &kdfs].concat()
}

fn nothing() -> Secret {
    Secret::from_slice(&[])
}

/// An authority that does not admit the chip's certificate: an interposer's key, say.
struct Refusing;

impl AuthorityLink for Refusing {
    fn enrol(&mut self, _: &[u8]) -> Result<Vec<u8>, LinkError> {
        Err(LinkError("the certificate is not admitted".into()))
    }

    fn respond(&mut self, _: &[u8]) -> Result<Vec<u8>, LinkError> {
        unreachable!("nobody was challenged")
    }
}

/// An authority that challenges and is then out of reach.
struct CutOff<'a>(&'a mut SoftAuthority);

impl AuthorityLink for CutOff<'_> {
    fn enrol(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.0.enrol(request)
    }

    fn respond(&mut self, _: &[u8]) -> Result<Vec<u8>, LinkError> {
        Err(LinkError("out of reach".into()))
    }
}

#[test]
fn a_chip_that_no_authority_vouched_for_is_given_no_authorisation() {
    let (swtpm, folder, authority) = (blank(), TempDir::new().unwrap(), SoftAuthority::new());
    // One that refuses, and one whose key the robot was not given.
    for link in [&mut Refusing as &mut dyn AuthorityLink, &mut SoftAuthority::new()] {
        let (refused, bus) = attempt(&swtpm, &folder, &authority, link);
        let by_authority = matches!(refused, Err(AgentError::Link(_) | AgentError::Enrolment(_)));
        assert!(by_authority, "{refused:?}");
        assert_eq!(sent(&bus, HIERARCHY_CHANGE_AUTH), 0);
        assert_eq!(authorisations_set(&swtpm), [false; 3]);
    }
}

#[test]
fn what_was_drawn_for_one_chip_is_given_to_no_other() {
    let (swtpm, folder, mut authority) = (blank(), TempDir::new().unwrap(), SoftAuthority::new());
    let plan = request(&authority);
    let provision_here = |link: &mut dyn AuthorityLink| {
        let state = StateFolder::open(folder.path()).unwrap();
        provision(&open_tpm(swtpm.transport()).0, &state, &plan, link)
    };
    let cut_off = provision_here(&mut CutOff(&mut authority));
    assert!(matches!(cut_off, Err(AgentError::Link(_))), "{cut_off:?}");
    assert_eq!(authorisations_set(&swtpm), [true; 3]);

    let other = blank();
    let (refused, bus) = attempt(&other, &folder, &authority, &mut Refusing);
    let mismatch = matches!(
        refused,
        Err(AgentError::Keys(KeysError::Tpm(TpmError::PinMismatch { .. })))
    );
    assert!(mismatch, "{refused:?}");
    assert_eq!(sent(&bus, HIERARCHY_CHANGE_AUTH), 0);
    assert!(persistent(&other).is_empty());

    // The first chip goes on with the authorisations that it has.
    provision_here(&mut authority).unwrap();
    let custody = authority.enrolled.as_ref().unwrap().custody.clone();
    ask(&swtpm, move |chip| {
        chip.pin_salt_key(handle_map::EK, None)?;
        chip.change_hierarchy_auth(Hierarchy::Owner, &custody.owner, &custody.owner)?;
        chip.change_hierarchy_auth(Hierarchy::Lockout, &custody.lockout, &custody.lockout)
    });
}

/// A primary at a persistent handle, under empty authorisations.
fn place(
    chip: &mut Chip,
    hierarchy: Hierarchy,
    template: &PublicTemplate,
    handle: u32,
) -> alcub3_tpm::Result<()> {
    let made = chip.create_primary(hierarchy, Auth::Empty, template.as_tpmt_bytes(), None, &[])?;
    chip.evict_control_make(&nothing(), &made.object, handle)?;
    Ok(())
}

#[test]
fn an_owned_chip_is_refused_and_left_as_it_is() {
    for hierarchy in [Hierarchy::Owner, Hierarchy::Endorsement, Hierarchy::Lockout] {
        let (swtpm, folder, authority) = (blank(), TempDir::new().unwrap(), SoftAuthority::new());
        ask(&swtpm, move |chip| {
            // Over an unprotected bus no authorisation is set, so the other owner needs a key to salt a session to.
            let ek = PublicTemplate::ek_ecc_p256();
            place(chip, Hierarchy::Endorsement, &ek, handle_map::EK)?;
            chip.pin_salt_key(handle_map::EK, None)?;
            chip.change_hierarchy_auth(hierarchy, &nothing(), &Secret::from_slice(b"another's"))
        });
        let (refused, bus) = attempt(&swtpm, &folder, &authority, &mut Refusing);
        let owned = matches!(refused, Err(AgentError::Keys(KeysError::Owned { .. })));
        assert!(owned, "{refused:?}");
        assert_eq!(sent(&bus, EVICT_CONTROL) + sent(&bus, HIERARCHY_CHANGE_AUTH), 0);
        assert_eq!(persistent(&swtpm), [handle_map::EK]);
        assert!(!folder.path().join(JOURNAL).exists());
    }
}

#[test]
fn no_second_copy_of_the_ek_is_left_and_what_was_there_before_stays() {
    // Before there is a session: header, two handles, one empty password; the persistent handle ends the command.
    const LAST_BIT: usize = 8 * 35 - 1;
    for wrong in [LAST_BIT, LAST_BIT - 4] {
        let (swtpm, folder, mut authority) = (blank(), TempDir::new().unwrap(), SoftAuthority::new());
        // Another's: the same EK at a handle of its own, and a key that is none of ours.
        let others = [0x8100_0001, 0x8101_0005];
        ask(&swtpm, move |chip| {
            let [parent, ek] = others;
            place(
                chip,
                Hierarchy::Owner,
                &PublicTemplate::storage_parent(Curve::P384),
                parent,
            )?;
            place(chip, Hierarchy::Endorsement, &PublicTemplate::ek_ecc_p256(), ek)
        });
        let hostile = Hostile::new(swtpm.transport());
        let bus = hostile.bus();
        bus.attack(When::NextOf(EVICT_CONTROL), Attack::FlipCommandBit(wrong));
        let (tpm, _) = open_tpm(hostile);
        let state = StateFolder::open(folder.path()).unwrap();
        let plan = request(&authority);
        provision(&tpm, &state, &plan, &mut authority).unwrap_err();
        let held = || tpm.run(Lane::Background, LONG, |chip| chip.handles(0x8100_0000));
        assert_eq!(held().unwrap().len(), others.len() + 1);
        provision(&tpm, &state, &plan, &mut authority).unwrap();
        let mut expected = [ours(), others.to_vec()].concat();
        expected.sort_unstable();
        assert_eq!(held().unwrap(), expected);
    }
}

#[test]
fn a_journal_that_was_left_behind_is_wiped_at_the_next_start() {
    let mut life = Life::provisioned();
    let journal = life.path().join(JOURNAL);
    assert!(!journal.exists());
    std::fs::write(&journal, b"authorisations that the authority has").unwrap();
    life.open();
    assert!(!journal.exists());
}
