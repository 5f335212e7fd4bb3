//! The one rule by which robots of every kind of root of trust are admitted to levels.

use alcub3_attestation::appraisal::{Finding, Severity};
use alcub3_attestation::health::{Health, History};
use alcub3_crypto::Suite;
use alcub3_trust_model::{BelowFloor, HardwareTier, Level};

use crate::authority::Authority;

impl Authority {
    /// The highest level, up to a ceiling, whose floors a robot's keys, its kind of root of trust and this authority's own key
    /// meet now.
    pub(crate) fn admitted_level(
        &self,
        keys: Suite,
        tier: HardwareTier,
        ceiling: Level,
    ) -> Result<Level, BelowFloor> {
        let meets = |level| {
            let profile = self.profile_for(level, tier);
            profile.check_robot(keys, tier)?;
            profile.check_suite(self.signing().suite()).map(|()| level)
        };
        let served = Level::ALL.into_iter().rev().filter(|level| *level <= ceiling);
        // Floors only rise with the level: what is wrong at the lowest is wrong at all.
        served
            .map(meets)
            .find(Result::is_ok)
            .unwrap_or_else(|| meets(Level::Unclassified))
    }

    /// The lowest kind of root of trust that a level admits, as an appraisal of a robot of a tier is held to it.
    pub(crate) fn min_tier(&self, level: Level, tier: HardwareTier) -> HardwareTier {
        self.profile_for(level, tier).min_tier
    }

    /// How it stands with a robot that may serve a level, or none: a judgement holds as long as that level's profile says.
    pub(crate) fn health_at(
        &self,
        level: Result<Level, BelowFloor>,
        history: &History,
        now_ms: u64,
    ) -> Health {
        let level = level.unwrap_or(Level::Unclassified);
        history.health(self.profiles().of(level).attestation_freshness_ms, now_ms)
    }
}

/// The codes of what makes a robot untrusted.
pub(crate) fn untrusted_codes(findings: &[Finding]) -> Vec<&'static str> {
    let untrusted = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Untrusted);
    untrusted.map(|finding| finding.reason.code()).collect()
}
