//! Seeds of the adapter's socket: a byte for the channel, then frames.

use alcub3_security_hal::adapter_link::{
    AdapterHandshake, AgentHandshake, Channel, LinkKey, StopMessage, ToAdapter, ToAgent, frame, to_bytes,
};
use alcub3_security_hal::platform::{PlatformDriver, StopLevel};
use alcub3_security_hal::simulated::{SimulatedPlan, VirtualClock, simulated};
use std::sync::Arc;

use super::{Seed, SeedResult, seed};

const TARGET: &str = "adapter_link";
const DRIVE: u8 = 0;
const STOP: u8 = 1;
const COMMAND: &[u8] = br#"{"type":"command","number":1,"name":"move.velocity","arguments":{"velocity_x_mm_per_s":500,"b":true,"c":"x","d":{"hex":"00ff"}},"after_stops":0}"#;

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let (mut driver, _) = simulated(SimulatedPlan::rover(1), Arc::new(VirtualClock::default()));
    let described = to_bytes(&ToAgent::describe(
        &driver.describe().map_err(|error| error.to_string())?,
    ));
    let observed = to_bytes(&ToAgent::telemetry(
        &driver.observe().map_err(|error| error.to_string())?,
    ));
    let stop = ToAdapter::Stop(StopMessage {
        number: 1,
        level: StopLevel::ControlledOff,
        stop: "07".repeat(16),
        scope: "robot".to_owned(),
        cause: "operator".to_owned(),
    });
    let beat = to_bytes(&ToAgent::Beat { count: 3 });
    let stopped = to_bytes(&ToAgent::Stopped { number: 1 });
    let stream = |channel, messages: &[&[u8]]| {
        let frames = messages.iter().flat_map(|message| frame(message));
        std::iter::once(channel).chain(frames).collect()
    };
    let [hello, challenge, proof] = handshake()?;
    Ok(vec![
        seed(
            TARGET,
            "described",
            stream(DRIVE, &[&described, &observed, &beat]),
        ),
        seed(TARGET, "command", stream(DRIVE, &[COMMAND])),
        seed(TARGET, "stop", stream(STOP, &[&to_bytes(&stop), &stopped, &beat])),
        seed(TARGET, "handshake", stream(DRIVE, &[&hello, &challenge, &proof])),
    ])
}

/// The messages of a handshake, with the target's own key and nonces.
fn handshake() -> SeedResult<[Vec<u8>; 3]> {
    let key = LinkKey::from_text(&"11".repeat(32)).ok_or("the key's text is none")?;
    let (adapter, hello) = AdapterHandshake::begin(&key, Channel::Drive, "", [2; 32]);
    let agent = AgentHandshake::new(&key, Channel::Drive, "", [1; 32]);
    let (challenge, _) = agent.on_hello(&to_bytes(&hello))?;
    let (proof, _) = adapter.on_challenge(&to_bytes(&challenge))?;
    Ok([to_bytes(&hello), to_bytes(&challenge), to_bytes(&proof)])
}
