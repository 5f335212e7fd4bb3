//! Adds a real chip's latencies to a simulator, so that "under 500 ms on the chip" can be judged without the chip.
//!
//! Figures of a chip are the averages its vendor's measurements give (wolfTPM README: ms for P-256, KB/s of random
//! bytes). What nobody published has a stated default: see [`ChipModel::DEFAULTS`]. A model is no measurement.

use super::counted::command_code;
use super::swaps::Swaps;
use super::{Cancel, HEADER, Transport, TransportError, TransportKind};
use crate::command::CommandCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tpm2_protocol::data::TpmCc;

/// How long a chip takes for each kind of command.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct ChipModel {
    /// The chip's name, lower case.
    pub name: &'static str,
    /// Making an ECC key (Create, CreatePrimary, CreateLoaded of one), ms.
    pub ecc_keygen_ms: u64,
    /// ECDSA signature (Sign, Quote, Certify, CertifyCreation, NV_Certify, GetTime, audit digests), ms.
    pub sign_ms: u64,
    /// ECDSA check (VerifySignature, PolicySigned), ms.
    pub verify_ms: u64,
    /// ECDH (ECDH_ZGen, ECDH_KeyGen, a salted StartAuthSession, ActivateCredential, Import), ms.
    pub ecdh_ms: u64,
    /// Random bytes, KiB a second.
    pub rng_kib_per_s: u64,
    /// Load, and Create of anything without an asymmetric key, which is the same work, ms.
    pub load_ms: u64,
    /// ContextLoad, ms.
    pub context_load_ms: u64,
    /// A policy command, ms.
    pub policy_ms: u64,
    /// PCR_Extend, ms.
    pub pcr_extend_ms: u64,
    /// NV_Increment, ms.
    pub nv_increment_ms: u64,
    /// NV_DefineSpace, ms.
    pub nv_define_ms: u64,
    /// Any other command, ms.
    pub other_ms: u64,
}

const fn chip(name: &'static str, keygen: u64, sign: u64, verify: u64, ecdh: u64, rng: u64) -> ChipModel {
    ChipModel {
        name,
        ecc_keygen_ms: keygen,
        sign_ms: sign,
        verify_ms: verify,
        ecdh_ms: ecdh,
        rng_kib_per_s: rng,
        ..ChipModel::DEFAULTS
    }
}

impl ChipModel {
    /// The parameters that are published for no chip. Its ECC figures are nothing and must be given.
    pub const DEFAULTS: Self = Self {
        name: "defaults",
        ecc_keygen_ms: 0,
        sign_ms: 0,
        verify_ms: 0,
        ecdh_ms: 0,
        rng_kib_per_s: 14,
        load_ms: 25,
        context_load_ms: 12,
        policy_ms: 4,
        pcr_extend_ms: 8,
        nv_increment_ms: 20,
        nv_define_ms: 30,
        other_ms: 5,
    };
    /// Infineon SLB9670 on SPI.
    pub const SLB9670: Self = chip("slb9670", 231, 69, 114, 232, 14);
    /// Infineon SLB9672 on SPI.
    pub const SLB9672: Self = chip("slb9672", 136, 36, 24, 66, 22);
    /// ST33KTPM2X on SPI.
    pub const ST33KTPM2X: Self = chip("st33ktpm2x", 89, 25, 37, 66, 23);
    /// Nuvoton NPCT750 on SPI.
    pub const NPCT750: Self = chip("npct750", 84, 56, 39, 29, 14);
    /// The firmware TPM of a Jetson Orin (OP-TEE).
    pub const ORIN_FTPM: Self = chip("orin-ftpm", 120, 45, 32, 90, 562);
    /// All chips of which figures are published.
    pub const ALL: [Self; 5] = [
        Self::SLB9670,
        Self::SLB9672,
        Self::ST33KTPM2X,
        Self::NPCT750,
        Self::ORIN_FTPM,
    ];

    /// The chip of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|chip| chip.name == name)
    }

    /// How long the chip takes for `command`, whose response is `response`.
    pub fn duration(&self, command: &[u8], response: &[u8]) -> Duration {
        let code = command_code(command);
        match TpmCc::try_from(code.0) {
            Ok(TpmCc::GetRandom) => self.random(response),
            Ok(cc) => Duration::from_millis(self.milliseconds(cc, command)),
            Err(_) => Duration::from_millis(self.other_ms),
        }
    }

    fn milliseconds(&self, cc: TpmCc, command: &[u8]) -> u64 {
        match cc {
            TpmCc::Create | TpmCc::CreatePrimary | TpmCc::CreateLoaded => self.creation(command),
            TpmCc::Sign
            | TpmCc::Quote
            | TpmCc::Certify
            | TpmCc::CertifyCreation
            | TpmCc::NvCertify
            | TpmCc::GetTime
            | TpmCc::GetSessionAuditDigest
            | TpmCc::GetCommandAuditDigest => self.sign_ms,
            TpmCc::VerifySignature | TpmCc::PolicySigned => self.verify_ms,
            TpmCc::EcdhZGen | TpmCc::EcdhKeyGen | TpmCc::ActivateCredential | TpmCc::Import => self.ecdh_ms,
            TpmCc::StartAuthSession if is_salted(command) => self.ecdh_ms,
            TpmCc::Load => self.load_ms,
            TpmCc::ContextLoad => self.context_load_ms,
            TpmCc::PcrExtend => self.pcr_extend_ms,
            TpmCc::NvIncrement => self.nv_increment_ms,
            TpmCc::NvDefineSpace => self.nv_define_ms,
            cc if is_policy(cc) => self.policy_ms,
            _ => self.other_ms,
        }
    }

    fn creation(&self, command: &[u8]) -> u64 {
        const KEYED_HASH: u16 = 0x0008;
        const SYMMETRIC: u16 = 0x0025;
        match created_type(command) {
            Some(KEYED_HASH | SYMMETRIC) => self.load_ms,
            _ => self.ecc_keygen_ms,
        }
    }

    fn random(&self, response: &[u8]) -> Duration {
        // TPM2B size at its place after a header without sessions; a session's response has its size before it.
        let at = if response.starts_with(&[0x80, 0x02]) {
            HEADER + 4
        } else {
            HEADER
        };
        let bytes = u64::from(u16_at(response, at).unwrap_or(0));
        Duration::from_micros((bytes * 1_000_000).div_ceil(self.rng_kib_per_s.max(1) * 1024))
    }
}

/// Whether StartAuthSession names a key to salt the session with (its first handle is not TPM_RH_NULL).
fn is_salted(command: &[u8]) -> bool {
    command
        .get(HEADER..HEADER + 4)
        .is_some_and(|key| key != 0x4000_0007_u32.to_be_bytes())
}

/// Policy commands that neither check a signature nor make one.
fn is_policy(cc: TpmCc) -> bool {
    matches!(
        cc,
        TpmCc::PolicyPcr
            | TpmCc::PolicyNv
            | TpmCc::PolicyCounterTimer
            | TpmCc::PolicyCommandCode
            | TpmCc::PolicyAuthorize
            | TpmCc::PolicyAuthorizeNv
            | TpmCc::PolicyOr
            | TpmCc::PolicySecret
            | TpmCc::PolicyTicket
            | TpmCc::PolicyLocality
            | TpmCc::PolicyCpHash
            | TpmCc::PolicyNameHash
            | TpmCc::PolicyTemplate
            | TpmCc::PolicyDuplicationSelect
            | TpmCc::PolicyAuthValue
            | TpmCc::PolicyPassword
            | TpmCc::PolicyPhysicalPresence
            | TpmCc::PolicyNvWritten
            | TpmCc::PolicyGetDigest
            | TpmCc::PolicyRestart
    )
}

/// The type of what a Create, CreatePrimary or CreateLoaded makes: one handle, sessions, inSensitive, inPublic.
fn created_type(command: &[u8]) -> Option<u16> {
    let auth_at = HEADER + 4;
    let auth_size = usize::try_from(u32_at(command, auth_at)?).ok()?;
    let sensitive_at = auth_at.checked_add(4)?.checked_add(auth_size)?;
    let sensitive_size = usize::from(u16_at(command, sensitive_at)?);
    let public_at = sensitive_at.checked_add(2)?.checked_add(sensitive_size)?;
    u16_at(command, public_at.checked_add(2)?)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

/// What is done with a chip's latency.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum TimedMode {
    /// Each command really takes as long as on the chip (or as long as the simulator takes, when that is longer).
    Sleep,
    /// The time is only added up.
    Account,
}

/// The time a modelled chip has been busy, shared with a [`Timed`] transport.
#[derive(Clone, Default)]
pub struct ModelClock(Arc<Busy>);

#[derive(Default)]
struct Busy {
    chip_us: AtomicU64,
    inner_us: AtomicU64,
}

impl ModelClock {
    /// How long the chip would have been busy with all commands so far, swaps included.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.chip_us.load(Ordering::Relaxed))
    }

    /// How long the transport below really took. An operation on the chip takes
    /// `measured − inner + elapsed`.
    pub fn inner(&self) -> Duration {
        Duration::from_micros(self.0.inner_us.load(Ordering::Relaxed))
    }

    /// Starts from nothing again.
    pub fn reset(&self) {
        self.0.chip_us.store(0, Ordering::Relaxed);
        self.0.inner_us.store(0, Ordering::Relaxed);
    }

    fn add(&self, chip: Duration, inner: Duration) {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        self.0.chip_us.fetch_add(micros(chip), Ordering::Relaxed);
        self.0.inner_us.fetch_add(micros(inner), Ordering::Relaxed);
    }
}

/// A transport with the latencies of a modelled chip.
pub struct Timed<T> {
    inner: T,
    model: ChipModel,
    mode: TimedMode,
    clock: ModelClock,
    swaps: Option<Swaps>,
    busy_until: Option<Instant>,
}

impl<T: Transport> Timed<T> {
    /// Gives `inner` the latencies of `model`.
    pub fn new(inner: T, model: ChipModel, mode: TimedMode) -> Self {
        Self {
            inner,
            model,
            mode,
            clock: ModelClock::default(),
            swaps: None,
            busy_until: None,
        }
    }

    /// Also charges what the kernel's resource manager (`/dev/tpmrm0`) does around every command: it loads the
    /// contexts of all objects and sessions this descriptor holds, and saves them again after.
    #[must_use]
    pub fn with_kernel_swaps(mut self) -> Self {
        self.swaps = Some(Swaps::default());
        self
    }

    /// The chip's busy time, which lives on when the transport is handed to its owner thread.
    pub fn clock(&self) -> ModelClock {
        self.clock.clone()
    }

    /// How long the chip takes for this exchange.
    fn charge(&mut self, command: &[u8], response: &[u8]) -> Duration {
        let swapped = self
            .swaps
            .as_mut()
            .map_or(0, |swaps| swaps.exchange(command, response));
        let swap = Duration::from_millis(self.model.context_load_ms + self.model.other_ms);
        self.model.duration(command, response) + swap * swapped
    }

    /// As a chip does, refuses a command while an earlier one is still in progress.
    fn wait_until_free(&mut self, deadline: Instant) -> Result<(), TransportError> {
        let Some(until) = self.busy_until.take() else {
            return Ok(());
        };
        thread::sleep(until.min(deadline).saturating_duration_since(Instant::now()));
        if until > deadline {
            self.busy_until = Some(until);
            return Err(TransportError::Poisoned);
        }
        Ok(())
    }

    fn sleep_until(
        &mut self,
        begun: Instant,
        until: Instant,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        thread::sleep(until.min(deadline).saturating_duration_since(Instant::now()));
        if until > deadline {
            self.busy_until = Some(until);
            return Err(TransportError::DeadlineExceeded {
                after: begun.elapsed(),
            });
        }
        Ok(())
    }
}

impl<T: Transport> Transport for Timed<T> {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        response.clear();
        self.wait_until_free(deadline)?;
        let begun = Instant::now();
        self.inner.transmit(command, response, deadline)?;
        let inner = begun.elapsed();
        let chip = self.charge(command, response);
        self.clock.add(chip, inner);
        match self.mode {
            TimedMode::Account => Ok(()),
            TimedMode::Sleep => self
                .sleep_until(begun, begun + chip, deadline)
                .inspect_err(|_| response.clear()),
        }
    }

    fn canceller(&self) -> Option<Box<dyn Cancel>> {
        self.inner.canceller()
    }

    fn emergency(&mut self) -> Result<Option<Box<dyn Transport>>, TransportError> {
        let Some(inner) = self.inner.emergency()? else {
            return Ok(None);
        };
        Ok(Some(Box::new(Timed {
            inner,
            model: self.model,
            mode: self.mode,
            clock: self.clock.clone(),
            swaps: self.swaps.as_ref().map(|_| Swaps::default()),
            busy_until: None,
        })))
    }

    fn kind(&self) -> TransportKind {
        self.inner.kind()
    }
}

/// The command code, for the swap model.
pub(super) fn known_code(command: &[u8]) -> Option<TpmCc> {
    let CommandCode(code) = command_code(command);
    TpmCc::try_from(code).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(tag: u16, code: TpmCc, rest: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER + rest.len()).unwrap();
        [
            tag.to_be_bytes().as_slice(),
            &size.to_be_bytes(),
            &(code as u32).to_be_bytes(),
            rest,
        ]
        .concat()
    }

    fn create(object_type: u16) -> Vec<u8> {
        let auth = [0x40, 0, 0, 9, 0, 0, 1, 0, 0];
        let mut rest = vec![0x81, 0, 0, 1, 0, 0, 0, 9];
        rest.extend(auth);
        rest.extend([0, 4, 0, 0, 0, 0, 0, 8]);
        rest.extend(object_type.to_be_bytes());
        rest.extend([0, 11, 0, 0, 0, 0]);
        command(0x8002, TpmCc::Create, &rest)
    }

    #[test]
    fn each_command_costs_what_the_table_says() {
        let chip = ChipModel::SLB9672;
        let ms = |c: &[u8]| chip.duration(c, &[]).as_millis();
        assert_eq!(ms(&create(0x0023)), 136);
        assert_eq!(ms(&create(0x0008)), 25);
        assert_eq!(ms(&command(0x8002, TpmCc::Quote, &[])), 36);
        assert_eq!(ms(&command(0x8001, TpmCc::VerifySignature, &[])), 24);
        assert_eq!(ms(&command(0x8001, TpmCc::PolicyPcr, &[])), 4);
        assert_eq!(ms(&command(0x8002, TpmCc::PcrExtend, &[])), 8);
        assert_eq!(ms(&command(0x8002, TpmCc::NvIncrement, &[])), 20);
        assert_eq!(ms(&command(0x8002, TpmCc::NvDefineSpace, &[])), 30);
        assert_eq!(ms(&command(0x8001, TpmCc::ReadClock, &[])), 5);
        assert_eq!(
            ms(&command(
                0x8001,
                TpmCc::StartAuthSession,
                &0x4000_0007_u32.to_be_bytes()
            )),
            5
        );
        assert_eq!(
            ms(&command(
                0x8001,
                TpmCc::StartAuthSession,
                &0x8101_0001_u32.to_be_bytes()
            )),
            66
        );
        assert_eq!(ms(&[]), 5);
        let random = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16];
        assert_eq!(
            chip.duration(&command(0x8001, TpmCc::GetRandom, &[]), &random)
                .as_micros(),
            977
        );
        assert_eq!(ChipModel::from_name("slb9672"), Some(chip));
        assert_eq!(ChipModel::from_name("none"), None);
    }
}
