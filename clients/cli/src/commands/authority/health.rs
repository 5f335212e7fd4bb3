//! `authority health`: how it stands with robots' attestations.

use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties::AuthorityArgs;
use crate::style::Style;
use alcub3_attestation::health::{Health as Standing, HealthState};
use alcub3_server::{Authority, RobotError};
use alcub3_trust_model::RobotId;
use serde_json::{Value, json};

/// Arguments of `authority health`.
#[derive(Debug, clap::Args)]
pub(crate) struct Health {
    /// The robots; all that are enrolled and not purged where none is named
    #[arg(value_name = "ROBOT")]
    robots: Vec<RobotId>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Shows it; a no where a robot is neither fresh nor due. Needs no TPM.
pub(crate) fn run(arguments: &Health, context: &Context) -> Result<Answer, CliError> {
    let authority = arguments.authority.open_records()?;
    let seen = if arguments.robots.is_empty() {
        of_all(&authority)?
    } else {
        let named = arguments.robots.iter();
        named
            .map(|robot| Ok((robot.to_string(), authority.health(robot, now_ms())?)))
            .collect::<Result<_, CliError>>()?
    };
    let is_good = seen.iter().all(|(_, health)| health.state.is_good());
    let json: Vec<Value> = seen.iter().map(to_json).collect();
    let rows = seen.iter().map(|seen| row(seen, context.style()));
    let text = table(["robot", "health", "trend", "why"], rows);
    Ok(Answer::verdict(is_good, json!({ "robots": json }), text))
}

fn of_all(authority: &Authority) -> Result<Vec<(String, Standing)>, CliError> {
    let mut seen = Vec::new();
    let mut names = authority.robots().map_err(RobotError::from)?;
    let platforms = authority.platforms().map_err(RobotError::from)?;
    names.extend(platforms.iter().map(RobotId::to_string));
    for name in names {
        let Ok(robot) = RobotId::new(name.as_str()) else {
            continue;
        };
        match authority.health(&robot, now_ms()) {
            Ok(health) => seen.push((name, health)),
            Err(RobotError::Purged(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(seen)
}

fn to_json((robot, health): &(String, Standing)) -> Value {
    let mut json = json!(health);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("robot".into(), json!(robot));
    }
    json
}

fn row((robot, health): &(String, Standing), style: Style) -> [String; 4] {
    let is_both = health.state == HealthState::Failing && health.silent_since_ms.is_some();
    let name = match health.state.name() {
        name if is_both => format!("{name}, silent"),
        name => name.to_owned(),
    };
    let state = match health.state {
        HealthState::Fresh => style.good(&name),
        HealthState::Due => style.warn(&name),
        HealthState::Late | HealthState::Failing | HealthState::Unknown => style.bad(&name),
    };
    let trend = format!("{:?}", health.trend).to_lowercase();
    [robot.clone(), state, trend, health.why.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcub3_attestation::health::History;

    #[test]
    fn a_failing_robot_that_is_silent_is_shown_as_both() {
        let mut history = History::default();
        history.note(1_000, false, &["simulator"]);
        let shown = |now_ms| {
            let seen = ("r1".to_owned(), history.health(60_000, now_ms));
            let [_, state, ..] = row(&seen, Style::of_stdout());
            (
                state.contains("silent"),
                to_json(&seen)["silent_since_ms"].clone(),
            )
        };
        assert_eq!(shown(60_999), (false, Value::Null));
        assert_eq!(shown(61_000), (true, json!(61_000)));
    }
}
