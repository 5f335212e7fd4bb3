//! What can be wrong with what the disk says of a mission.

/// Why a mission's record, or the file of its keys, is not believed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum RecordFault {
    /// The record is not what this robot wrote for this mission: changed, damaged, or another mission's.
    Edited,
    /// The record is an older one than this robot has written or read, or its anchor has moved on by more than its end.
    RolledBack,
    /// The file of the mission's keys is not what this robot wrote for this mission.
    KeysEdited,
    /// The file of the mission's keys is an older one than this robot has written or read.
    KeysRolledBack,
    /// The key store, whose MAC key vouches for the record, is missing or edited.
    StoreRefused,
    /// The key store cannot be read at present.
    StoreUnavailable,
}

impl RecordFault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Edited,
        Self::RolledBack,
        Self::KeysEdited,
        Self::KeysRolledBack,
        Self::StoreRefused,
        Self::StoreUnavailable,
    ];

    /// The reason code, stable across releases.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Edited => "mission-record-edited",
            Self::RolledBack => "mission-record-rolled-back",
            Self::KeysEdited => "mission-keys-edited",
            Self::KeysRolledBack => "mission-keys-rolled-back",
            Self::StoreRefused => "mission-record-unvouched",
            Self::StoreUnavailable => "store-unavailable",
        }
    }

    /// What is wrong, for people.
    pub const fn problem(self) -> &'static str {
        match self {
            Self::Edited => "its record is not what this robot wrote",
            Self::RolledBack => "its record is an older one",
            Self::KeysEdited => "the file of its keys is not what this robot wrote",
            Self::KeysRolledBack => "the file of its keys is an older one",
            Self::StoreRefused => "the key store that vouches for its record is missing or edited",
            Self::StoreUnavailable => "the key store that vouches for its record cannot be read",
        }
    }

    /// Whether it is a verdict, by which the mission ends, and no failure of the machine.
    pub const fn is_verdict(self) -> bool {
        !matches!(self, Self::StoreUnavailable)
    }
}
