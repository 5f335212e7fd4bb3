//! An attacker on the bus between a caller and its TPM: hears everything, changes what it was told to.

use alcub3_tpm::CommandCode;
use alcub3_tpm::transport::{Cancel, Transport, TransportError, TransportKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Which commands an attack is for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum When {
    /// The n-th command over the bus, from 0.
    Ordinal(u64),
    /// Every command with this code.
    Code(CommandCode),
    /// The next command with this code, once.
    NextOf(CommandCode),
    /// Every command.
    Always,
}

/// What is done to an exchange.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attack {
    /// Inverts this bit of the response (bit 0 is the highest of the first byte); beyond its end, nothing.
    FlipBit(usize),
    /// Inverts this bit of the command before the TPM gets it.
    FlipCommandBit(usize),
    /// Cuts the response to this many bytes; its size field stays as it was.
    Truncate(usize),
    /// Adds these bytes to the response; its size field stays as it was.
    Extend(Vec<u8>),
    /// Gives an earlier response to a command with the same code; the TPM does the new command unheard.
    ReplayEarlier,
    /// Delays the response by this long.
    Delay(Duration),
    /// Lets the TPM do the command and keeps the response: the caller's deadline passes.
    DropResponse,
    /// Keeps the command from the TPM: the caller's deadline passes.
    DropCommand,
    /// Keeps the command from the TPM and answers success, with these response parameters and with as many
    /// sessions as the command had, none of which can be authentic.
    FakeSuccess(Vec<u8>),
    /// Keeps the command from the TPM and answers this response code.
    ErrorCode(u32),
    /// Keeps the command from the TPM and gives these bytes as the response.
    Answer(Vec<u8>),
}

/// A command and what the caller got for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Passed {
    /// The command as the caller sent it.
    pub command: Vec<u8>,
    /// The TPM's own response, where the command reached it.
    pub genuine: Option<Vec<u8>>,
    /// The response the caller got, where it got one.
    pub given: Option<Vec<u8>>,
}

/// A transport under attack.
pub struct Hostile<T> {
    inner: T,
    bus: Bus,
}

impl<T: Transport> Hostile<T> {
    /// Puts an attacker before `inner`, who only listens until told otherwise over [`bus`](Self::bus).
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            bus: Bus::default(),
        }
    }

    /// The attacker, who lives on when the transport is handed to its owner thread.
    pub fn bus(&self) -> Bus {
        self.bus.clone()
    }
}

/// The attacker on a [`Hostile`] transport and on its emergency descriptor.
#[derive(Clone, Default)]
pub struct Bus(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    plan: Vec<(When, Attack)>,
    passed: Vec<Passed>,
    begun: u64,
    attacked: u64,
}

impl Bus {
    /// From now on does this to such commands. Several attacks on one command are done in the order given.
    pub fn attack(&self, when: When, attack: Attack) {
        self.inner().plan.push((when, attack));
    }

    /// Only listens again.
    pub fn relent(&self) {
        self.inner().plan.clear();
    }

    /// How many commands were attacked so far; a test that expects a refusal asserts that there was an attack.
    pub fn attacked(&self) -> u64 {
        self.inner().attacked
    }

    /// How many commands were sent so far: the next one's ordinal.
    pub fn sent(&self) -> u64 {
        self.inner().begun
    }

    /// Everything that has passed, in order.
    pub fn traffic(&self) -> Vec<Passed> {
        self.inner().passed.clone()
    }

    /// Whether `secret` crossed the bus in the clear, in a command or in a response of the TPM.
    pub fn carried(&self, secret: &[u8]) -> bool {
        let holds = |bytes: &[u8]| !secret.is_empty() && bytes.windows(secret.len()).any(|w| w == secret);
        let inner = self.inner();
        inner
            .passed
            .iter()
            .any(|p| holds(&p.command) || p.genuine.as_deref().is_some_and(holds))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attacks on the next command.
    fn plan_for(&self, command: &[u8]) -> Vec<Attack> {
        let code = code_of(command);
        let mut inner = self.inner();
        let ordinal = inner.begun;
        inner.begun += 1;
        let mut chosen = Vec::new();
        inner.plan.retain(|(when, attack)| {
            let hit = match when {
                When::Ordinal(n) => *n == ordinal,
                When::Code(c) | When::NextOf(c) => *c == code,
                When::Always => true,
            };
            if hit {
                chosen.push(attack.clone());
            }
            !(hit && matches!(when, When::NextOf(_)))
        });
        inner.attacked += u64::from(!chosen.is_empty());
        chosen
    }

    fn earlier_response(&self, command: &[u8]) -> Option<Vec<u8>> {
        let code = code_of(command);
        let inner = self.inner();
        let earlier = inner.passed.iter().rev().filter(|p| code_of(&p.command) == code);
        earlier.filter_map(|p| p.genuine.clone()).next()
    }

    fn note(&self, command: &[u8], genuine: Option<Vec<u8>>, given: Option<&[u8]>) {
        let given = given.map(<[u8]>::to_vec);
        self.inner().passed.push(Passed {
            command: command.to_vec(),
            genuine,
            given,
        });
    }
}

impl<T: Transport> Transport for Hostile<T> {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        response.clear();
        let plan = self.bus.plan_for(command);
        let forged = plan.iter().find_map(|attack| forge(attack, command));
        let reaches = forged.is_none() && !plan.contains(&Attack::DropCommand);
        let genuine = if reaches {
            self.inner
                .transmit(&tampered(command, &plan), response, deadline)?;
            Some(response.clone())
        } else {
            None
        };
        *response = forged.unwrap_or_else(|| std::mem::take(response));
        let result = self.deliver(&plan, command, response, deadline);
        self.bus
            .note(command, genuine, result.is_ok().then_some(response.as_slice()));
        result.inspect_err(|_| response.clear())
    }

    fn canceller(&self) -> Option<Box<dyn Cancel>> {
        self.inner.canceller()
    }

    fn emergency(&mut self) -> Result<Option<Box<dyn Transport>>, TransportError> {
        let second = self.inner.emergency()?;
        Ok(second.map(|inner| {
            Box::new(Hostile {
                inner,
                bus: self.bus.clone(),
            }) as Box<dyn Transport>
        }))
    }

    fn kind(&self) -> TransportKind {
        self.inner.kind()
    }
}

impl<T: Transport> Hostile<T> {
    /// Does to the response what the plan says; an error when the caller gets none.
    fn deliver(
        &self,
        plan: &[Attack],
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        let begun = Instant::now();
        for attack in plan {
            match attack {
                Attack::FlipBit(bit) => flip(response, *bit),
                Attack::Truncate(length) => response.truncate(*length),
                Attack::Extend(junk) => response.extend_from_slice(junk),
                Attack::ReplayEarlier => {
                    if let Some(earlier) = self.bus.earlier_response(command) {
                        *response = earlier;
                    }
                }
                Attack::Delay(time) => {
                    let until = begun + *time;
                    thread::sleep(until.min(deadline).saturating_duration_since(begun));
                    if until > deadline {
                        return Err(TransportError::DeadlineExceeded {
                            after: begun.elapsed(),
                        });
                    }
                }
                Attack::DropResponse | Attack::DropCommand => {
                    thread::sleep(deadline.saturating_duration_since(begun));
                    return Err(TransportError::DeadlineExceeded {
                        after: begun.elapsed(),
                    });
                }
                Attack::FlipCommandBit(_)
                | Attack::FakeSuccess(_)
                | Attack::ErrorCode(_)
                | Attack::Answer(_) => {}
            }
        }
        Ok(())
    }
}

/// A response that the TPM has no part in.
fn forge(attack: &Attack, command: &[u8]) -> Option<Vec<u8>> {
    match attack {
        Attack::FakeSuccess(parameters) => Some(fake_success(command, parameters)),
        Attack::ErrorCode(code) => Some(message(0x8001, *code, &[])),
        Attack::Answer(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

fn tampered(command: &[u8], plan: &[Attack]) -> Vec<u8> {
    let mut command = command.to_vec();
    for attack in plan {
        if let Attack::FlipCommandBit(bit) = attack {
            flip(&mut command, *bit);
        }
    }
    command
}

fn flip(bytes: &mut [u8], bit: usize) {
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 0x80 >> (bit % 8);
    }
}

/// A well-formed success for `command` by someone without its sessions' keys: nonces and HMACs of zeros.
fn fake_success(command: &[u8], parameters: &[u8]) -> Vec<u8> {
    let sessions = sessions_of(command);
    if sessions == 0 {
        return message(0x8001, 0, parameters);
    }
    let size = u32::try_from(parameters.len()).unwrap_or(u32::MAX);
    let mut body = [&size.to_be_bytes(), parameters].concat();
    for _ in 0..sessions {
        body.extend([0, 32]);
        body.extend([0; 32]);
        body.extend([1, 0, 32]);
        body.extend([0; 32]);
    }
    message(0x8002, 0, &body)
}

/// How many sessions the command carries (TPM 2.0 Part 1, 18.6.2).
fn sessions_of(command: &[u8]) -> usize {
    let u16_at = |at: usize| Some(u16::from_be_bytes(command.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_be_bytes(command.get(at..at + 4)?.try_into().ok()?));
    if u16_at(0) != Some(0x8002) {
        return 0;
    }
    let area = 10 + 4 * code_of(command).shape().handles.len();
    let Some(size) = u32_at(area).and_then(|size| usize::try_from(size).ok()) else {
        return 0;
    };
    let (mut at, mut count) = (area + 4, 0);
    while at < (area + 4).saturating_add(size) {
        let Some(nonce) = u16_at(at + 4) else { break };
        let hmac_at = at + 6 + usize::from(nonce) + 1;
        let Some(hmac) = u16_at(hmac_at) else { break };
        at = hmac_at + 2 + usize::from(hmac);
        count += 1;
    }
    count
}

fn message(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(10 + body.len()).unwrap_or(u32::MAX);
    [
        tag.to_be_bytes().as_slice(),
        &size.to_be_bytes(),
        &code.to_be_bytes(),
        body,
    ]
    .concat()
}

fn code_of(command: &[u8]) -> CommandCode {
    let code = command
        .get(6..10)
        .and_then(|field| <[u8; 4]>::try_from(field).ok());
    CommandCode(code.map(u32::from_be_bytes).unwrap_or_default())
}
