//! The robot's identity on a real TPM implementation: certificates, renewal without a gap, a lost disk, the inventory.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{AgentError, Asked, PlatformLogs, inventory, provision, recover};
use alcub3_crypto::Curve;
use alcub3_fleet_protocol::certificate::{DeviceKeyKind, summarize};
use alcub3_keys::{KeysError, RobotRecord, StateFolder};
use alcub3_testkit::{PowerUp, Swtpm};
use alcub3_tpm::Lane;
use alcub3_trust_model::handle_map;
use alcub3_trust_model::hardware::{HardwareReason, Part, PartClass, PartSource, Sameness};
use alcub3_trust_model::nv_map::Register;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use support::{LONG, Life, NOW_MS, SoftAuthority, board, nonce, open_tpm, robot_id};
use tempfile::TempDir;

/// The robot with its certificates.
fn identified() -> Life {
    let mut life = Life::provisioned();
    life.create_identity().unwrap();
    life
}

#[test]
fn both_device_keys_are_certified_and_sign_in_the_chip() {
    let life = identified();
    let identity = life.robot().identity().unwrap();
    assert_eq!(life.authority.issued.len(), 2);
    for (kind, key) in [
        (DeviceKeyKind::Initial, &identity.initial),
        (DeviceKeyKind::Local, &identity.local),
    ] {
        let summary = summarize(&key.issued.as_ref().unwrap().certificate).unwrap();
        assert!(summary.subject.contains("rover-1"), "{}", summary.subject);
        let loaded = life.robot().keys().load_device_key(kind, key).unwrap();
        let signature = loaded.sign_message(b"hello").unwrap();
        key.public
            .verifying_key()
            .unwrap()
            .verify_x509(b"hello", &signature.to_x509())
            .unwrap();
    }
    assert_eq!(identity.initial.public, life.robot().keys().record().identity);
    assert!(matches!(
        identity.initial.to_key_file(),
        Err(KeysError::NotExportable)
    ));
}

#[test]
fn a_renewal_has_no_gap_and_destroys_the_earlier_key() {
    let mut life = identified();
    let before = life.robot().identity().unwrap().local;
    let file = life.path().join("identity/local.cbor");
    let still_works = |life: &Life| {
        assert_eq!(life.robot().identity().unwrap().local, before);
        let keys = life.robot().keys();
        let loaded = keys.load_device_key(DeviceKeyKind::Local, &before).unwrap();
        loaded.sign_message(b"still here").unwrap();
    };
    // The grant is lost on its way; then the answer to the word that the new certificate is in use.
    life.authority.cut = true;
    life.renew_identity().unwrap_err();
    still_works(&life);
    life.authority.cut = false;
    let robot = life.robot.take().unwrap();
    robot
        .renew_identity(&mut LosingTheLastAnswer(&mut life.authority), NOW_MS)
        .unwrap_err();
    life.robot = Some(robot);
    still_works(&life);
    assert_eq!((life.authority.issued.len(), life.authority.used.len()), (4, 2));
    let after = life.renew_identity().unwrap();
    assert_ne!(after.public, before.public);
    assert_eq!(life.robot().identity().unwrap().local, after);
    assert!(!life.path().join("identity/local-next.cbor").exists());
    let left = fs::read(file).unwrap();
    let private = &before.private[..];
    assert!(!left.windows(private.len()).any(|window| window == private));
}

#[test]
fn no_crash_while_keys_are_replaced_or_wiped_leaves_a_file_that_is_none() {
    let mut life = identified();
    let before = life.robot().identity().unwrap().local;
    let identity = life.path().join("identity");
    // The new key cannot be put in the old one's place: the old one stays, and works.
    let obstacle = identity.join("local.cbor.new");
    fs::create_dir(&obstacle).unwrap();
    life.renew_identity().unwrap_err();
    life.open();
    assert_eq!(life.robot().identity().unwrap().local, before);
    fs::remove_dir(&obstacle).unwrap();
    life.renew_identity().unwrap();
    let renewed = life.robot().identity().unwrap().local;

    // A file that is wiped leaves its name before a byte of it changes.
    let folder = StateFolder::open(&life.path().join("another")).unwrap();
    folder.write("secret", b"a secret").unwrap();
    let obstacle = folder.path().join("secret.wiping");
    fs::create_dir(&obstacle).unwrap();
    folder.wipe("secret").unwrap_err();
    assert_eq!(folder.read("secret").unwrap().unwrap(), b"a secret");
    fs::remove_dir(&obstacle).unwrap();
    folder.wipe("secret").unwrap();
    assert_eq!((folder.read("secret").unwrap(), obstacle.exists()), (None, false));
    folder.wipe("secret").unwrap();
    // The second name of what is replaced shows what becomes of it.
    folder.write("key", b"the old key").unwrap();
    fs::hard_link(folder.path().join("key"), folder.path().join("old")).unwrap();
    folder.write_over("key", b"new").unwrap();
    assert_eq!(folder.read("key").unwrap().unwrap(), b"new");
    assert_eq!(folder.read("old").unwrap().unwrap(), [0; 11]);
    drop(folder);
    fs::remove_dir_all(life.path().join("another")).unwrap();

    // Before it was zeroed, and after: the next start removes it, and everything goes on.
    for left in [b"a key".to_vec(), vec![0; 300]] {
        for name in ["identity/local-next.cbor.wiping", "provisioning.cbor.wiping"] {
            fs::write(life.path().join(name), &left).unwrap();
        }
        life.open();
        for name in ["identity/local-next.cbor.wiping", "provisioning.cbor.wiping"] {
            assert!(!life.path().join(name).exists(), "{name}");
        }
    }
    assert_eq!(life.robot().identity().unwrap().local, renewed);
    life.renew_identity().unwrap();
}

/// A link on which the answer to the word that a certificate is in use is lost.
struct LosingTheLastAnswer<'a>(&'a mut SoftAuthority);

impl alcub3_agent::IdentityLink for LosingTheLastAnswer<'_> {
    fn open_certificate(
        &mut self,
        robot: &alcub3_trust_model::RobotId,
    ) -> Result<alcub3_trust_model::SessionId, alcub3_agent::LinkError> {
        self.0.open_certificate(robot)
    }

    fn certify(&mut self, request: &[u8]) -> Result<Vec<u8>, alcub3_agent::LinkError> {
        self.0.certify(request)
    }

    fn certificate_used(&mut self, used: &[u8]) -> Result<Vec<u8>, alcub3_agent::LinkError> {
        self.0.certificate_used(used)?;
        Err(alcub3_agent::LinkError("the link is cut".into()))
    }

    fn open_restore(
        &mut self,
        robot: &alcub3_trust_model::RobotId,
    ) -> Result<alcub3_trust_model::SessionId, alcub3_agent::LinkError> {
        self.0.open_restore(robot)
    }

    fn restore(&mut self, request: &[u8]) -> Result<Vec<u8>, alcub3_agent::LinkError> {
        self.0.restore(request)
    }
}

/// The robot's state folder as a new and empty one.
fn lose_the_disk(life: &mut Life) -> RobotRecord {
    let record = life.robot().keys().record().clone();
    life.robot = None;
    life.folder = TempDir::new().unwrap();
    record
}

fn recovered(life: &mut Life) -> Result<RobotRecord, AgentError> {
    let folder = StateFolder::open(life.folder.path()).unwrap();
    let pinned = life.authority.signing.verifying_key();
    recover(&life.tpm, &folder, &robot_id(), pinned, &mut life.authority)
}

#[test]
fn a_lost_disk_is_made_again_from_the_chip_and_the_authority() {
    let mut life = identified();
    let local = life.robot().identity().unwrap().local;
    let before = lose_the_disk(&mut life);
    // Nor is the initial key left in the chip: it is made again from the same seed.
    let owner = life.authority.enrolled.as_ref().unwrap().custody.owner.clone();
    life.tpm
        .run(Lane::Background, LONG, move |chip| {
            let key = chip.persistent_key(handle_map::IDENTITY)?.unwrap();
            chip.evict_control_remove(&owner, &key)
        })
        .unwrap();
    let after = recovered(&mut life).unwrap();
    for (one, other) in [
        (&before.endorsement_key, &after.endorsement_key),
        (&before.attestation_key, &after.attestation_key),
        (&before.storage_root, &after.storage_root),
        (&before.identity, &after.identity),
    ] {
        assert_eq!(one.name(), other.name());
    }
    assert_eq!(before.parents, after.parents);
    life.open();
    life.create_identity().unwrap();
    let identity = life.robot().identity().unwrap();
    assert_eq!(identity.initial.public, before.identity);
    assert_ne!(identity.local.public, local.public);
    life.rearm();
    let surroundings = alcub3_agent::Surroundings::unknown();
    life.robot()
        .evidence(&Asked::all(nonce(3)), &surroundings, &PlatformLogs::NONE, NOW_MS)
        .unwrap();
    // The managed keys went with the disk; a store to make others in, and to vouch for missions, is there.
    assert!(life.robot().list_keys(NOW_MS).unwrap().is_empty());
    life.start_mission(60_000);
}

#[test]
fn nothing_is_given_back_to_another_chip_or_twice() {
    let mut life = identified();
    life.robot = None;
    assert!(matches!(
        recovered(&mut life),
        Err(AgentError::Keys(KeysError::AlreadyProvisioned { .. }))
    ));
    life.open();
    lose_the_disk(&mut life);
    let other = Life::provisioned();
    let folder = TempDir::new().unwrap();
    let state = StateFolder::open(folder.path()).unwrap();
    let pinned = life.authority.signing.verifying_key();
    let refused = recover(&other.tpm, &state, &robot_id(), pinned, &mut life.authority).unwrap_err();
    assert!(matches!(refused, AgentError::Link(_)), "{refused}");
    let blank = Swtpm::start().unwrap();
    let (tpm, _) = open_tpm(blank.transport());
    let pinned = life.authority.signing.verifying_key();
    let refused = recover(&tpm, &state, &robot_id(), pinned, &mut life.authority).unwrap_err();
    assert!(matches!(
        refused,
        AgentError::Keys(KeysError::ChipLost {
            key: "endorsement key"
        })
    ));
    // An authority that the robot did not pin is not believed.
    let stranger = SoftAuthority::new().signing.verifying_key();
    let refused = recover(&life.tpm, &state, &robot_id(), stranger, &mut life.authority).unwrap_err();
    assert!(
        matches!(refused, AgentError::Keys(KeysError::Restore(_))),
        "{refused}"
    );
    assert!(!folder.path().join("robot.cbor").exists());
}

#[test]
fn a_cleared_chip_that_is_provisioned_again_has_the_same_initial_key() {
    let mut life = identified();
    let before = lose_the_disk(&mut life);
    let lockout = life.authority.enrolled.as_ref().unwrap().custody.lockout.clone();
    life.tpm
        .run(Lane::Background, LONG, move |chip| chip.clear(&lockout))
        .unwrap();
    (life.tpm, life.counts) = open_tpm(life.swtpm.transport());
    let state = StateFolder::open(life.folder.path()).unwrap();
    let request = support::request(&life.authority);
    let after = provision(&life.tpm, &state, &request, &mut life.authority).unwrap();
    assert_eq!(after.identity.name(), before.identity.name());
    assert_eq!(after.attestation_key.name(), before.attestation_key.name());
    assert_ne!(after.storage_root.name(), before.storage_root.name());
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A machine as its kernel would show it.
fn machine() -> TempDir {
    let root = TempDir::new().unwrap();
    let files = [
        ("sys/class/dmi/id/product_serial", "SYS-1\n"),
        ("sys/class/dmi/id/product_uuid", "Default string\n"),
        ("sys/class/dmi/id/board_serial", "BOARD-1\n"),
        ("proc/device-tree/serial-number", "TREE-1\0"),
        ("sys/class/net/eth0/address", "02:11:22:33:44:55\n"),
        ("sys/class/net/eth0/addr_assign_type", "0\n"),
        ("sys/class/net/wlan0/address", "06:11:22:33:44:55\n"),
        ("sys/class/net/wlan0/addr_assign_type", "1\n"),
        ("sys/class/net/wlan0/device/uevent", ""),
        ("sys/class/net/veth0/address", "0a:11:22:33:44:55\n"),
        ("sys/class/net/lo/address", "00:00:00:00:00:00\n"),
        ("sys/bus/usb/devices/usb1/serial", "0000:00:14.0\n"),
        ("sys/bus/usb/devices/1-1/serial", "LIDAR\u{7}\n"),
        ("sys/bus/usb/devices/1-1/idVendor", "1d6b\n"),
        ("sys/bus/usb/devices/1-1/idProduct", "0002\n"),
        ("sys/bus/usb/devices/1-1:1.0/serial", "an interface\n"),
        ("sys/bus/usb/devices/1-2/idVendor", "1d6b\n"),
    ];
    for (path, text) in files {
        write(root.path(), path, text);
    }
    let device = root.path().join("sys/class/net/eth0/device");
    std::os::unix::fs::symlink("../../../devices/pci0/0000:00:1f.6", device).unwrap();
    fs::create_dir_all(root.path().join("sys/devices/pci0/0000:00:1f.6")).unwrap();
    root
}

#[test]
fn the_machines_parts_are_the_physical_ones() {
    let root = machine();
    // The link leads from the interface's folder; the kernel's own tree has one level less between.
    fs::remove_file(root.path().join("sys/class/net/eth0/device")).unwrap();
    let target = root.path().join("sys/devices/pci0/0000:00:1f.6");
    std::os::unix::fs::symlink(target, root.path().join("sys/class/net/eth0/device")).unwrap();
    let found = inventory::of_machine(root.path()).unwrap();
    let parts: Vec<(PartClass, String, String)> = found
        .parts()
        .map(|part| (part.class, part.slot, part.serial))
        .collect();
    let expect = |class, slot: &str, serial: &str| (class, slot.to_owned(), serial.to_owned());
    let [usb] = &parts[4..] else { panic!("{parts:?}") };
    assert_eq!(
        parts[..4],
        [
            expect(PartClass::System, "device_tree_serial", "TREE-1"),
            expect(PartClass::System, "product_serial", "SYS-1"),
            expect(PartClass::Mainboard, "board_serial", "BOARD-1"),
            expect(PartClass::NetworkInterface, "0000:00:1f.6", "02:11:22:33:44:55"),
        ]
    );
    // A serial number with a control character in it is taken by its digest.
    assert_eq!((usb.0, usb.1.as_str()), (PartClass::UsbDevice, "1-1"));
    assert!(usb.2.starts_with("sha256:"), "{}", usb.2);
    assert_eq!(
        inventory::of_machine(Path::new("/nowhere"))
            .unwrap()
            .parts()
            .count(),
        0
    );
}

/// A robot that was enrolled with its machine's parts.
fn with_machine(root: &Path) -> Life {
    let mut life = Life::blank();
    let request = alcub3_agent::ProvisionRequest {
        inventory: inventory::of_machine(root)
            .unwrap()
            .with(board("declared"))
            .unwrap(),
        ..support::request(&life.authority)
    };
    {
        let state = StateFolder::open(life.folder.path()).unwrap();
        provision(&life.tpm, &state, &request, &mut life.authority).unwrap();
    }
    life.open();
    life
}

#[test]
fn the_inventory_is_measured_after_a_boot_and_again_on_a_change_only() {
    let root = machine();
    let mut life = with_machine(root.path());
    let measure = |life: &Life| {
        life.tpm
            .run(Lane::Background, LONG, |chip| chip.flush_dropped())
            .unwrap();
        let before = life.counts.total();
        let verdict = life.robot().measure_hardware(Some(root.path()), NOW_MS).unwrap();
        (verdict, life.counts.total() - before)
    };
    let register = |life: &Life| life.robot().keys().register(Register::HardwareInventory).unwrap();
    let (first, commands) = measure(&life);
    assert_eq!(first.sameness, Sameness::Same, "{first:?}");
    assert_eq!(commands, 1, "1 NV_Extend: the index is known since provisioning");
    let once = register(&life);
    assert_eq!(measure(&life).1, 0, "this process measured the same before");
    assert_eq!(register(&life), once);

    write(root.path(), "sys/bus/usb/devices/1-3/serial", "unknown stick\n");
    let (changed, commands) = measure(&life);
    assert_eq!(changed.sameness, Sameness::NeedsOnePerson);
    assert_eq!(changed.differences[0].reason, HardwareReason::PartAdded);
    assert_eq!(commands, 2, "1 NV_Read, 1 NV_Extend");
    assert_ne!(register(&life), once);

    write(root.path(), "sys/class/dmi/id/board_serial", "BOARD-2\n");
    assert_eq!(measure(&life).0.sameness, Sameness::AnotherRobot);

    life.reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    assert_eq!(register(&life), None, "the register is empty after a boot");
    write(root.path(), "sys/class/dmi/id/board_serial", "BOARD-1\n");
    fs::remove_dir_all(root.path().join("sys/bus/usb/devices/1-3")).unwrap();
    let (again, _) = measure(&life);
    assert_eq!(again.sameness, Sameness::Same);
    assert_eq!(register(&life), once, "the same parts give the same value");
}

#[test]
fn what_a_crash_left_unextended_is_extended_once() {
    let root = machine();
    let mut life = with_machine(root.path());
    let measured = |life: &Life| {
        life.robot().measure_hardware(Some(root.path()), NOW_MS).unwrap();
        life.robot().keys().register(Register::HardwareInventory).unwrap()
    };
    let file = life.path().join("registers/hardware-inventory.cbor");
    let once = measured(&life);
    let stick = root.path().join("sys/bus/usb/devices/1-3");
    write(root.path(), "sys/bus/usb/devices/1-3/serial", "stick\n");
    let twice = measured(&life);
    let of_both = fs::read(&file).unwrap();
    assert_ne!(once, twice);
    // The same again, with a crash between the write of the second event and its extend.
    fs::remove_dir_all(&stick).unwrap();
    life.reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    assert_eq!(measured(&life), once);
    life.robot = None;
    fs::write(&file, &of_both).unwrap();
    life.open();
    write(root.path(), "sys/bus/usb/devices/1-3/serial", "stick\n");
    assert_eq!(measured(&life), twice);
    assert_eq!(measured(&life), twice);
    assert_eq!(fs::read(&file).unwrap(), of_both);
}

#[test]
fn an_adapters_parts_are_in_the_inventory() {
    struct Motors;
    impl alcub3_security_hal::PlatformAdapter for Motors {
        fn name(&self) -> String {
            "motors".to_owned()
        }

        fn parts(&mut self) -> Result<Vec<Part>, alcub3_security_hal::PortError> {
            Ok(vec![Part {
                class: PartClass::MotorController,
                slot: "left".to_owned(),
                serial: "MC-1".to_owned(),
                source: PartSource::Machine,
            }])
        }

        fn stop(&mut self, _: &alcub3_security_hal::StopOrder) -> Result<(), alcub3_security_hal::PortError> {
            Ok(())
        }
    }
    let mut life = Life::provisioned();
    life.robot = None;
    let folder = Arc::new(StateFolder::open(life.folder.path()).unwrap());
    let robot = alcub3_agent::Robot::open(life.tpm, folder, vec![Box::new(Motors)]).unwrap();
    let verdict = robot.measure_hardware(None, NOW_MS).unwrap();
    assert_eq!(verdict.sameness, Sameness::NeedsOnePerson);
    assert_eq!(verdict.differences[0].found.as_deref(), Some("MC-1"));
    assert_eq!(verdict.differences[0].reason, HardwareReason::PartAdded);
}

#[test]
fn the_curve_of_the_device_keys_is_the_robots() {
    let life = identified();
    let local = life.robot().identity().unwrap().local;
    assert_eq!(local.public.verifying_key().unwrap().curve(), Some(Curve::P256));
}
