//! Seeds of command policies, and of commands to a group and with a second person.

use alcub3_command_authority::policy::{CommandPolicy, CommandPolicyOrder, PolicyStatement, RecordedCommand};
use alcub3_command_authority::{
    Arguments, CommandApproval, GroupEnvelope, GroupMember, Role, Value, with_approval,
};
use alcub3_crypto::{Curve, HashAlg, MacKey, SigningKey, Suite};
use alcub3_trust_model::{Level, OperatorId, RobotId};

use super::authority::{move_to, payload};
use super::structures::signature;
use super::{Seed, SeedResult, seed};

const POLICY: &str = "command_policy";
const ORDER: &str = "command_order";
const P256: Suite = Suite::EcdsaP256Sha256;

const SMALL: &str = "kind = \"command-policy\"\nplatform = [{ name = \"all\", robots = [\"*\"] }]\n";
const WHOLE: &str = r#"
kind = "command-policy"
platform = [{ name = "rover", robots = ["robot-*"] }, { name = "arm", robots = ["arm-1"] }]
rights = [{ role = "commander", commands = ["move.*"] }, { role = "operator", commands = ["observe.camera"] }]
persons = [{ commands = ["move.to"], from_level = "CUI", second = ["security-officer"] }]
argument = [
    { name = "slot", commands = ["move.*"], min = -1, max = 7 },
    { name = "surface", commands = ["move.*"], one_of = ["ice", "mud"] },
    { name = "gently", commands = ["move.*"], flag = true },
]

[[limit]]
platform = "rover"
max_speed_mm_per_s = 1200
max_turn_mdeg_per_s = 20000
max_duration_ms = 2000
max_force_mn = 50000
min_altitude_mm = -1000
max_altitude_mm = 30000
tools = ["brush", "gripper"]
geofence = [[0, 0], [0, 1000], [500, 500], [1000, 1000], [1000, 0]]

[[limit]]
mission = "08080808-0808-0808-0808-080808080808"
from_level = "SECRET"
max_speed_mm_per_s = 300
"#;

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (name, text) in [("small", SMALL), ("whole", WHOLE)] {
        let statement = statement(text)?;
        seeds.push(seed(
            POLICY,
            format!("{name}-statement"),
            statement.to_canonical(),
        ));
        seeds.push(seed(POLICY, format!("{name}-toml"), text.as_bytes().to_vec()));
        seeds.push(seed(ORDER, format!("{name}-order"), order(&statement)?));
    }
    seeds.extend(commands()?);
    Ok(seeds)
}

fn statement(text: &str) -> SeedResult<PolicyStatement> {
    Ok(PolicyStatement {
        version: 3,
        issued_at_ms: 1_790_000_000_000,
        policy: CommandPolicy::from_toml(text.as_bytes())?,
    })
}

fn order(statement: &PolicyStatement) -> SeedResult<Vec<u8>> {
    let order = CommandPolicyOrder {
        statement: statement.to_canonical(),
        approval: signature(Curve::P256, HashAlg::Sha256)?,
        approvers: vec![OperatorId::new("ann")?, OperatorId::new("ben")?],
    };
    payload(&order.unsigned(P256).sign(&SigningKey::generate(Curve::P256)?)?)
}

fn commands() -> SeedResult<Vec<Seed>> {
    let envelope = move_to()?;
    let mac = MacKey::new(HashAlg::Sha256, &[4; 32]);
    let maced = envelope.unsigned(Suite::HmacSha256).mac(&mac)?;
    let key = SigningKey::generate(Curve::P256)?;
    let approval = CommandApproval::of(&maced, OperatorId::new("operator-2")?, P256);
    let approval = approval.unsigned(P256).sign(&key)?;
    let member = |robot: &str| -> SeedResult<GroupMember> {
        Ok(GroupMember {
            robot: RobotId::new(robot)?,
            mission: envelope.mission,
            lease: envelope.lease,
            sequence: envelope.sequence,
        })
    };
    let members = vec![member("robot-16")?, member("robot-17")?];
    let group = GroupEnvelope::new("alpha", members, envelope.clone())?;
    let recorded = RecordedCommand {
        robot: envelope.robot.clone(),
        mission: envelope.mission,
        level: Level::Unclassified,
        role: Role::Operator,
        second: Some(Role::Commander),
        command: envelope.command.clone(),
        arguments: Arguments::new().with("speed_mm_per_s", Value::Int(5))?,
        admitted: false,
        reasons: vec!["policy-speed".to_owned()],
        digest: Some("00".repeat(32)),
    };
    Ok(vec![
        seed(
            "command_envelope",
            "group",
            payload(&group.unsigned(Suite::HmacSha256).mac(&mac)?)?,
        ),
        seed(ORDER, "pair", with_approval(&maced, &approval)),
        seed(ORDER, "alone", maced),
        seed(ORDER, "recorded", serde_json::to_vec(&recorded)?),
        seed("cose_message", "approval", approval),
    ])
}
