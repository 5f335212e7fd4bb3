//! A policy in words, for those who are asked to approve it.

use super::{CommandPolicy, DeclaredArgument, Limits, TwoPersons};
use crate::CommandPattern;

impl CommandPolicy {
    /// What the policy says, a line for each row.
    pub fn in_words(&self) -> Vec<String> {
        let rows = &self.rows;
        let platforms = rows.platform.iter().map(|row| {
            let robots = row.robots.join(", ");
            format!("platform {}: {robots}", row.name)
        });
        let rights = rows
            .rights
            .iter()
            .map(|row| format!("a {} may command {}", row.role, listed(&row.commands)));
        let persons = rows.persons.iter().map(TwoPersons::in_words);
        let arguments = rows.argument.iter().map(DeclaredArgument::in_words);
        let limits = rows.limit.iter().map(Limits::in_words);
        let closing = [
            "a role that is not named commands nothing; a robot of no platform is commanded by nobody"
                .to_owned(),
        ];
        platforms
            .chain(rights)
            .chain(persons)
            .chain(arguments)
            .chain(limits)
            .chain(closing)
            .collect()
    }
}

fn listed(patterns: &[CommandPattern]) -> String {
    patterns
        .iter()
        .map(CommandPattern::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

impl TwoPersons {
    fn in_words(&self) -> String {
        let second: Vec<&str> = self.second.iter().map(|role| role.name()).collect();
        format!(
            "{} take two persons from {} up; the second is a {}",
            listed(&self.commands),
            self.from_level,
            second.join(" or a ")
        )
    }
}

impl DeclaredArgument {
    fn in_words(&self) -> String {
        let value = match (self.min, self.max, &self.one_of) {
            (Some(min), Some(max), _) => format!("from {min} to {max}"),
            (_, _, Some(words)) => format!("one of {}", words.iter().cloned().collect::<Vec<_>>().join(", ")),
            _ => "true or false".to_owned(),
        };
        format!("{} may have {}: {value}", listed(&self.commands), self.name)
    }
}

impl Limits {
    fn in_words(&self) -> String {
        let numbers = [
            ("at most", self.max_speed_mm_per_s.map(i64::from), "mm/s"),
            (
                "turns of at most",
                self.max_turn_mdeg_per_s.map(i64::from),
                "mdeg/s",
            ),
            ("at most", self.max_duration_ms.map(i64::from), "ms long"),
            ("at most", self.max_force_mn.map(i64::from), "mN"),
            ("not below", self.min_altitude_mm, "mm of altitude"),
            ("not above", self.max_altitude_mm, "mm of altitude"),
        ];
        let mut asks: Vec<String> = numbers
            .into_iter()
            .filter_map(|(how, value, unit)| Some(format!("{how} {} {unit}", value?)))
            .collect();
        if let Some(tools) = &self.tools {
            let tools: Vec<&str> = tools.iter().map(String::as_str).collect();
            let none = "no tool".to_owned();
            asks.push(if tools.is_empty() {
                none
            } else {
                format!("tools: {}", tools.join(", "))
            });
        }
        if let Some(fence) = &self.geofence {
            asks.push(format!("within a fence of {} corners", fence.corners().len()));
        }
        format!("{}: {}", self.scope(), asks.join("; "))
    }

    fn scope(&self) -> String {
        let mut scope = self
            .platform
            .as_ref()
            .map_or("every platform".to_owned(), |name| format!("platform {name}"));
        scope.push_str(&format!(", from {} up", self.from_level));
        if let Some(mission) = &self.mission {
            scope.push_str(&format!(", mission {mission}"));
        }
        scope
    }
}
