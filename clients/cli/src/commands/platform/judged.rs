//! A judgement of a robot whose root of trust is no TPM, for people and programs.

use crate::commands::findings;
use crate::output::{Answer, pairs};
use crate::style::Style;
use alcub3_fleet_protocol::platform::{PlatformVerdict, RootKind};
use alcub3_trust_model::{HardwareTier, Level, RobotId};
use serde_json::json;

/// What was judged.
pub(crate) struct Judged<'a> {
    /// The robot.
    pub(crate) robot: &'a RobotId,
    /// The kind of its root of trust.
    pub(crate) root: RootKind,
    /// Its tier.
    pub(crate) tier: HardwareTier,
    /// The level that it is admitted to; none where it is to none.
    pub(crate) level: Option<Level>,
    /// The judgement.
    pub(crate) verdict: &'a PlatformVerdict,
}

impl Judged<'_> {
    /// The answer: yes where the robot is trusted and a level admits it.
    pub(crate) fn answer(&self, style: Style) -> Answer {
        let judgement = self.verdict.judgement();
        let json = json!({
            "robot": self.robot, "root": self.root.name(), "tier": self.tier, "level": self.level,
            "trusted": judgement.is_trusted(), "status": judgement.status(), "findings": findings::to_json(judgement.findings()),
            "judged_at_ms": judgement.judged_at_ms(),
        });
        let is_good = judgement.is_trusted() && self.level.is_some();
        Answer::verdict(is_good, json, self.in_words(style))
    }

    fn in_words(&self, style: Style) -> String {
        let judgement = self.verdict.judgement();
        let word = match judgement.is_trusted() {
            true => style.good("trusted"),
            false => style.bad("untrusted"),
        };
        let level = self.level.map(|level| level.to_string());
        let mut text = format!("{}: {word}\n", self.robot);
        text.push_str(&pairs([
            ("  root of trust", self.root.name().to_owned()),
            ("  tier", self.tier.to_string()),
            ("  level", level.unwrap_or_else(|| "none admits it".to_owned())),
        ]));
        text.push_str(&findings::in_words(judgement.findings(), style));
        text
    }
}
