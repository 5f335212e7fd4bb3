//! Whether a policy's parts fit each other: asked of every policy, whether it was written as TOML or came signed.

use std::collections::BTreeSet;

use super::{CommandPolicy, DeclaredArgument, Limits, Platform, Rights, Rows, TwoPersons};
use crate::demand::KNOWN;
use crate::{CommandClass, CommandPattern, Role};

/// The most rows of each kind.
pub(super) const MAX_ROWS: usize = 256;
/// The most words of one list in a row.
pub(super) const MAX_WORDS: usize = 128;
const MAX_WORD_BYTES: usize = 64;

/// What of a policy does not fit.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum PolicyFault {
    /// Too many rows.
    #[error("there are more than {MAX_ROWS} [[{0}]] rows")]
    TooMany(&'static str),
    /// No platform.
    #[error("there is no [[platform]]: no robot could be commanded")]
    NoPlatform,
    /// A list that is empty or too long.
    #[error("[[{row}]] {which:?}: {field} has {count} entries; give 1 to {MAX_WORDS}")]
    List {
        /// The row.
        row: &'static str,
        /// Which of them.
        which: String,
        /// The list.
        field: &'static str,
        /// How many it has.
        count: usize,
    },
    /// A word that is none.
    #[error("{what} {text:?} is not valid: use 1 to {MAX_WORD_BYTES} of a-z A-Z 0-9 . _ -")]
    Word {
        /// What it would have named.
        what: &'static str,
        /// The word.
        text: String,
    },
    /// Robots that cannot be named so.
    #[error("{0:?} names no robots: write a robot's name, or the beginning of one with * at its end")]
    Robots(String),
    /// Something twice.
    #[error("{what} {text:?} appears twice")]
    Twice {
        /// What.
        what: &'static str,
        /// Its name.
        text: String,
    },
    /// A right that the role does not have.
    #[error("a {role} gives no commands such as {pattern:?}, whatever a policy says: strike it out")]
    BeyondRole {
        /// The role.
        role: Role,
        /// The pattern.
        pattern: String,
    },
    /// Somebody who cannot be the second person.
    #[error(
        "a {0} cannot be the second person of a command: use commander, security-officer, operator or maintainer"
    )]
    NoSecond(Role),
    /// An argument that every limit knows.
    #[error("{0} needs no declaration: limits know it")]
    Known(String),
    /// An argument without one kind of value.
    #[error("argument {0}: give either min and max, min not above max, or one_of, or flag = true")]
    Kind(String),
    /// A platform that is not there.
    #[error("a limit is for platform {0:?}, which is none of the platforms")]
    OtherPlatform(String),
    /// A limit that limits nothing, or that nothing meets.
    #[error("the {0}. limit {1}")]
    Limit(usize, &'static str),
}

impl CommandPolicy {
    /// The policy of these rows, if they fit each other.
    pub(crate) fn of(rows: Rows) -> Result<Self, PolicyFault> {
        for (kind, count) in [
            ("platform", rows.platform.len()),
            ("rights", rows.rights.len()),
            ("persons", rows.persons.len()),
            ("argument", rows.argument.len()),
            ("limit", rows.limit.len()),
        ] {
            if count > MAX_ROWS {
                return Err(PolicyFault::TooMany(kind));
            }
        }
        check_platforms(&rows.platform)?;
        check_rights(&rows.rights)?;
        rows.persons.iter().try_for_each(check_persons)?;
        rows.argument.iter().try_for_each(check_argument)?;
        let names: BTreeSet<&str> = rows.platform.iter().map(|row| row.name.as_str()).collect();
        for (at, limits) in rows.limit.iter().enumerate() {
            check_limits(at.saturating_add(1), limits, &names)?;
        }
        Ok(Self { rows })
    }
}

fn check_list(row: &'static str, which: &str, field: &'static str, count: usize) -> Result<(), PolicyFault> {
    if (1..=MAX_WORDS).contains(&count) {
        return Ok(());
    }
    let which = which.to_owned();
    Err(PolicyFault::List {
        row,
        which,
        field,
        count,
    })
}

fn check_word(what: &'static str, text: &str) -> Result<(), PolicyFault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_WORD_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    let text = text.escape_debug().take(MAX_WORD_BYTES).collect();
    Err(PolicyFault::Word { what, text })
}

fn once<'t>(what: &'static str, names: impl Iterator<Item = &'t str>) -> Result<(), PolicyFault> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let text = name.to_owned();
            return Err(PolicyFault::Twice { what, text });
        }
    }
    Ok(())
}

fn check_platforms(platforms: &[Platform]) -> Result<(), PolicyFault> {
    if platforms.is_empty() {
        return Err(PolicyFault::NoPlatform);
    }
    once(
        "platform",
        platforms.iter().map(|platform| platform.name.as_str()),
    )?;
    for Platform { name, robots } in platforms {
        check_word("platform", name)?;
        check_list("platform", name, "robots", robots.len())?;
        for robot in robots {
            let start = robot.strip_suffix('*').unwrap_or(robot);
            if robot != "*" {
                check_word("robots", start).map_err(|_| PolicyFault::Robots(robot.clone()))?;
            }
        }
    }
    Ok(())
}

fn check_rights(rights: &[Rights]) -> Result<(), PolicyFault> {
    once("role", rights.iter().map(|row| row.role.name()))?;
    for Rights { role, commands } in rights {
        check_list("rights", role.name(), "commands", commands.len())?;
        let beyond = |pattern: &&CommandPattern| {
            !CommandClass::of(pattern.as_str()).is_some_and(|class| role.permits(class))
        };
        if let Some(pattern) = commands.iter().find(beyond) {
            let pattern = pattern.as_str().to_owned();
            return Err(PolicyFault::BeyondRole { role: *role, pattern });
        }
    }
    Ok(())
}

fn check_persons(row: &TwoPersons) -> Result<(), PolicyFault> {
    check_list("persons", "", "commands", row.commands.len())?;
    check_list("persons", "", "second", row.second.len())?;
    let unfit = row.second.iter().find(|role| !role.may_second());
    unfit.map_or(Ok(()), |role| Err(PolicyFault::NoSecond(*role)))
}

fn check_argument(row: &DeclaredArgument) -> Result<(), PolicyFault> {
    check_word("argument", &row.name)?;
    if KNOWN.contains(&row.name.as_str()) {
        return Err(PolicyFault::Known(row.name.clone()));
    }
    check_list("argument", &row.name, "commands", row.commands.len())?;
    let kinds = match (row.min, row.max, &row.one_of, row.flag) {
        (Some(min), Some(max), None, false) => min <= max,
        (None, None, Some(words), false) => {
            check_list("argument", &row.name, "one_of", words.len())?;
            return words.iter().try_for_each(|word| check_word("value", word));
        }
        (None, None, None, true) => true,
        _ => false,
    };
    if kinds {
        Ok(())
    } else {
        Err(PolicyFault::Kind(row.name.clone()))
    }
}

fn check_limits(at: usize, row: &Limits, platforms: &BTreeSet<&str>) -> Result<(), PolicyFault> {
    if let Some(platform) = row.platform.as_deref()
        && !platforms.contains(platform)
    {
        return Err(PolicyFault::OtherPlatform(platform.to_owned()));
    }
    if row.limits_nothing() {
        return Err(PolicyFault::Limit(
            at,
            "limits nothing: strike it out, or say what it limits",
        ));
    }
    if let (Some(min), Some(max)) = (row.min_altitude_mm, row.max_altitude_mm)
        && min > max
    {
        return Err(PolicyFault::Limit(
            at,
            "has its lowest altitude above its highest",
        ));
    }
    // An empty list is a limit as well: no tool at all.
    if row.tools.as_ref().is_some_and(|tools| tools.len() > MAX_WORDS) {
        return Err(PolicyFault::Limit(at, "names too many tools"));
    }
    let mut tools = row.tools.iter().flatten();
    tools.try_for_each(|tool| check_word("tool", tool))
}

impl Limits {
    fn limits_nothing(&self) -> bool {
        let numbers = [
            self.max_speed_mm_per_s,
            self.max_turn_mdeg_per_s,
            self.max_duration_ms,
            self.max_force_mn,
        ];
        let heights = [self.min_altitude_mm, self.max_altitude_mm];
        numbers.iter().all(Option::is_none)
            && heights.iter().all(Option::is_none)
            && self.tools.is_none()
            && self.geofence.is_none()
    }
}
