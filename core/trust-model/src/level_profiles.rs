//! The profiles in force: the built-in ones, or those of a policy, which may make a level stricter and never weaker.

use alcub3_crypto::Suite;

use crate::canonical::{DecodeError, Encoder, Fault, Reader};
use crate::{HardwareTier, Level, LevelProfile, profile};

const LEVELS: usize = Level::ALL.len();
/// A shorter mission ends before a slow chip has made its key, in milliseconds.
const SHORTEST_MISSION_MS: u64 = 60_000;
/// A shorter freshness or lease refuses everything on any link, in milliseconds.
const SHORTEST_LEASE_MS: u64 = 1_000;

/// One profile for each level, none weaker than the built-in one: only [`LevelProfiles::builtin`] and
/// [`LevelProfiles::tightened`] make such a table.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct LevelProfiles([LevelProfile; LEVELS]);

/// What of a policy is out of its bounds.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[error("{level}: {field} {problem}; a policy makes a level stricter and never weaker")]
pub struct ProfileError {
    /// The level.
    pub level: Level,
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A field of a profile and what is wrong with it.
type FieldFault = (&'static str, &'static str);

impl LevelProfiles {
    /// The design's own table.
    pub const fn builtin() -> Self {
        Self([
            profile(Level::Unclassified),
            profile(Level::Cui),
            profile(Level::Confidential),
            profile(Level::Secret),
            profile(Level::TopSecret),
        ])
    }

    /// The table of a policy: one row for each level, lowest first.
    ///
    /// Suite floor and hardware tier are not below the built-in ones; mission length (a minute at least), freshness and lease
    /// (a second at least) and resets are not above them. Persons and boot PCRs are the built-in ones: they are in the
    /// policies of the keys that robots have. And no level is weaker in any field than the one below it.
    ///
    /// # Errors
    /// [`ProfileError`] names the first field out of its bounds.
    pub fn tightened(rows: [LevelProfile; LEVELS]) -> Result<Self, ProfileError> {
        for (row, level) in rows.iter().zip(Level::ALL) {
            let error = |(field, problem)| ProfileError {
                level,
                field,
                problem,
            };
            if row.level != level {
                return Err(error(("level", "is not the one of its row")));
            }
            let builtin = profile(level);
            possible(row, &builtin).map_err(error)?;
            if let Some(field) = weaker(row, &builtin) {
                return Err(error((field, "is weaker than the built-in one")));
            }
        }
        for (row, below) in rows.iter().skip(1).zip(&rows) {
            if let Some(field) = weaker(row, below) {
                return Err(ProfileError {
                    level: row.level,
                    field,
                    problem: "is weaker than that of the level below",
                });
            }
        }
        Ok(Self(rows))
    }

    /// The profile of a level.
    pub const fn of(&self, level: Level) -> &LevelProfile {
        let [unclassified, cui, confidential, secret, top_secret] = &self.0;
        match level {
            Level::Unclassified => unclassified,
            Level::Cui => cui,
            Level::Confidential => confidential,
            Level::Secret => secret,
            Level::TopSecret => top_secret,
        }
    }

    /// The rows, lowest level first.
    pub const fn rows(&self) -> &[LevelProfile; LEVELS] {
        &self.0
    }

    /// Writes the table as one value.
    pub fn put(&self, out: &mut Encoder) {
        out.array(LEVELS);
        for row in &self.0 {
            out.array(9)
                .u64(row.level.id().into())
                .u64(row.suite_floor.id().into())
                .u64(row.max_mission_ms)
                .u64(row.attestation_freshness_ms)
                .u64(row.lease_ms)
                .u64(row.persons.into())
                .u64(row.allowed_resets.into())
                .u64(row.min_tier.id().into())
                .bool(row.boot_pcrs);
        }
    }

    /// Reads what [`Self::put`] wrote, within the bounds of [`Self::tightened`].
    ///
    /// # Errors
    /// [`DecodeError`] names the field.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of("levels", LEVELS)?;
        let mut rows = Self::builtin().0;
        for row in &mut rows {
            *row = read_row(r)?;
        }
        Self::tightened(rows).map_err(|error| r.fault(error.field, Fault::Value))
    }
}

impl Default for LevelProfiles {
    fn default() -> Self {
        Self::builtin()
    }
}

fn read_row(r: &mut Reader<'_>) -> Result<LevelProfile, DecodeError> {
    r.array_of("level", 9)?;
    Ok(LevelProfile {
        level: r.id_of("level", Level::from_id)?,
        suite_floor: r.id_of("suite_floor", |id| Suite::from_id(id.into()))?,
        max_mission_ms: r.u64("max_mission_ms")?,
        attestation_freshness_ms: r.u64("attestation_freshness_ms")?,
        lease_ms: r.u64("lease_ms")?,
        persons: r.u8("persons")?,
        allowed_resets: r.u32("allowed_resets")?,
        min_tier: r.id_of("min_tier", HardwareTier::from_id)?,
        boot_pcrs: r.bool("boot_pcrs")?,
    })
}

/// Whether a row can be kept to at all.
fn possible(row: &LevelProfile, builtin: &LevelProfile) -> Result<(), FieldFault> {
    if !row.suite_floor.is_signature() {
        return Err(("suite_floor", "is not a signature suite"));
    }
    if row.persons != builtin.persons {
        return Err(("persons", "is in the policies of keys and cannot be changed"));
    }
    if row.boot_pcrs != builtin.boot_pcrs {
        return Err(("boot_pcrs", "is in the policies of keys and cannot be changed"));
    }
    let shortest = [
        ("max_mission_ms", row.max_mission_ms, SHORTEST_MISSION_MS),
        (
            "attestation_freshness_ms",
            row.attestation_freshness_ms,
            SHORTEST_LEASE_MS,
        ),
        ("lease_ms", row.lease_ms, SHORTEST_LEASE_MS),
    ];
    match shortest.into_iter().find(|(_, value, least)| value < least) {
        Some((field, ..)) => Err((field, "is too short to be kept to")),
        None => Ok(()),
    }
}

/// The first field in which a row asks for less than another.
fn weaker(row: &LevelProfile, than: &LevelProfile) -> Option<&'static str> {
    let fields = [
        ("suite_floor", !than.admits_suite(row.suite_floor)),
        ("max_mission_ms", row.max_mission_ms > than.max_mission_ms),
        (
            "attestation_freshness_ms",
            row.attestation_freshness_ms > than.attestation_freshness_ms,
        ),
        ("lease_ms", row.lease_ms > than.lease_ms),
        ("persons", row.persons < than.persons),
        ("allowed_resets", row.allowed_resets > than.allowed_resets),
        ("min_tier", row.min_tier < than.min_tier),
        ("boot_pcrs", than.boot_pcrs && !row.boot_pcrs),
    ];
    fields
        .into_iter()
        .find(|(_, weaker)| *weaker)
        .map(|(field, _)| field)
}
