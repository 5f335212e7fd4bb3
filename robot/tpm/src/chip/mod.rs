//! One TPM, owned by one thread: every command of every operation passes through [`Chip`].

mod exchange;
mod frame;
mod protection;
mod slotting;

use crate::command::CommandCode;
use crate::executor::Preempt;
use crate::policy_session::PolicySession;
use crate::slots::{GUARANTEED_SLOTS, Object, SlotUsage, Slots};
use crate::transport::{Transport, TransportKind};
use crate::{OsEntropy, Result, TpmError};
use alcub3_crypto::tpm::{Name, Public};
use alcub3_crypto::{Entropy, HashAlg, Secret};
pub(crate) use protection::HmacSession;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tpm2_protocol::frame::{TpmFrame, TpmHeader, TpmUnmarshalBody};
use tpm2_protocol::{TpmWriter, constant::TPM_MAX_COMMAND_SIZE};

/// The entity at one handle of a command.
#[derive(Copy, Clone, Debug)]
pub enum Target<'a> {
    /// A hierarchy, a PCR or TPM_RH_NULL: its handle is its Name.
    Handle(u32),
    /// A persistent object or NV index, whose Name the caller knows.
    Named(u32, &'a Name),
    /// A transient object.
    Object(&'a Object),
    /// A policy session as the subject of a command.
    Session(&'a PolicySession),
}

impl Target<'_> {
    /// Whether the chip needs an object slot to use it (TPM 2.0 Part 1, 37: persistent objects are loaded to be used).
    fn is_persistent_object(&self) -> bool {
        matches!(self, Self::Named(handle, _) if handle >> 24 == 0x81)
    }
}

/// How one handle of a command is authorised.
#[derive(Copy, Clone, Debug)]
pub enum Auth<'a> {
    /// By an empty authorisation value.
    Empty,
    /// By an authorisation value, proven by HMAC and never sent.
    Value(&'a Secret),
    /// By an authorisation value that this very command replaces, so that the answer is keyed by the new one.
    Changing {
        /// The value before.
        from: &'a Secret,
        /// The value after.
        to: &'a Secret,
    },
    /// By a policy session.
    Policy(&'a PolicySession),
    /// By a policy session whose policy contains PolicyAuthValue.
    PolicyWithValue(&'a PolicySession, &'a Secret),
}

impl Auth<'_> {
    /// Whether it proves knowledge of a value that could be wrong.
    fn proves_a_value(&self) -> bool {
        matches!(
            self,
            Self::Value(_) | Self::Changing { .. } | Self::PolicyWithValue(..)
        )
    }
}

/// Which first parameter crosses the bus encrypted.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Default)]
pub enum Protect {
    /// Neither; the command is still authenticated.
    #[default]
    Integrity,
    /// The command's.
    In,
    /// The response's.
    Out,
    /// Both.
    Both,
    /// No session at all: only to learn a Name, which the next, protected command then confirms or the chip refuses.
    Bare,
}

impl Protect {
    fn decrypt_in(self) -> bool {
        matches!(self, Self::In | Self::Both)
    }

    fn encrypt_out(self) -> bool {
        matches!(self, Self::Out | Self::Both)
    }
}

/// A key in the chip that sessions are salted to, so that only the chip can know the session key.
#[derive(Clone, Debug)]
pub struct SaltKey {
    /// Its persistent handle.
    pub handle: u32,
    /// Its public area; the Name is what provisioning pinned.
    pub public: Public,
}

/// Settings of one chip.
#[derive(Clone, Debug)]
pub struct ChipOptions {
    /// Hash of sessions: SHA-256, or SHA-384 where the suite asks for it.
    pub session_hash: HashAlg,
    /// AES key length of parameter encryption, in bits.
    pub cipher_bits: u16,
    /// How long one command may take when its operation has no deadline of its own.
    pub command_timeout: Duration,
    /// Object slots to use at most.
    pub object_slots: usize,
    /// Loaded sessions to use at most, the reserved ones included.
    pub session_slots: usize,
    /// How far the context counter may run before an idle saved session is refreshed.
    pub context_gap_refresh: u64,
}

impl Default for ChipOptions {
    fn default() -> Self {
        Self {
            session_hash: HashAlg::Sha256,
            cipher_bits: 128,
            command_timeout: Duration::from_secs(30),
            object_slots: GUARANTEED_SLOTS,
            session_slots: GUARANTEED_SLOTS,
            // The least TPM_PT_CONTEXT_GAP_MAX a chip may have is 2^8 - 1 (TPM 2.0 Part 2, 6.13).
            context_gap_refresh: 200,
        }
    }
}

/// Which job the owner thread is doing: bounds every command it sends.
#[derive(Clone)]
pub(crate) struct JobContext {
    pub(crate) lane: crate::Lane,
    pub(crate) deadline: Option<Instant>,
    /// Whether a command that the chip puts off is waited for and sent again.
    pub(crate) waits: bool,
    pub(crate) cancelled: Option<Arc<AtomicBool>>,
}

/// One TPM and everything this process keeps in it.
pub struct Chip {
    channel: Box<dyn Transport>,
    emergency_channel: Option<Box<dyn Transport>>,
    options: ChipOptions,
    slots: Slots,
    salt_key: Option<SaltKey>,
    kept_session: Option<HmacSession>,
    emergency_session: Option<HmacSession>,
    /// A protecting session is being started, so the command that starts it cannot carry it.
    pub(crate) starting_session: bool,
    /// Something may have been left in the chip: look before the next operation.
    needs_sweep: bool,
    pub(crate) job: JobContext,
    pub(crate) preempt: Option<Arc<dyn Preempt>>,
    pub(crate) cache: crate::ops::Cache,
    entropy: OsEntropy,
}

/// What came back from a command: its response handle, if it has one, and its parameters.
pub(crate) struct Reply {
    pub(crate) handle: Option<u32>,
    pub(crate) parameters: zeroize::Zeroizing<Vec<u8>>,
}

impl Chip {
    /// Takes ownership of a channel. No command is sent before the first operation.
    ///
    /// # Errors
    /// The transport's, if its emergency descriptor cannot be opened.
    pub fn new(mut channel: Box<dyn Transport>, options: ChipOptions) -> Result<Self> {
        let emergency_channel = channel.emergency()?;
        let needs_sweep = channel.kind() != TransportKind::DeviceResourceManager;
        Ok(Self {
            channel,
            emergency_channel,
            options,
            slots: Slots::default(),
            salt_key: None,
            kept_session: None,
            emergency_session: None,
            starting_session: false,
            needs_sweep,
            job: JobContext {
                lane: crate::Lane::Background,
                deadline: None,
                waits: true,
                cancelled: None,
            },
            preempt: None,
            cache: crate::ops::Cache::default(),
            entropy: OsEntropy,
        })
    }

    /// Whether evidence made here comes from a simulator.
    pub fn is_simulator(&self) -> bool {
        self.channel.kind().is_simulator()
    }

    /// What kind of channel leads to the chip.
    pub fn channel_kind(&self) -> TransportKind {
        self.channel.kind()
    }

    /// The settings in force.
    pub fn options(&self) -> &ChipOptions {
        &self.options
    }

    /// Slots this process occupies now.
    pub fn slot_usage(&self) -> SlotUsage {
        self.slots.usage()
    }

    /// The key sessions are salted to, once pinned.
    pub fn salt_key(&self) -> Option<&SaltKey> {
        self.salt_key.as_ref()
    }

    /// Randomness for nonces and ephemeral keys.
    pub(crate) fn entropy(&mut self) -> &mut OsEntropy {
        &mut self.entropy
    }

    pub(crate) fn random_nonce(&mut self) -> Result<crate::session::Nonce> {
        let mut bytes = [0; crate::session::NONCE_LEN];
        self.entropy.fill(&mut bytes).map_err(TpmError::Entropy)?;
        crate::session::Nonce::from_slice(&bytes).ok_or(TpmError::Encode {
            command: CommandCode(0),
            what: "the nonce",
        })
    }

    /// Runs one typed command.
    pub(crate) fn call<C, R>(
        &mut self,
        command: &C,
        targets: &[Target<'_>],
        auths: &[Auth<'_>],
        protect: Protect,
    ) -> Result<R>
    where
        C: TpmFrame + TpmHeader,
        R: TpmUnmarshalBody,
    {
        let code = CommandCode::of(C::CC);
        let mut buffer = [0; TPM_MAX_COMMAND_SIZE];
        let mut writer = TpmWriter::new(&mut buffer);
        command
            .marshal_parameters(&mut writer)
            .map_err(|_| TpmError::Encode {
                command: code,
                what: "a parameter",
            })?;
        let reply = self.call_raw(code, targets, auths, protect, writer.as_bytes())?;
        let handle = reply.handle.map(u32::to_be_bytes);
        let handles = handle.as_ref().map(|h| &h[..]).unwrap_or_default();
        R::unmarshal_body(handles, &reply.parameters).map_err(|_| TpmError::Malformed {
            command: code,
            part: "the parameters",
        })
    }

    /// Runs one command whose parameters are already encoded; the way for parameters that are secrets.
    pub(crate) fn call_raw(
        &mut self,
        code: CommandCode,
        targets: &[Target<'_>],
        auths: &[Auth<'_>],
        protect: Protect,
        parameters: &[u8],
    ) -> Result<Reply> {
        self.yield_to_higher_lanes()?;
        self.free_dropped_slots();
        self.sweep_if_needed();
        self.exchange(code, targets, auths, protect, parameters)
    }

    /// Lets waiting operations of higher lanes run between two commands, then checks that this one may go on.
    fn yield_to_higher_lanes(&mut self) -> Result<()> {
        self.run_preempting_jobs();
        if self
            .job
            .cancelled
            .as_ref()
            .is_some_and(|c| c.load(Ordering::Acquire))
        {
            return Err(TpmError::Cancelled);
        }
        Ok(())
    }

    pub(crate) fn run_preempting_jobs(&mut self) {
        let Some(preempt) = self.preempt.clone() else {
            return;
        };
        while let Some(job) = preempt.next_above(self.job.lane) {
            job(self);
        }
    }

    fn in_emergency(&self) -> bool {
        self.job.lane == crate::Lane::Emergency
    }
}

impl std::fmt::Debug for Chip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chip")
            .field("channel", &self.channel.kind())
            .field("slots", &self.slots.usage())
            .finish_non_exhaustive()
    }
}
