//! The states of a managed key and the legal ways between them (the ideas of NIST SP 800-57 Part 1, §7).

use std::fmt;

/// A state of a managed key.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum KeyState {
    /// Made, and not yet in use.
    Pending,
    /// In use.
    Active,
    /// Put aside, and may come back.
    Suspended,
    /// Its time is over.
    Expired,
    /// Not to be trusted any more; the chip does not use it again.
    Revoked,
    /// Gone: the chip does not use it again and its blob is removed.
    Destroyed,
}

impl KeyState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Active,
        Self::Suspended,
        Self::Expired,
        Self::Revoked,
        Self::Destroyed,
    ];

    /// The number in records.
    pub const fn id(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Active => 1,
            Self::Suspended => 2,
            Self::Expired => 3,
            Self::Revoked => 4,
            Self::Destroyed => 5,
        }
    }

    /// The state of a number in a record.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Expired => "EXPIRED",
            Self::Revoked => "REVOKED",
            Self::Destroyed => "DESTROYED",
        }
    }

    /// Whether the chip may still use the key: its anchor stands.
    pub const fn lives(self) -> bool {
        !matches!(self, Self::Revoked | Self::Destroyed)
    }

    /// The state that a transition leads to.
    ///
    /// # Errors
    /// [`IllegalTransition`] where [`LEGAL_TRANSITIONS`] has no such row.
    pub fn after(self, transition: Transition) -> Result<Self, IllegalTransition> {
        let row = LEGAL_TRANSITIONS
            .iter()
            .find(|(from, by, _)| *from == self && *by == transition);
        row.map(|(_, _, to)| *to).ok_or(IllegalTransition {
            from: self,
            transition,
        })
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What happens to a managed key.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Transition {
    /// Its use begins.
    Activate,
    /// It is put aside.
    Suspend,
    /// It comes back.
    Resume,
    /// Its time is over.
    Expire,
    /// It is withdrawn for good.
    Revoke,
    /// It is destroyed.
    Destroy,
}

impl Transition {
    /// All transitions.
    pub const ALL: [Self; 6] = [
        Self::Activate,
        Self::Suspend,
        Self::Resume,
        Self::Expire,
        Self::Revoke,
        Self::Destroy,
    ];

    /// The name for people and the audit.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Expire => "expire",
            Self::Revoke => "revoke",
            Self::Destroy => "destroy",
        }
    }
}

/// Every legal transition. What is not here is refused; nothing leads out of DESTROYED, and nothing leads back to life
/// from EXPIRED or REVOKED.
pub const LEGAL_TRANSITIONS: [(KeyState, Transition, KeyState); 14] = [
    (KeyState::Pending, Transition::Activate, KeyState::Active),
    (KeyState::Pending, Transition::Revoke, KeyState::Revoked),
    (KeyState::Pending, Transition::Destroy, KeyState::Destroyed),
    (KeyState::Active, Transition::Suspend, KeyState::Suspended),
    (KeyState::Active, Transition::Expire, KeyState::Expired),
    (KeyState::Active, Transition::Revoke, KeyState::Revoked),
    (KeyState::Active, Transition::Destroy, KeyState::Destroyed),
    (KeyState::Suspended, Transition::Resume, KeyState::Active),
    (KeyState::Suspended, Transition::Expire, KeyState::Expired),
    (KeyState::Suspended, Transition::Revoke, KeyState::Revoked),
    (KeyState::Suspended, Transition::Destroy, KeyState::Destroyed),
    (KeyState::Expired, Transition::Revoke, KeyState::Revoked),
    (KeyState::Expired, Transition::Destroy, KeyState::Destroyed),
    (KeyState::Revoked, Transition::Destroy, KeyState::Destroyed),
];

/// A transition that the table does not have.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[error("a key that is {from} cannot {}", transition.name())]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: KeyState,
    /// What was asked for.
    pub transition: Transition,
}
