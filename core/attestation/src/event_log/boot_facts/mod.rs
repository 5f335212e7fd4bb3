//! What a UEFI log says of how the machine booted: secure boot and its databases, boot loaders, option ROMs, command lines,
//! partitions, and the order of separators and actions.
//!
//! A fact is taken only from data that an event's digest covers, in the bank that is asked for; a log says what it likes
//! otherwise. It is proven as far as that log explains a quote: facts alone prove nothing. Sections are those of the TCG PC
//! Client Platform Firmware Profile 1.06 (PFP) and UEFI 2.10.

mod claims;
mod signature_list;
mod structures;

pub use claims::{CLAIMS, Claim, ClaimState};
pub use signature_list::{SignatureDatabase, SignatureEntry};
pub use structures::{GptPartition, GptTable};

use super::{Event, EventLog, EventType};
use alcub3_crypto::{Digest, HashAlg};
use serde::Serialize;
use std::collections::BTreeMap;
use structures::{file_path, utf16_text, variable};

/// PCRs that firmware closes with a separator before it hands over (PFP §3.3.4).
const SEPARATED: core::ops::RangeInclusive<u8> = 0..=7;
/// The PCR of the secure boot policy (PFP §3.3.4.8).
const POLICY: u8 = 7;
/// The PCR of drivers and option ROMs (PFP §3.3.4.3).
const DRIVERS: u8 = 2;
/// The PCR of boot loaders (PFP §3.3.4.5).
const LOADERS: u8 = 4;
/// What a separator says where nothing went wrong (PFP §10.4.1): either of these, four bytes.
const SEPARATORS: [[u8; 4]; 2] = [[0; 4], [0xff; 4]];
/// The most facts of one kind; a log has a few.
const MOST: usize = 512;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadedImage {
    /// Number of the event.
    pub event: usize,
    /// The image's digest in the bank: of a PE image its Authenticode hash.
    pub digest: String,
    /// Its file, where the device path names one.
    pub path: Option<String>,
}

/// A text that was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeasuredText {
    /// Number of the event.
    pub event: usize,
    /// The PCR.
    pub pcr: u8,
    /// The text, escaped.
    pub text: String,
}

/// What is not as the profile says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootFault {
    /// Number of the event; `None` for what is missing.
    pub event: Option<usize>,
    /// The PCR.
    pub pcr: u8,
    /// What is wrong.
    pub what: &'static str,
}

impl BootFault {
    const ERROR: &'static str = "its separator is not one of a boot without errors";
    const TWICE: &'static str = "its PCR was closed by a separator before";
    const OPEN: &'static str = "no separator closes it";

    fn is_of_separator(&self) -> bool {
        [Self::ERROR, Self::TWICE, Self::OPEN].contains(&self.what)
    }
}

/// What a log says of a boot, in one bank.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BootFacts {
    /// Whether secure boot is on; `None` where the log does not say.
    pub secure_boot: Option<bool>,
    /// The databases of secure boot by name: `PK`, `KEK`, `db`, `dbx`. One that does not read is among the faults.
    pub databases: BTreeMap<String, SignatureDatabase>,
    /// The database entries that let an image run (EV_EFI_VARIABLE_AUTHORITY), as `name: sha256 of the entry`.
    pub authorities: Vec<MeasuredText>,
    /// The firmware's version, where it is text.
    pub firmware_version: Option<String>,
    /// Pieces of firmware that were measured (EV_POST_CODE, EV_EFI_PLATFORM_FIRMWARE_BLOB and their second forms).
    pub firmware_pieces: usize,
    /// Drivers that were loaded before the boot loader: option ROMs among them (PCR 2).
    pub option_roms: Vec<LoadedImage>,
    /// Boot loaders and what they load by the firmware's services (PCR 4), in order.
    pub boot_images: Vec<LoadedImage>,
    /// Command lines and boot commands that a loader measured.
    pub command_lines: Vec<MeasuredText>,
    /// Actions of the firmware, in order.
    pub actions: Vec<MeasuredText>,
    /// The partition table of the disk that was booted from.
    pub partitions: Option<GptTable>,
    /// PCRs with a separator, each once.
    pub separated: Vec<u8>,
    /// What is not as the profile says.
    pub faults: Vec<BootFault>,
}

impl BootFacts {
    /// The facts of a log in a bank; `None` where the log has no digests of it.
    #[must_use]
    pub fn of(log: &EventLog<'_>, bank: HashAlg) -> Option<Self> {
        log.banks().any(|alg| alg == bank).then(|| {
            let mut facts = Self::default();
            for event in log.events().iter().filter(|event| event.is_extended()) {
                facts.take(event, bank);
            }
            facts.look_at_separators();
            facts
        })
    }

    fn take(&mut self, event: &Event<'_>, bank: HashAlg) {
        let covered = event.digest(bank) == Some(bank.digest(&[event.data]));
        match event.event_type {
            EventType::SEPARATOR => self.separator(event, covered),
            EventType::S_CRTM_VERSION if covered => {
                let text = utf16_text(event.data).or_else(|| narrow_text(event.data));
                let text = text.filter(|text| !text.trim().is_empty());
                self.firmware_version = text.map(|text| escaped(&text));
            }
            EventType::POST_CODE
            | EventType::POST_CODE2
            | EventType::EFI_PLATFORM_FIRMWARE_BLOB
            | EventType::EFI_PLATFORM_FIRMWARE_BLOB2
            | EventType::S_CRTM_CONTENTS => self.firmware_pieces += 1,
            EventType::EFI_VARIABLE_DRIVER_CONFIG if covered && event.pcr == POLICY => self.policy(event),
            EventType::EFI_VARIABLE_AUTHORITY if covered => self.authority(event),
            EventType::EFI_BOOT_SERVICES_DRIVER | EventType::EFI_RUNTIME_SERVICES_DRIVER => {
                self.image(event, bank);
            }
            EventType::EFI_BOOT_SERVICES_APPLICATION => self.image(event, bank),
            EventType::EFI_ACTION if covered => {
                let text = narrow_text(event.data).unwrap_or_default();
                push(&mut self.actions, measured(event, &text));
            }
            EventType::EFI_GPT_EVENT | EventType::EFI_GPT_EVENT2 if covered => {
                match GptTable::parse(event.data) {
                    Some(table) => self.partitions = Some(table),
                    None => self.fault(event, "its partition table does not read"),
                }
            }
            EventType::IPL => self.loader_text(event, bank),
            _ => {}
        }
    }

    fn separator(&mut self, event: &Event<'_>, covered: bool) {
        if !covered || !SEPARATORS.iter().any(|value| event.data == value) {
            // A value of 1 is what firmware measures where something failed (PFP §10.4.1).
            self.fault(event, BootFault::ERROR);
        } else if self.separated.contains(&event.pcr) {
            self.fault(event, BootFault::TWICE);
        } else {
            self.separated.push(event.pcr);
        }
    }

    fn policy(&mut self, event: &Event<'_>) {
        let Some(variable) = variable(event.data) else {
            self.fault(event, "its variable does not read");
            return;
        };
        match variable.name.as_str() {
            "SecureBoot" if variable.is_global() => match variable.value {
                // A variable that does not exist is measured without a value (PFP §3.3.4.8).
                [] => self.secure_boot = Some(false),
                [value @ (0 | 1)] => self.secure_boot = Some(*value == 1),
                _ => self.fault(event, "SecureBoot is neither on nor off"),
            },
            name @ ("PK" | "KEK" | "db" | "dbx") if variable.is_of_secure_boot(name) => {
                match SignatureDatabase::parse(variable.value) {
                    Some(database) => {
                        self.databases.insert(name.to_owned(), database);
                    }
                    None => self.fault(event, "its signature lists do not read"),
                }
            }
            _ => {}
        }
    }

    fn authority(&mut self, event: &Event<'_>) {
        match variable(event.data) {
            Some(variable) => {
                let entry = HashAlg::Sha256.digest(&[variable.value]).to_hex();
                push(
                    &mut self.authorities,
                    measured(event, &format!("{}: {entry}", variable.name)),
                );
            }
            None => self.fault(event, "its variable does not read"),
        }
    }

    /// The event's data says where the image was; the digest is the image's, so that nothing but the digest is proven.
    fn image(&mut self, event: &Event<'_>, bank: HashAlg) {
        let image = LoadedImage {
            event: event.position.event,
            digest: event
                .digest(bank)
                .map_or_else(String::new, |digest| digest.to_hex()),
            path: file_path(event.data).map(|path| escaped(&path)),
        };
        match event.pcr {
            DRIVERS => push(&mut self.option_roms, image),
            LOADERS => push(&mut self.boot_images, image),
            _ => {}
        }
    }

    /// A loader measures a text itself, and puts words before it in the log (GRUB), or measures what it logs.
    fn loader_text(&mut self, event: &Event<'_>, bank: HashAlg) {
        let Some(digest) = event.digest(bank) else { return };
        let text = utf16_text(event.data).or_else(|| narrow_text(event.data));
        let Some(text) = text.filter(|_| !event.data.is_empty()) else {
            return;
        };
        if covers(&digest, event.data, &text, bank) {
            push(&mut self.command_lines, measured(event, &text));
        }
    }

    fn look_at_separators(&mut self) {
        for pcr in SEPARATED.filter(|pcr| !self.separated.contains(pcr)) {
            self.faults.push(BootFault {
                event: None,
                pcr,
                what: BootFault::OPEN,
            });
        }
    }

    fn fault(&mut self, event: &Event<'_>, what: &'static str) {
        let fault = BootFault {
            event: Some(event.position.event),
            pcr: event.pcr,
            what,
        };
        push(&mut self.faults, fault);
    }
}

/// Whether a digest is that of the text: of the data as it is, without its final zero, or of what follows GRUB's `word: `.
fn covers(digest: &Digest, data: &[u8], text: &str, bank: HashAlg) -> bool {
    let is = |measured: &[u8]| bank.digest(&[measured]) == *digest;
    let behind = text.split_once(": ").map(|(_, rest)| rest.as_bytes());
    is(data)
        || data.strip_suffix(&[0]).is_some_and(is)
        || behind.is_some_and(|rest| is(rest) || is(&[rest, &[0]].concat()))
}

fn narrow_text(data: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(data.strip_suffix(&[0]).unwrap_or(data)).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn measured(event: &Event<'_>, text: &str) -> MeasuredText {
    MeasuredText {
        event: event.position.event,
        pcr: event.pcr,
        text: escaped(text),
    }
}

/// A text without what would do something to a terminal; backslashes are those of paths.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MOST {
        list.push(item);
    }
}
