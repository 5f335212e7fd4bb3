//! Writes crypto-agile event logs: the agent's own, and realistic UEFI logs for demonstrations and as seeds of
//! fuzzing.

use super::{EventType, agent::AgentEvent};
use alcub3_crypto::{Digest, HashAlg};

/// `EFI_GLOBAL_VARIABLE`, in the byte order of UEFI.
const GLOBAL_VARIABLE: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`.
const SECURITY_DATABASE: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];
/// `EFI_CERT_SHA256_GUID`.
const CERT_SHA256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];
/// `SHIM_LOCK_GUID`.
const SHIM_LOCK: [u8; 16] = [
    0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43, 0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23,
];

/// An EFI_SIGNATURE_LIST (UEFI 2.10 §32.4.1) with the SHA-256 of one image.
fn signature_list(image: &[u8]) -> Vec<u8> {
    let (list_bytes, entry_bytes) = (28 + 16 + 32_u32, 16 + 32_u32);
    [
        &CERT_SHA256[..],
        &list_bytes.to_le_bytes(),
        &0_u32.to_le_bytes(),
        &entry_bytes.to_le_bytes(),
        &SHIM_LOCK,
        image,
    ]
    .concat()
}

/// Writes a log event by event.
#[derive(Debug, Clone)]
pub struct Builder {
    banks: Vec<HashAlg>,
    bytes: Vec<u8>,
}

/// A bank list that no log can have: empty, or with an algorithm twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log needs one to four banks, each once")]
pub struct BankError;

/// What a [`Builder::uefi_boot`] log measures; vary a field to get the log of a changed machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot<'a> {
    /// Firmware version text (PCR 0).
    pub firmware: &'a str,
    /// Whether secure boot is on (PCR 7).
    pub secure_boot: bool,
    /// The boot loader's image, of which the digest is taken (PCR 4).
    pub boot_loader: &'a [u8],
    /// The kernel's image, of which the digest is taken (PCR 9).
    pub kernel: &'a [u8],
    /// The kernel's command line (PCR 8).
    pub command_line: &'a str,
}

impl Default for Boot<'_> {
    fn default() -> Self {
        Self {
            firmware: "alcub3 reference firmware 1.0",
            secure_boot: true,
            boot_loader: b"alcub3 reference boot loader",
            kernel: b"alcub3 reference kernel",
            command_line: "/vmlinuz root=/dev/mmcblk0p2 ro ima_policy=tcb",
        }
    }
}

impl Builder {
    /// A log with its Spec ID header.
    ///
    /// # Errors
    /// No bank, or one twice.
    pub fn new(banks: &[HashAlg]) -> Result<Self, BankError> {
        let twice = banks
            .iter()
            .enumerate()
            .any(|(at, alg)| banks.iter().take(at).any(|b| b == alg));
        let count = u8::try_from(banks.len()).map_err(|_| BankError)?;
        if count == 0 || twice {
            return Err(BankError);
        }
        let mut log = Self {
            banks: banks.to_vec(),
            bytes: Vec::with_capacity(4096),
        };
        let data = spec_id(banks, count);
        log.number(0);
        log.number(EventType::NO_ACTION.0);
        log.bytes.extend_from_slice(&[0; 20]);
        log.data(&data);
        Ok(log)
    }

    /// The log's bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends an event whose digests are those of its data.
    pub fn event(&mut self, pcr: u8, event_type: EventType, data: &[u8]) -> &mut Self {
        self.measured(pcr, event_type, data, data)
    }

    /// Appends an event whose digests are those of something else than its data.
    pub fn measured(&mut self, pcr: u8, event_type: EventType, measured: &[u8], data: &[u8]) -> &mut Self {
        let digests: Vec<Digest> = self.banks.iter().map(|alg| alg.digest(&[measured])).collect();
        self.raw(pcr, event_type, &digests, data)
    }

    /// Appends an event that is not extended: its digests are zero.
    pub fn no_action(&mut self, pcr: u8, data: &[u8]) -> &mut Self {
        let digests: Vec<Digest> = self.banks.iter().map(|alg| Digest::zero(*alg)).collect();
        self.raw(pcr, EventType::NO_ACTION, &digests, data)
    }

    /// States the locality of TPM2_Startup, PCR 0's initial value. Must come before PCR 0's first measurement.
    pub fn startup_locality(&mut self, locality: u8) -> &mut Self {
        self.no_action(0, &[b"StartupLocality\0".as_slice(), &[locality]].concat())
    }

    /// Appends an event of the robot's agent.
    pub fn agent(&mut self, pcr: u8, event: &AgentEvent) -> &mut Self {
        self.measured(pcr, EventType::EVENT_TAG, &event.message(), &event.encode())
    }

    /// Appends a whole boot in the form real machines log it: firmware, secure boot variables, separators, boot
    /// loader, GRUB and the kernel.
    pub fn uefi_boot(&mut self, boot: &Boot<'_>) -> &mut Self {
        self.firmware(boot).secure_boot(boot).boot_order();
        for pcr in 0..8 {
            self.event(pcr, EventType::SEPARATOR, &[0; 4]);
        }
        self.event(
            4,
            EventType::EFI_ACTION,
            b"Calling EFI Application from Boot Option",
        );
        self.loader(boot).grub(boot);
        self.event(5, EventType::EFI_ACTION, b"Exit Boot Services Invocation");
        self.event(
            5,
            EventType::EFI_ACTION,
            b"Exit Boot Services Returned with Success",
        )
    }

    fn firmware(&mut self, boot: &Boot<'_>) -> &mut Self {
        let version = utf16(boot.firmware, true);
        self.event(0, EventType::S_CRTM_VERSION, &version);
        for (base, length) in [(0xff00_0000_u64, 0x0010_0000_u64), (0xff10_0000, 0x00a0_0000)] {
            let blob = [base.to_le_bytes(), length.to_le_bytes()].concat();
            let measured = [version.as_slice(), &blob].concat();
            self.measured(0, EventType::EFI_PLATFORM_FIRMWARE_BLOB, &measured, &blob);
        }
        self.event(1, EventType::EFI_HANDOFF_TABLES, &[0; 8])
    }

    fn secure_boot(&mut self, boot: &Boot<'_>) -> &mut Self {
        let on = u8::from(boot.secure_boot);
        let keys = |name: &str| {
            let image = HashAlg::Sha256.digest(&[b"alcub3 reference ", name.as_bytes()]);
            signature_list(image.as_bytes())
        };
        let driver = EventType::EFI_VARIABLE_DRIVER_CONFIG;
        self.variable(7, driver, &GLOBAL_VARIABLE, "SecureBoot", &[on]);
        self.variable(7, driver, &GLOBAL_VARIABLE, "PK", &keys("PK"));
        self.variable(7, driver, &GLOBAL_VARIABLE, "KEK", &keys("KEK"));
        self.variable(7, driver, &SECURITY_DATABASE, "db", &keys("db"));
        self.variable(7, driver, &SECURITY_DATABASE, "dbx", &keys("dbx"))
    }

    fn boot_order(&mut self) -> &mut Self {
        let variable = EventType::EFI_VARIABLE_BOOT;
        let option = [
            &1_u32.to_le_bytes(),
            &0_u16.to_le_bytes()[..],
            &utf16("alcub3", true),
        ]
        .concat();
        self.variable(1, variable, &GLOBAL_VARIABLE, "BootOrder", &[0, 0]);
        self.variable(1, variable, &GLOBAL_VARIABLE, "Boot0000", &option)
    }

    fn loader(&mut self, boot: &Boot<'_>) -> &mut Self {
        let authority = EventType::EFI_VARIABLE_AUTHORITY;
        if boot.secure_boot {
            self.variable(7, authority, &SECURITY_DATABASE, "db", b"alcub3 reference signer");
        }
        let path = image_event(boot.boot_loader.len(), r"\EFI\alcub3\shimx64.efi");
        self.measured(
            4,
            EventType::EFI_BOOT_SERVICES_APPLICATION,
            boot.boot_loader,
            &path,
        );
        self.variable(7, authority, &SHIM_LOCK, "Shim", b"alcub3 reference shim");
        self.event(14, EventType::IPL, b"MokList\0")
    }

    /// GRUB measures what it executes into PCR 8 (without the prefix and the terminator) and what it reads into 9.
    fn grub(&mut self, boot: &Boot<'_>) -> &mut Self {
        for (prefix, text) in [
            (
                "grub_cmd: ",
                "search --no-floppy --set=root --label alcub3".to_owned(),
            ),
            ("grub_cmd: ", format!("linux {}", boot.command_line)),
            ("kernel_cmdline: ", boot.command_line.to_owned()),
        ] {
            let data = format!("{prefix}{text}\0");
            self.measured(8, EventType::IPL, text.as_bytes(), data.as_bytes());
        }
        self.measured(9, EventType::IPL, boot.kernel, b"/vmlinuz\0")
    }

    fn variable(&mut self, pcr: u8, kind: EventType, guid: &[u8; 16], name: &str, value: &[u8]) -> &mut Self {
        let name = utf16(name, false);
        let characters = wide(name.len() / 2);
        let data = [guid.as_slice(), &characters, &wide(value.len()), &name, value].concat();
        self.event(pcr, kind, &data)
    }

    fn raw(&mut self, pcr: u8, event_type: EventType, digests: &[Digest], data: &[u8]) -> &mut Self {
        self.number(u32::from(pcr));
        self.number(event_type.0);
        self.number(u32::try_from(digests.len()).unwrap_or(u32::MAX));
        for digest in digests {
            self.bytes.extend_from_slice(&digest.alg().tpm_id().to_le_bytes());
            self.bytes.extend_from_slice(digest.as_bytes());
        }
        self.data(data);
        self
    }

    fn number(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn data(&mut self, data: &[u8]) {
        self.number(u32::try_from(data.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(data);
    }
}

/// `TCG_EfiSpecIdEvent` of the PFP, version 2.0 errata 0, 64-bit.
fn spec_id(banks: &[HashAlg], count: u8) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend_from_slice(&[0, 0, 0, 0, 0, 2, 0, 2, count, 0, 0, 0]);
    for alg in banks {
        data.extend_from_slice(&alg.tpm_id().to_le_bytes());
        data.extend_from_slice(&u16::try_from(alg.size()).unwrap_or(u16::MAX).to_le_bytes());
    }
    data.push(0);
    data
}

/// `UEFI_IMAGE_LOAD_EVENT` with a device path of one file.
fn image_event(length: usize, file: &str) -> Vec<u8> {
    let name = utf16(file, true);
    let node = u16::try_from(name.len() + 4).unwrap_or(u16::MAX).to_le_bytes();
    let path = [&[4, 4], node.as_slice(), &name, &[0x7f, 0xff, 4, 0]].concat();
    let (base, link) = (0x7e00_0000_u64.to_le_bytes(), 0_u64.to_le_bytes());
    [base.as_slice(), &wide(length), &link, &wide(path.len()), &path].concat()
}

fn utf16(text: &str, terminated: bool) -> Vec<u8> {
    text.encode_utf16()
        .chain(terminated.then_some(0))
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn wide(length: usize) -> [u8; 8] {
    u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes()
}
