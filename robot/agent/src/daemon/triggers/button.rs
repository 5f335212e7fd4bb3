//! A button: a key of an input device of the kernel (evdev), which is pressed.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Weak;
use std::time::Duration;

use alcub3_trust_model::StopCause;
use serde::Deserialize;

use crate::daemon::stopper::Stopper;

/// The kernel's `struct input_event`: a time of two longs, then type, code and value.
const TIME: usize = 2 * size_of::<core::ffi::c_long>();
const EVENT: usize = TIME + 8;
/// The type of keys and buttons.
const EV_KEY: u16 = 1;
/// The value of one that goes down.
const DOWN: i32 = 1;
/// How soon a device that is not there is looked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// A button that stops the robot.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Button {
    /// What it is called on record.
    pub name: String,
    /// Its input device: `/dev/input/by-path/…`.
    pub device: PathBuf,
    /// The number of its key (`KEY_…` or `BTN_…` of the kernel's input-event-codes); any key of the device where it is left out.
    pub key: Option<u16>,
    /// What it means that the device is not there.
    #[serde(default)]
    pub when_lost: WhenLost,
}

/// What it means that a button is not there.
#[derive(Copy, Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum WhenLost {
    /// The robot does not run without it: it is stopped, and again whenever it is armed.
    #[default]
    Stop,
    /// It is said in the agent's own log alone.
    Record,
}

impl Button {
    /// Reads the device until the stopper is gone; one that is lost is looked for again.
    pub(super) fn watch(&self, stopper: &Weak<Stopper>) {
        let mut was_lost = false;
        while stopper.strong_count() > 0 {
            match File::open(&self.device) {
                Ok(device) => {
                    let ended = self.read(device, stopper);
                    tracing::error!(button = self.name, error = %ended, "the stop button is lost");
                }
                Err(error) if !was_lost => {
                    tracing::error!(button = self.name, device = %self.device.display(), %error, "the stop button is not there");
                }
                Err(_) => {}
            }
            was_lost = true;
            self.is_lost(stopper);
            std::thread::sleep(AGAIN);
        }
    }

    fn is_lost(&self, stopper: &Weak<Stopper>) {
        if self.when_lost == WhenLost::Stop
            && let Some(stopper) = stopper.upgrade()
            && stopper.is_running()
        {
            stopper.stop_for(
                StopCause::SystemFailure,
                &format!("the loss of button {}", self.name),
            );
        }
    }

    fn read(&self, mut device: File, stopper: &Weak<Stopper>) -> io::Error {
        let mut event = [0; EVENT];
        loop {
            if let Err(error) = device.read_exact(&mut event) {
                return error;
            }
            if !self.is_pressed(&event) {
                continue;
            }
            match stopper.upgrade() {
                Some(stopper) => stopper.stop_for(StopCause::ManualTrigger, &format!("button {}", self.name)),
                None => return io::ErrorKind::NotConnected.into(),
            }
        }
    }

    fn is_pressed(&self, event: &[u8; EVENT]) -> bool {
        let (_, what) = event.split_at(TIME);
        let [kind0, kind1, code0, code1, value @ ..] = what else {
            return false;
        };
        let value = <[u8; 4]>::try_from(value).map_or(0, i32::from_ne_bytes);
        let (kind, code) = (
            u16::from_ne_bytes([*kind0, *kind1]),
            u16::from_ne_bytes([*code0, *code1]),
        );
        kind == EV_KEY && value == DOWN && self.key.is_none_or(|key| key == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, code: u16, value: i32) -> [u8; EVENT] {
        let mut event = [0; EVENT];
        event[TIME..TIME + 2].copy_from_slice(&kind.to_ne_bytes());
        event[TIME + 2..TIME + 4].copy_from_slice(&code.to_ne_bytes());
        event[TIME + 4..].copy_from_slice(&value.to_ne_bytes());
        event
    }

    #[test]
    fn its_key_going_down_is_a_press_and_nothing_else_is() {
        let button = |key| Button {
            name: "cabinet".to_owned(),
            device: PathBuf::new(),
            key,
            when_lost: WhenLost::Stop,
        };
        assert!(button(Some(148)).is_pressed(&event(EV_KEY, 148, 1)));
        assert!(button(None).is_pressed(&event(EV_KEY, 30, 1)));
        for (kind, code, value) in [
            (EV_KEY, 148, 0),
            (EV_KEY, 148, 2),
            (EV_KEY, 149, 1),
            (4, 148, 1),
            (0, 0, 0),
        ] {
            assert!(
                !button(Some(148)).is_pressed(&event(kind, code, value)),
                "{kind} {code} {value}"
            );
        }
    }
}
