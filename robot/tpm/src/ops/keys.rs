//! What operations act on: hierarchies, and keys loaded or persistent.

use crate::{Object, Target};
use alcub3_crypto::tpm::{Name, Public};
use std::sync::Arc;

/// A permanent entity that owns objects or permissions (TPM 2.0 Part 2, 7.4).
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Hierarchy {
    /// The owner's: storage keys and NV indices.
    Owner,
    /// The privacy administrator's: endorsement and attestation keys.
    Endorsement,
    /// The platform firmware's.
    Platform,
    /// Nobody's: objects that last until the next reset.
    Null,
    /// No objects; the authorisation that ends a dictionary-attack lockout.
    Lockout,
}

impl Hierarchy {
    /// Its handle.
    pub const fn handle(self) -> u32 {
        match self {
            Self::Owner => 0x4000_0001,
            Self::Null => 0x4000_0007,
            Self::Lockout => 0x4000_000a,
            Self::Endorsement => 0x4000_000b,
            Self::Platform => 0x4000_000c,
        }
    }

    pub(crate) const fn target(self) -> Target<'static> {
        Target::Handle(self.handle())
    }
}

/// An object at a persistent handle, whose Name is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PersistentKey {
    handle: u32,
    name: Name,
    public: Arc<Public>,
}

impl PersistentKey {
    /// The object with this public area at this handle. Nothing is asked of the chip: if another object is there, the
    /// first protected command that uses it is refused.
    pub fn new(handle: u32, public: Public) -> Self {
        Self {
            handle,
            name: public.name(),
            public: Arc::new(public),
        }
    }

    /// Its handle.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// Its Name (TPM 2.0 Part 1, 16).
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its public area.
    pub fn public(&self) -> &Public {
        &self.public
    }
}

/// A key or data object that commands can use. Cloning is cheap.
#[derive(Clone, Debug)]
pub enum Key {
    /// In an object slot, leased.
    Transient(Object),
    /// At a persistent handle.
    Persistent(PersistentKey),
}

impl Key {
    /// Its Name.
    pub fn name(&self) -> &Name {
        match self {
            Self::Transient(object) => object.name(),
            Self::Persistent(key) => key.name(),
        }
    }

    /// Its public area.
    pub fn public(&self) -> &Public {
        match self {
            Self::Transient(object) => object.public(),
            Self::Persistent(key) => key.public(),
        }
    }

    /// How a command names it.
    pub fn target(&self) -> Target<'_> {
        match self {
            Self::Transient(object) => Target::Object(object),
            Self::Persistent(key) => Target::Named(key.handle, &key.name),
        }
    }
}

impl From<Object> for Key {
    fn from(object: Object) -> Self {
        Self::Transient(object)
    }
}

impl From<PersistentKey> for Key {
    fn from(key: PersistentKey) -> Self {
        Self::Persistent(key)
    }
}
