//! Crashes of the chip at a chosen command, and what must be the same after every one of them.
#![allow(dead_code, missing_docs, unreachable_pub)]

use crate::support::Life;
use alcub3_testkit::Swtpm;
use alcub3_tpm::Chip;
use alcub3_tpm::transport::{SwtpmControl, Transport, TransportError, TransportKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Whether the TPM has done the command at which it dies.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Side {
    Before,
    After,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Before, Self::After];

    pub fn of(round: usize) -> Self {
        if round.is_multiple_of(2) {
            Self::Before
        } else {
            Self::After
        }
    }
}

/// Which commands are counted towards the crash.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Among {
    All,
    /// Those that change something in the chip that outlives its power.
    Lasting,
}

#[derive(Copy, Clone, Debug)]
struct Plan {
    left: u64,
    side: Side,
    among: Among,
}

/// Pulls the trigger of a [`Dying`] transport.
#[derive(Clone, Default)]
pub struct Trigger(Arc<Inner>);

#[derive(Default)]
struct Inner {
    plan: Mutex<Option<Plan>>,
    fired: AtomicBool,
    sent: AtomicU64,
}

impl Trigger {
    /// From now on the `ordinal`-th command, from 0, of those among which it counts, is the one at which swtpm dies.
    pub fn arm(&self, ordinal: u64, side: Side, among: Among) {
        let plan = Plan {
            left: ordinal,
            side,
            among,
        };
        *self.0.plan.lock().unwrap() = Some(plan);
        self.0.fired.store(false, Ordering::SeqCst);
        self.0.sent.store(0, Ordering::SeqCst);
    }

    /// Disarms it and says whether it had fired.
    pub fn fired(&self) -> bool {
        *self.0.plan.lock().unwrap() = None;
        self.0.fired.load(Ordering::SeqCst)
    }

    /// Commands since it was armed.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::SeqCst)
    }

    fn dies_at(&self, command: &[u8]) -> Option<Side> {
        self.0.sent.fetch_add(1, Ordering::SeqCst);
        let mut slot = self.0.plan.lock().unwrap();
        let plan = slot.as_mut()?;
        if plan.among == Among::Lasting && !is_lasting(command) {
            return None;
        }
        if plan.left > 0 {
            plan.left -= 1;
            return None;
        }
        let side = plan.side;
        *slot = None;
        self.0.fired.store(true, Ordering::SeqCst);
        Some(side)
    }
}

/// EvictControl, Clear, HierarchyChangeAuth, NV_DefineSpace, NV_UndefineSpace, SetPrimaryPolicy, NV_Increment, NV_Extend,
/// NV_Write, PCR_Extend.
fn is_lasting(command: &[u8]) -> bool {
    const LASTING: [u32; 10] = [
        0x120, 0x126, 0x129, 0x12a, 0x122, 0x12e, 0x134, 0x136, 0x137, 0x182,
    ];
    let code: [u8; 4] = command[6..10].try_into().unwrap();
    LASTING.contains(&u32::from_be_bytes(code))
}

/// A transport whose swtpm is killed (SIGKILL) when its trigger says so; its emergency descriptor counts too.
pub struct Dying {
    inner: Box<dyn Transport>,
    control: SwtpmControl,
    trigger: Trigger,
}

impl Dying {
    pub fn new(swtpm: &Swtpm) -> (Self, Trigger) {
        let trigger = Trigger::default();
        let inner = Box::new(swtpm.transport());
        let (control, given) = (swtpm.control(), trigger.clone());
        (
            Self {
                inner,
                control,
                trigger: given,
            },
            trigger,
        )
    }
}

impl Transport for Dying {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        let side = self.trigger.dies_at(command);
        if side == Some(Side::Before) {
            self.control.kill()?;
        }
        self.inner.transmit(command, response, deadline)?;
        if side == Some(Side::After) {
            self.control.kill()?;
            response.clear();
            return Err(TransportError::Disconnected);
        }
        Ok(())
    }

    fn emergency(&mut self) -> Result<Option<Box<dyn Transport>>, TransportError> {
        let inner = self.inner.emergency()?;
        Ok(inner.map(|inner| {
            let (control, trigger) = (self.control.clone(), self.trigger.clone());
            Box::new(Self {
                inner,
                control,
                trigger,
            }) as Box<dyn Transport>
        }))
    }

    fn kind(&self) -> TransportKind {
        self.inner.kind()
    }
}

/// What a chip holds for whom, and what room it says is left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Room {
    pub nv: Vec<u32>,
    pub persistent: Vec<u32>,
    /// Transient objects, loaded sessions, saved sessions.
    pub volatile: [usize; 3],
    /// TPM_PT_HR_NV_INDEX to TPM_PT_NV_COUNTERS_AVAIL (TPM 2.0 Part 2, 6.13).
    pub properties: Vec<(u32, u32)>,
}

impl Room {
    pub fn of(chip: &mut Chip) -> alcub3_tpm::Result<Self> {
        chip.flush_dropped()?;
        let mut count = |range: u32| chip.tpm_handles_in(range);
        let volatile = [count(0x8000_0000)?, count(0x0200_0000)?, count(0x0300_0000)?];
        Ok(Self {
            nv: chip.handles(0x0100_0000)?,
            persistent: chip.handles(0x8100_0000)?,
            volatile,
            properties: chip.tpm_properties(0x202, 0x20b)?.into_iter().collect(),
        })
    }
}

/// `Chip::handles` by number.
trait HandleCount {
    fn tpm_handles_in(&mut self, range: u32) -> alcub3_tpm::Result<usize>;
}

impl HandleCount for Chip {
    fn tpm_handles_in(&mut self, range: u32) -> alcub3_tpm::Result<usize> {
        self.handles(range).map(|handles| handles.len())
    }
}

impl Life {
    pub fn room(&self) -> Room {
        self.chip(Room::of).unwrap()
    }
}
