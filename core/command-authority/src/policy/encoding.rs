//! The policy's canonical form: what is signed.

use std::collections::BTreeSet;

use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::{Level, MissionId};

use super::sound::{MAX_ROWS, MAX_WORDS};
use super::{CommandPolicy, DeclaredArgument, Fence, Limits, Platform, Rights, Rows, TwoPersons};
use crate::{CommandPattern, Role};

type Read<T> = Result<T, DecodeError>;

impl CommandPolicy {
    /// Writes the policy as one value.
    pub(super) fn put(&self, out: &mut Encoder) {
        let Rows {
            platform,
            rights,
            persons,
            argument,
            limit,
        } = &self.rows;
        out.array(5);
        put_all(out, platform, put_platform);
        put_all(out, rights, put_rights);
        put_all(out, persons, put_persons);
        put_all(out, argument, put_argument);
        put_all(out, limit, put_limits);
    }

    /// Reads what [`Self::put`] wrote; its parts must fit each other.
    pub(super) fn read(r: &mut Reader<'_>) -> Read<Self> {
        r.array_of("policy", 5)?;
        let rows = Rows {
            platform: read_all(r, "platform", MAX_ROWS, read_platform)?,
            rights: read_all(r, "rights", MAX_ROWS, read_rights)?,
            persons: read_all(r, "persons", MAX_ROWS, read_persons)?,
            argument: read_all(r, "argument", MAX_ROWS, read_argument)?,
            limit: read_all(r, "limit", MAX_ROWS, read_limits)?,
        };
        Self::of(rows).map_err(|_| r.fault("policy", Fault::Value))
    }
}

fn put_all<T>(out: &mut Encoder, rows: &[T], put: impl Fn(&mut Encoder, &T)) {
    out.array(rows.len());
    rows.iter().for_each(|row| put(out, row));
}

fn read_all<T>(
    r: &mut Reader<'_>,
    field: &'static str,
    most: usize,
    read: impl Fn(&mut Reader<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    let count = r.array(field, most)?;
    (0..count).map(|_| read(r)).collect()
}

/// Words in ascending order, each once.
fn read_words(r: &mut Reader<'_>, field: &'static str) -> Read<BTreeSet<String>> {
    let words = read_all(r, field, MAX_WORDS, |r| Ok(r.text(field)?.to_owned()))?;
    if words.is_sorted_by(|one, other| one < other) {
        Ok(words.into_iter().collect())
    } else {
        Err(r.fault(field, Fault::Order))
    }
}

fn put_words(out: &mut Encoder, words: &BTreeSet<String>) {
    out.array(words.len());
    for word in words {
        out.text(word);
    }
}

fn put_patterns(out: &mut Encoder, patterns: &[CommandPattern]) {
    put_all(out, patterns, |out, pattern| {
        out.text(pattern.as_str());
    });
}

fn read_patterns(r: &mut Reader<'_>) -> Read<Vec<CommandPattern>> {
    read_all(r, "commands", MAX_WORDS, |r| {
        CommandPattern::new(r.text("commands")?).map_err(|_| r.fault("commands", Fault::Value))
    })
}

fn put_platform(out: &mut Encoder, row: &Platform) {
    out.array(2).text(&row.name);
    put_all(out, &row.robots, |out, robot| {
        out.text(robot);
    });
}

fn read_platform(r: &mut Reader<'_>) -> Read<Platform> {
    r.array_of("platform", 2)?;
    let name = r.text("name")?.to_owned();
    let robots = read_all(r, "robots", MAX_WORDS, |r| Ok(r.text("robots")?.to_owned()))?;
    Ok(Platform { name, robots })
}

fn put_rights(out: &mut Encoder, row: &Rights) {
    out.array(2).u64(row.role.id().into());
    put_patterns(out, &row.commands);
}

fn read_rights(r: &mut Reader<'_>) -> Read<Rights> {
    r.array_of("rights", 2)?;
    let role = r.id_of("role", Role::from_id)?;
    let commands = read_patterns(r)?;
    Ok(Rights { role, commands })
}

fn put_persons(out: &mut Encoder, row: &TwoPersons) {
    out.array(3);
    put_patterns(out, &row.commands);
    out.u64(row.from_level.id().into()).array(row.second.len());
    for role in &row.second {
        out.u64(role.id().into());
    }
}

fn read_persons(r: &mut Reader<'_>) -> Read<TwoPersons> {
    r.array_of("persons", 3)?;
    let commands = read_patterns(r)?;
    let from_level = r.id_of("from_level", Level::from_id)?;
    let roles = read_all(r, "second", MAX_WORDS, |r| r.id_of("second", Role::from_id))?;
    if !roles.is_sorted_by(|one, other| one < other) {
        return Err(r.fault("second", Fault::Order));
    }
    Ok(TwoPersons {
        commands,
        from_level,
        second: roles.into_iter().collect(),
    })
}

fn put_argument(out: &mut Encoder, row: &DeclaredArgument) {
    let optional = [
        row.min.is_some(),
        row.max.is_some(),
        row.one_of.is_some(),
        row.flag,
    ];
    out.map(2 + optional.into_iter().filter(|given| *given).count());
    out.u64(0).text(&row.name);
    put_patterns(out.u64(1), &row.commands);
    for (key, bound) in [(2, row.min), (3, row.max)] {
        if let Some(bound) = bound {
            out.u64(key).i64(bound);
        }
    }
    if let Some(words) = &row.one_of {
        put_words(out.u64(4), words);
    }
    if row.flag {
        out.u64(5).bool(true);
    }
}

fn read_argument(r: &mut Reader<'_>) -> Read<DeclaredArgument> {
    let mut fields = Fields::open(r)?;
    fields.key(r, 0, "name")?;
    let name = r.text("name")?.to_owned();
    fields.key(r, 1, "commands")?;
    let commands = read_patterns(r)?;
    let min = optional(&mut fields, r, 2, "min", |r| r.i64("min"))?;
    let max = optional(&mut fields, r, 3, "max", |r| r.i64("max"))?;
    let one_of = optional(&mut fields, r, 4, "one_of", |r| read_words(r, "one_of"))?;
    let flag = optional(&mut fields, r, 5, "flag", |r| r.bool("flag"))?;
    if flag == Some(false) {
        return Err(r.fault("flag", Fault::NotCanonical));
    }
    fields.finish(r)?;
    Ok(DeclaredArgument {
        name,
        commands,
        min,
        max,
        one_of,
        flag: flag.is_some(),
    })
}

fn optional<T>(
    fields: &mut Fields,
    r: &mut Reader<'_>,
    key: u64,
    field: &'static str,
    read: impl Fn(&mut Reader<'_>) -> Read<T>,
) -> Read<Option<T>> {
    if fields.optional(r, key, field)? {
        read(r).map(Some)
    } else {
        Ok(None)
    }
}

fn put_limits(out: &mut Encoder, row: &Limits) {
    let numbers = row.numbers();
    let heights = row.heights();
    let given = [
        row.platform.is_some(),
        row.mission.is_some(),
        row.tools.is_some(),
        row.geofence.is_some(),
    ];
    let count = given.into_iter().filter(|given| *given).count()
        + numbers.iter().filter(|(_, value)| value.is_some()).count()
        + heights.iter().filter(|(_, value)| value.is_some()).count();
    out.map(1 + count);
    if let Some(platform) = &row.platform {
        out.u64(0).text(platform);
    }
    out.u64(1).u64(row.from_level.id().into());
    if let Some(mission) = &row.mission {
        out.u64(2).bytes(mission.as_bytes());
    }
    for (key, value) in numbers {
        if let Some(value) = value {
            out.u64(key).u64(value.into());
        }
    }
    for (key, value) in heights {
        if let Some(value) = value {
            out.u64(key).i64(value);
        }
    }
    if let Some(tools) = &row.tools {
        put_words(out.u64(9), tools);
    }
    if let Some(fence) = &row.geofence {
        put_all(out.u64(10), fence.corners(), |out, corner| {
            out.array(2).i64(corner.0).i64(corner.1);
        });
    }
}

impl Limits {
    const fn numbers(&self) -> [(u64, Option<u32>); 4] {
        [
            (3, self.max_speed_mm_per_s),
            (4, self.max_turn_mdeg_per_s),
            (5, self.max_duration_ms),
            (6, self.max_force_mn),
        ]
    }

    const fn heights(&self) -> [(u64, Option<i64>); 2] {
        [(7, self.min_altitude_mm), (8, self.max_altitude_mm)]
    }
}

fn read_limits(r: &mut Reader<'_>) -> Read<Limits> {
    let mut fields = Fields::open(r)?;
    let f = &mut fields;
    let platform = optional(f, r, 0, "platform", |r| Ok(r.text("platform")?.to_owned()))?;
    f.key(r, 1, "from_level")?;
    let from_level = r.id_of("from_level", Level::from_id)?;
    let mission = optional(f, r, 2, "mission", |r| {
        Ok(MissionId::new(*r.bytes_of("mission")?))
    })?;
    let limits = Limits {
        platform,
        from_level,
        mission,
        max_speed_mm_per_s: optional(f, r, 3, "max_speed_mm_per_s", |r| r.u32("max_speed_mm_per_s"))?,
        max_turn_mdeg_per_s: optional(f, r, 4, "max_turn_mdeg_per_s", |r| r.u32("max_turn_mdeg_per_s"))?,
        max_duration_ms: optional(f, r, 5, "max_duration_ms", |r| r.u32("max_duration_ms"))?,
        max_force_mn: optional(f, r, 6, "max_force_mn", |r| r.u32("max_force_mn"))?,
        min_altitude_mm: optional(f, r, 7, "min_altitude_mm", |r| r.i64("min_altitude_mm"))?,
        max_altitude_mm: optional(f, r, 8, "max_altitude_mm", |r| r.i64("max_altitude_mm"))?,
        tools: optional(f, r, 9, "tools", |r| read_words(r, "tools"))?,
        geofence: optional(f, r, 10, "geofence", read_fence)?,
    };
    fields.finish(r)?;
    Ok(limits)
}

fn read_fence(r: &mut Reader<'_>) -> Read<Fence> {
    let corners = read_all(r, "geofence", MAX_ROWS, |r| {
        r.array_of("corner", 2)?;
        Ok((r.i64("latitude_e7_deg")?, r.i64("longitude_e7_deg")?))
    })?;
    Fence::new(corners).map_err(|_| r.fault("geofence", Fault::Value))
}
