//! Recording parts for the stop's tests: each writes down when it was called and can be told to fail or hang.
#![allow(dead_code, unreachable_pub)]

pub mod busy;
pub mod drive;
pub mod fleet;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alcub3_crypto::{Digest, HashAlg};
use alcub3_security_hal::{
    AuditSink, Gates, MadeReceipt, MissionKeys, PlatformAdapter, PortError, ReceiptMaker, SecretVault,
    StepRecord, StopIntent, StopJournal, StopLimits, StopOrder, StopParts, StopReport, StopScope,
    SystemClock, TpmLockOutcome, Zeroizer,
};
use alcub3_trust_model::{RobotId, StopCause, StopId};

/// What a part does when it is called.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Manner {
    Work,
    Fail,
    Panic,
    Hang,
}

/// Everything the parts were asked, in the order they were asked.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|other| *other == line).count()
    }
}

/// One recording part, for any of the traits.
pub struct Part {
    pub name: &'static str,
    pub manner: Manner,
    pub diary: Diary,
    pub gates: Arc<Gates>,
}

impl Part {
    fn act(&self, what: &str, scope: &StopScope) -> Result<(), PortError> {
        let closed = match scope {
            StopScope::Robot => self.gates.is_robot_stopped(),
            StopScope::Level(level) => self.gates.is_level_stopped(*level),
            StopScope::Mission(mission, _) => self.gates.is_mission_stopped(*mission),
        };
        assert!(closed, "{what} was called while the gate was open");
        self.diary.write(what);
        match self.manner {
            Manner::Work => Ok(()),
            Manner::Fail => Err(format!("{what} fails on purpose").into()),
            Manner::Panic => panic!("{what} panics on purpose"),
            Manner::Hang => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
        }
    }
}

impl PlatformAdapter for Part {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn stop(&mut self, order: &StopOrder) -> Result<(), PortError> {
        self.act(self.name, &order.scope)
    }
}

impl SecretVault for Part {
    fn wipe(&mut self, scope: &StopScope) -> Result<u64, PortError> {
        self.act("wipe", scope).map(|()| 1)
    }
}

impl Zeroizer for Part {
    fn extend(&mut self, intent: &StopIntent) -> Result<Digest, PortError> {
        self.act("extend", &intent.order().scope)
            .map(|()| intent.event_digest(HashAlg::Sha256))
    }

    fn increment(&mut self, intent: &StopIntent) -> Result<Option<u64>, PortError> {
        self.act("increment", &intent.order().scope).map(|()| Some(5))
    }
}

impl MissionKeys for Part {
    fn flush_loaded(&mut self, scope: &StopScope) -> Result<u64, PortError> {
        self.act("flush", scope).map(|()| 1)
    }

    fn delete_blobs(&mut self, scope: &StopScope) -> Result<u64, PortError> {
        self.act("delete", scope).map(|()| 1)
    }
}

impl StopJournal for Part {
    fn begin(&mut self, intent: &StopIntent) -> Result<(), PortError> {
        self.act("begin", &intent.order().scope)
    }

    fn finish(&mut self, intent: &StopIntent) -> Result<(), PortError> {
        self.act("finish", &intent.order().scope)
    }

    fn unfinished(&mut self) -> Result<Vec<StopIntent>, PortError> {
        self.act("unfinished", &StopScope::Robot).map(|()| Vec::new())
    }
}

impl ReceiptMaker for Part {
    fn receipt(
        &mut self,
        intent: &StopIntent,
        lock: &TpmLockOutcome,
        _: &[StepRecord],
    ) -> Result<MadeReceipt, PortError> {
        self.act("receipt", &intent.order().scope)
            .map(|()| receipt(lock.is_done()))
    }
}

/// A receipt that proves the TPM part or does not.
pub fn receipt(proves_lock: bool) -> MadeReceipt {
    MadeReceipt {
        bytes: b"receipt".to_vec(),
        proves_lock,
        lacks: if proves_lock { vec![] } else { vec!["pcr-extended"] },
    }
}

impl AuditSink for Part {
    fn stopped(&mut self, report: &StopReport) -> Result<(), PortError> {
        self.act("audit", &report.scope)
    }
}

/// A robot made of recording parts.
pub struct Robot {
    pub gates: Arc<Gates>,
    pub diary: Diary,
    pub manners: Vec<(&'static str, Manner)>,
    pub adapters: Vec<&'static str>,
}

impl Robot {
    pub fn new() -> Self {
        let adapters = vec!["adapter-a", "adapter-b"];
        Self {
            gates: Arc::new(Gates::new_closed()),
            diary: Diary::default(),
            manners: Vec::new(),
            adapters,
        }
    }

    pub fn with(mut self, part: &'static str, manner: Manner) -> Self {
        self.manners.push((part, manner));
        self
    }

    pub fn part(&self, name: &'static str) -> Box<Part> {
        let manner = self
            .manners
            .iter()
            .find(|(part, _)| *part == name)
            .map_or(Manner::Work, |(_, manner)| *manner);
        Box::new(Part {
            name,
            manner,
            diary: self.diary.clone(),
            gates: Arc::clone(&self.gates),
        })
    }

    pub fn parts(&self) -> StopParts {
        StopParts {
            adapters: self
                .adapters
                .iter()
                .map(|name| self.part(name) as Box<dyn PlatformAdapter>)
                .collect(),
            vault: self.part("vault"),
            journal: self.part("journal"),
            zeroizer: self.part("tpm"),
            keys: self.part("keys"),
            receipts: self.part("receipts"),
            audit: self.part("audit"),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

/// Limits short enough for tests of what hangs, long enough for a busy machine.
pub fn short_limits() -> StopLimits {
    let limit = Duration::from_millis(300);
    StopLimits {
        memory: limit,
        journal: limit,
        tpm: limit,
        keys: limit,
        receipt: limit,
        audit: limit,
        adapters: limit,
    }
}

pub fn order(number: u8, scope: StopScope) -> StopOrder {
    StopOrder {
        stop: StopId::new([number; 16]),
        robot: RobotId::new("rover-1").unwrap(),
        scope,
        cause: StopCause::ManualTrigger,
        called_utc_ms: 1_790_000_000_000,
    }
}

/// A door that a part can be made to wait at.
pub fn door() -> (Sender<()>, Receiver<()>) {
    channel()
}
