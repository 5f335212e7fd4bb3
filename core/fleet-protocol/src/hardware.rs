//! The robot's hardware facts, to which its identity is bound.

use std::collections::BTreeMap;

use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::{RobotId, domain};

const VERSION: u64 = 1;
const MAX_FACTS: usize = 64;
const MAX_BYTES: usize = 256;

/// A fact that no binding can hold.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum FactError {
    /// A name or value that is empty or too long.
    #[error("hardware fact {0:?}: name and value have 1 to {MAX_BYTES} bytes")]
    Length(String),
    /// More facts than a binding holds.
    #[error("a hardware binding holds at most {MAX_FACTS} facts")]
    TooMany,
}

/// Facts that stay the same for the robot's life: serial numbers of board, controller, sensors.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HardwareFacts(BTreeMap<String, String>);

impl HardwareFacts {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one fact more, in place of an earlier one of its name.
    ///
    /// # Errors
    /// [`FactError`].
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, FactError> {
        let (name, value) = (name.into(), value.into());
        let fits = |text: &str| (1..=MAX_BYTES).contains(&text.len());
        if !fits(&name) || !fits(&value) {
            return Err(FactError::Length(name));
        }
        self.0.insert(name, value);
        if self.0.len() > MAX_FACTS {
            Err(FactError::TooMany)
        } else {
            Ok(self)
        }
    }

    /// All facts by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The digest of the facts in their canonical form: pairs of name and value, names ascending.
    pub fn binding(&self, alg: HashAlg) -> Digest {
        let mut out = Encoder::structure(domain::HARDWARE_BINDING, VERSION, 1);
        out.u64(2).array(self.0.len());
        for (name, value) in &self.0 {
            out.array(2).text(name).text(value);
        }
        alg.digest(&[&out.finish()])
    }
}

/// What the identity key's creation data and its certification carry: H(domain ‖ length of the robot's name in one
/// byte ‖ name ‖ hardware binding), with the hash of the robot's curve.
pub fn identity_binding(alg: HashAlg, robot: &RobotId, hardware_binding: &Digest) -> Digest {
    let name = robot.as_str().as_bytes();
    let length = [u8::try_from(name.len()).unwrap_or(u8::MAX)];
    alg.digest(&[
        domain::IDENTITY.as_bytes(),
        &length,
        name,
        hardware_binding.as_bytes(),
    ])
}
