//! A policy as one robot follows it: what can be decided once is decided when it is taken, so that a verdict allocates
//! nothing and looks only at rows that may fit.

use alcub3_crypto::Digest;
use alcub3_trust_model::{Level, MissionId, RobotId};

use super::{CommandPolicy, DeclaredArgument, Limits, PolicyReason, Rights, Rows, TwoPersons};
use crate::demand::{Demand, within};
use crate::{Role, ValueRef};

/// What commands are judged by, beside roles, missions and their limits.
#[derive(Clone, Debug, Default)]
pub enum CommandRules {
    /// The robot was never given a command policy.
    #[default]
    Builtin,
    /// A policy.
    Policy(Box<PolicyInForce>),
    /// The robot was given a policy once, and has none now that it may follow: every command is refused.
    Lost,
}

impl CommandRules {
    /// The policy, where one is in force.
    ///
    /// # Errors
    /// [`PolicyReason::Lost`].
    pub fn policy(&self) -> Result<Option<&PolicyInForce>, PolicyReason> {
        match self {
            Self::Builtin => Ok(None),
            Self::Policy(policy) => Ok(Some(policy)),
            Self::Lost => Err(PolicyReason::Lost),
        }
    }
}

/// A policy's rows that are about one robot.
#[derive(Clone, Debug)]
pub struct PolicyInForce {
    version: u64,
    digest: Digest,
    /// The robot's platform; none where the policy names none: then it is given no command.
    platform: Option<String>,
    rights: Vec<Rights>,
    persons: Vec<TwoPersons>,
    arguments: Vec<DeclaredArgument>,
    limits: Vec<Limits>,
}

impl PolicyInForce {
    /// What a policy asks of a robot. `digest` is that of what was signed, for the log.
    pub fn of(policy: &CommandPolicy, version: u64, digest: Digest, robot: &RobotId) -> Self {
        let Rows {
            platform,
            rights,
            persons,
            argument,
            limit,
        } = policy.rows.clone();
        let mine = platform.into_iter().find(|platform| platform.has(robot));
        let platform = mine.map(|platform| platform.name);
        let is_mine = |limits: &Limits| limits.platform.is_none() || limits.platform == platform;
        let limits = limit.into_iter().filter(is_mine).collect();
        Self {
            version,
            digest,
            platform,
            rights,
            persons,
            arguments: argument,
            limits,
        }
    }

    /// The policy's version.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The digest of what was signed.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The robot's platform.
    pub fn platform(&self) -> Option<&str> {
        self.platform.as_deref()
    }

    /// Whether a role may give a command to this robot.
    ///
    /// # Errors
    /// The [`PolicyReason`] why not.
    pub fn check_role(&self, role: Role, command: &str) -> Result<(), PolicyReason> {
        if self.platform.is_none() {
            return Err(PolicyReason::Platform);
        }
        let rights = self.rights.iter().find(|rights| rights.role == role);
        let given =
            rights.is_some_and(|rights| rights.commands.iter().any(|pattern| pattern.matches(command)));
        if given { Ok(()) } else { Err(PolicyReason::Role) }
    }

    /// Whether a command takes a second person, on a mission of a level.
    pub fn takes_second(&self, command: &str, level: Level) -> bool {
        self.second_rows(command, level).next().is_some()
    }

    /// Whether a role may be the second person of a command: every row that asks for one must name it.
    pub fn may_second(&self, role: Role, command: &str, level: Level) -> bool {
        self.second_rows(command, level)
            .all(|row| row.second.contains(&role))
    }

    fn second_rows<'p>(&'p self, command: &'p str, level: Level) -> impl Iterator<Item = &'p TwoPersons> {
        self.persons.iter().filter(move |row| {
            level >= row.from_level && row.commands.iter().any(|pattern| pattern.matches(command))
        })
    }

    /// Whether an argument that limits do not know is declared for the command, with such a value.
    pub(crate) fn check_declared(
        &self,
        command: &str,
        name: &str,
        value: ValueRef<'_>,
    ) -> Result<(), PolicyReason> {
        let fits = |row: &DeclaredArgument| {
            row.name == name && row.commands.iter().any(|pattern| pattern.matches(command))
        };
        let mut rows = self.arguments.iter().filter(|row| fits(row)).peekable();
        if rows.peek().is_some() && rows.all(|row| row.allows(value)) {
            Ok(())
        } else {
            Err(PolicyReason::Argument)
        }
    }

    /// Holds what a command asks against every row that fits its mission.
    pub(crate) fn check_limits(
        &self,
        demand: &Demand<'_>,
        level: Level,
        mission: MissionId,
    ) -> Result<(), PolicyReason> {
        let fits =
            |row: &&Limits| level >= row.from_level && row.mission.is_none_or(|named| named == mission);
        let rows = || self.limits.iter().filter(fits);
        rows().try_for_each(|row| row.check(demand))?;
        // A mission's own limits know neither: without a row, nobody said how much is too much.
        if demand.force_mn.is_some() && rows().all(|row| row.max_force_mn.is_none()) {
            return Err(PolicyReason::Force);
        }
        if demand.tool.is_some() && rows().all(|row| row.tools.is_none()) {
            return Err(PolicyReason::Tool);
        }
        Ok(())
    }
}

impl super::Platform {
    fn has(&self, robot: &RobotId) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => robot.as_str().starts_with(start),
            None => robot.as_str() == pattern,
        };
        self.robots.iter().any(fits)
    }
}

impl DeclaredArgument {
    fn allows(&self, value: ValueRef<'_>) -> bool {
        match (value, &self.one_of) {
            (ValueRef::Int(value), None) => {
                let least = self.min.is_some_and(|min| min <= value);
                least && self.max.is_some_and(|max| value <= max)
            }
            (ValueRef::Text(text), Some(words)) => words.contains(text),
            (ValueRef::Bool(_), None) => self.flag,
            _ => false,
        }
    }
}

impl Limits {
    fn check(&self, demand: &Demand<'_>) -> Result<(), PolicyReason> {
        if self
            .max_speed_mm_per_s
            .is_some_and(|most| !demand.is_within_speed(most))
        {
            return Err(PolicyReason::Speed);
        }
        let above =
            |magnitude: Option<u64>, most: Option<u32>| most.is_some_and(|most| !within(magnitude, most));
        if above(demand.turn_mdeg_per_s, self.max_turn_mdeg_per_s) {
            return Err(PolicyReason::Turn);
        }
        if above(demand.duration_ms, self.max_duration_ms) {
            return Err(PolicyReason::Duration);
        }
        if above(demand.force_mn, self.max_force_mn) {
            return Err(PolicyReason::Force);
        }
        self.check_place(demand)?;
        match (demand.tool, &self.tools) {
            (Some(tool), Some(tools)) if !tools.contains(tool) => Err(PolicyReason::Tool),
            _ => Ok(()),
        }
    }

    fn check_place(&self, demand: &Demand<'_>) -> Result<(), PolicyReason> {
        let altitude = demand.altitude_mm;
        let too_low = altitude
            .zip(self.min_altitude_mm)
            .is_some_and(|(at, min)| at < min);
        let too_high = altitude
            .zip(self.max_altitude_mm)
            .is_some_and(|(at, max)| at > max);
        if too_low || too_high {
            return Err(PolicyReason::Altitude);
        }
        let Some(fence) = &self.geofence else {
            return Ok(());
        };
        match demand.position() {
            Ok(None) => Ok(()),
            Ok(Some((latitude, longitude))) if fence.contains(latitude, longitude) => Ok(()),
            _ => Err(PolicyReason::Geofence),
        }
    }
}
