//! The adapter's socket without the socket: proofs, and what is refused of a message.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use alcub3_crypto::{HashAlg, hmac};
use alcub3_security_hal::adapter_link::{
    AdapterEvent, AdapterHandshake, AdapterSession, AgentEvent, AgentHandshake, AgentSession, Channel,
    LinkKey, LinkRefusal, Proven, ToAdapter, ToAgent, parse, to_bytes,
};
use alcub3_security_hal::platform::{NotExecuted, PlatformBrake, PlatformDriver};
use alcub3_security_hal::simulated::{SimulatedPlan, VirtualClock, simulated};
use serde_json::{Value, json};

fn key(byte: u8) -> LinkKey {
    LinkKey::from_text(&hex::encode([byte; 32])).unwrap()
}

/// Both ends' proofs over a channel, with what the middle does to each message.
fn prove(
    [agent, adapter]: [&LinkKey; 2],
    [agent_session, adapter_session]: [&str; 2],
    channels: [Channel; 2],
    mut middle: impl FnMut(Vec<u8>) -> Vec<u8>,
) -> Result<(Proven, Proven), LinkRefusal> {
    let (end, hello) = AdapterHandshake::begin(adapter, channels[1], adapter_session, [2; 32]);
    let waiting = AgentHandshake::new(agent, channels[0], agent_session, [1; 32]);
    let (challenge, waiting) = waiting.on_hello(&middle(to_bytes(&hello)))?;
    let (proof, adapter) = end.on_challenge(&middle(to_bytes(&challenge)))?;
    Ok((waiting.on_proof(&middle(to_bytes(&proof)))?, adapter))
}

fn proven(channel: Channel) -> (Proven, Proven) {
    let session = if channel == Channel::Stop { "aa" } else { "" };
    prove([&key(1), &key(1)], [session; 2], [channel; 2], |message| message).unwrap()
}

fn agent_session(channel: Channel) -> AgentSession {
    AgentSession::new(&proven(channel).0)
}

fn describe() -> Vec<u8> {
    let (mut driver, _) = simulated(SimulatedPlan::rover(1), Arc::new(VirtualClock::default()));
    to_bytes(&ToAgent::describe(&driver.describe().unwrap()))
}

fn telemetry() -> Vec<u8> {
    let (mut driver, _) = simulated(SimulatedPlan::rover(1), Arc::new(VirtualClock::default()));
    to_bytes(&ToAgent::telemetry(&driver.observe().unwrap()))
}

#[test]
fn both_ends_prove_the_same_key_channel_and_session() {
    let (same, another, whole) = (key(1), key(2), |message| message);
    prove([&same, &same], ["", ""], [Channel::Drive; 2], whole).unwrap();
    prove([&same, &same], ["aa", "aa"], [Channel::Stop; 2], whole).unwrap();
    let refused = |keys, sessions, channels| prove(keys, sessions, channels, whole).unwrap_err().code();
    assert_eq!(
        refused([&same, &another], ["", ""], [Channel::Drive; 2]),
        "not-authentic"
    );
    assert_eq!(
        refused([&same, &same], ["aa", "bb"], [Channel::Stop; 2]),
        "other-session"
    );
    assert_eq!(
        refused([&same, &same], ["", ""], [Channel::Drive, Channel::Stop]),
        "message-unexpected"
    );
}

#[test]
fn an_agent_or_adapter_without_the_key_proves_nothing() {
    // A squatter answers the adapter's hello.
    let secret = key(1);
    let (end, _) = AdapterHandshake::begin(&secret, Channel::Drive, "", [2; 32]);
    let forged = json!({"type": "challenge", "nonce": "11".repeat(32), "proof": "00".repeat(32)});
    let refused = end.on_challenge(forged.to_string().as_bytes()).unwrap_err();
    assert_eq!(refused, LinkRefusal::NotAuthentic);

    // Somebody answers the agent with the agent's own proof.
    let (_, hello) = AdapterHandshake::begin(&key(9), Channel::Drive, "", [2; 32]);
    let waiting = AgentHandshake::new(&secret, Channel::Drive, "", [1; 32]);
    let (challenge, waiting) = waiting.on_hello(&to_bytes(&hello)).unwrap();
    let ToAdapter::Challenge { proof, .. } = challenge else {
        panic!("no challenge")
    };
    let refused = waiting
        .on_proof(&to_bytes(&ToAgent::Proof { proof }))
        .unwrap_err();
    assert_eq!(refused, LinkRefusal::NotAuthentic);
}

#[test]
fn the_proof_is_the_documented_hmac() {
    let secret = key(1);
    let waiting = AgentHandshake::new(&secret, Channel::Stop, "aa", [1; 32]);
    let (_, hello) = AdapterHandshake::begin(&secret, Channel::Stop, "aa", [2; 32]);
    let (challenge, waiting) = waiting.on_hello(&to_bytes(&hello)).unwrap();
    let of = |role: &str| {
        let text = format!("alcub3/adapter-link/v1\0{role}\0stop\0aa\0");
        hmac(HashAlg::Sha256, &[1; 32], &[text.as_bytes(), &[2; 32], &[1; 32]]).to_hex()
    };
    let ToAdapter::Challenge { proof, .. } = challenge else {
        panic!("no challenge")
    };
    assert_eq!(proof, of("agent"));
    waiting
        .on_proof(&to_bytes(&ToAgent::Proof { proof: of("adapter") }))
        .unwrap();
}

#[test]
fn another_version_is_refused_by_number() {
    let hello =
        json!({"type": "hello", "version": 2, "channel": "drive", "session": "", "nonce": "22".repeat(32)});
    let secret = key(1);
    let waiting = AgentHandshake::new(&secret, Channel::Drive, "", [1; 32]);
    let refused = waiting.on_hello(hello.to_string().as_bytes()).err().unwrap();
    assert_eq!(refused, LinkRefusal::Version(2));
    assert_eq!(refused.code(), "version-unknown");
}

#[test]
fn a_message_is_taken_in_its_one_form_only() {
    let refused = |text: &str| parse::<ToAgent>(text.as_bytes()).unwrap_err().code();
    parse::<ToAgent>(br#"{"type":"beat","count":1}"#).unwrap();
    parse::<ToAgent>(b" { \"count\" : 1 ,\n\"type\":\"beat\" } ").unwrap();
    for text in [
        r#"{"type":"beat","count":1,"more":2}"#,
        r#"{"type":"beat","count":1,"count":1}"#,
        r#"{"type":"beat","type":"beat","count":1}"#,
        r#"{"type":"beat"}"#,
        r#"{"type":"beat","count":-1}"#,
        r#"{"type":"beat","count":1.0}"#,
        r#"{"type":"beat","count":"1"}"#,
        r#"["beat",1]"#,
        r#"{"type":"beat","count":1}x"#,
        r#"{"type":"bleat","count":1}"#,
        r#"{"type":"beat","count":1"#,
        r#"{"type":"telemetry","telemetry":[1,2,[],[]]}"#,
        r#"{"type":"telemetry","telemetry":{"speed_mm_per_s":0,"battery_permille":1,"position":null,"payload":[],"faults":[]}}"#,
        "",
        "\u{feff}{}",
    ] {
        assert_eq!(refused(text), "message-malformed", "{text}");
    }
    let twice =
        r#"{"type":"command","number":1,"name":"move.hold","arguments":{"a":1,"a":2},"after_stops":0}"#;
    assert_eq!(
        parse::<ToAdapter>(twice.as_bytes()).unwrap_err().code(),
        "message-malformed"
    );
}

#[test]
fn no_change_of_a_message_panics_and_what_is_taken_comes_back_the_same() {
    let mut taken = 0;
    for message in [describe(), telemetry()] {
        for at in 0..message.len() {
            for byte in [0, b'"', b'}', message[at] ^ 1] {
                let mut changed = message.clone();
                changed[at] = byte;
                if let Ok(read) = parse::<ToAgent>(&changed) {
                    taken += 1;
                    let again: Value = serde_json::from_slice(&to_bytes(&read)).unwrap();
                    assert_eq!(again, serde_json::from_slice::<Value>(&changed).unwrap());
                }
                let mut session = drive_session();
                let _ = session.on_message(&changed, 0);
            }
        }
    }
    assert!(taken > 0);
}

fn drive_session() -> AgentSession {
    thread_local! {
        static PROVEN: (Proven, Proven) = proven(Channel::Drive);
    }
    PROVEN.with(|(agent, _)| AgentSession::new(agent))
}

#[test]
fn an_adapter_describes_first_and_stays_the_same_platform() {
    let mut session = agent_session(Channel::Drive);
    let refused = session.on_message(&telemetry(), 0).unwrap_err();
    assert_eq!(refused, LinkRefusal::Unexpected("telemetry"));

    let mut session = agent_session(Channel::Drive);
    assert!(matches!(
        session.on_message(&describe(), 0).unwrap(),
        AgentEvent::Described(_)
    ));
    assert!(matches!(
        session.on_message(&telemetry(), 0).unwrap(),
        AgentEvent::Observed(_)
    ));
    session.on_message(&describe(), 0).unwrap();
    let other = String::from_utf8(describe())
        .unwrap()
        .replace("SIM-00000001\"", "SIM-2\"");
    let refused = session.on_message(other.as_bytes(), 0).unwrap_err();
    assert_eq!(refused.code(), "identity-changed");
}

#[test]
fn a_platform_without_a_stop_or_with_impossible_telemetry_is_refused() {
    let mut description: Value = serde_json::from_slice(&describe()).unwrap();
    description["description"]["capabilities"]["stops"] = json!([]);
    let mut session = agent_session(Channel::Drive);
    let refused = session
        .on_message(description.to_string().as_bytes(), 0)
        .unwrap_err();
    assert_eq!(refused.code(), "description-refused");

    let mut session = agent_session(Channel::Drive);
    session.on_message(&describe(), 0).unwrap();
    let mut observed: Value = serde_json::from_slice(&telemetry()).unwrap();
    observed["telemetry"]["battery_permille"] = json!(1001);
    let refused = session
        .on_message(observed.to_string().as_bytes(), 0)
        .unwrap_err();
    assert_eq!(refused.code(), "telemetry-refused");
}

#[test]
fn each_channel_carries_its_own_messages_and_no_flood() {
    let stopped = to_bytes(&ToAgent::Stopped { number: 1 });
    let mut stop = agent_session(Channel::Stop);
    assert_eq!(
        stop.on_message(&stopped, 0).unwrap(),
        AgentEvent::Stopped { number: 1 }
    );
    assert_eq!(
        stop.on_message(&describe(), 0).unwrap_err().code(),
        "message-unexpected"
    );
    let mut drive = agent_session(Channel::Drive);
    assert_eq!(
        drive.on_message(&stopped, 0).unwrap_err().code(),
        "message-unexpected"
    );

    let beat = to_bytes(&ToAgent::Beat { count: 0 });
    let mut flooded = agent_session(Channel::Stop);
    for _ in 0..500 {
        flooded.on_message(&beat, 7).unwrap();
    }
    assert_eq!(
        flooded.on_message(&beat, 999).unwrap_err().code(),
        "too-many-messages"
    );
    let mut paced = agent_session(Channel::Stop);
    for at in 0..5_000 {
        paced.on_message(&beat, at * 2).unwrap();
    }
}

#[test]
fn an_adapter_takes_commands_in_order_and_counts_stops_over_sessions() {
    let (_, adapter) = proven(Channel::Drive);
    let mut session = AdapterSession::new(&adapter, 7);
    let welcome = json!({"type": "welcome", "session": "aa", "beat_ms": 1, "timeout_ms": 2}).to_string();
    session.on_message(welcome.as_bytes()).unwrap();
    assert!(session.on_message(welcome.as_bytes()).is_err());
    let command = |number: u64| {
        let arguments = json!({"a": 1, "b": true, "c": "text", "d": {"hex": "00ff"}});
        json!({"type": "command", "number": number, "name": "move.hold", "arguments": arguments, "after_stops": 2})
            .to_string()
    };
    let AdapterEvent::Command {
        number,
        command: taken,
    } = session.on_message(command(1).as_bytes()).unwrap()
    else {
        panic!("no command")
    };
    assert_eq!((number, taken.after_stops()), (1, 9));
    assert_eq!(taken.arguments().iter().count(), 4);
    assert_eq!(
        session.on_message(command(1).as_bytes()).unwrap_err().code(),
        "message-unexpected"
    );
}

#[test]
fn a_platform_refuses_a_command_that_knows_of_fewer_stops_than_it_was_told() {
    let (mut driver, mut brake) = simulated(SimulatedPlan::rover(1), Arc::new(VirtualClock::default()));
    let (_, adapter) = proven(Channel::Drive);
    let mut drive = AdapterSession::new(&adapter, 0);
    let (_, adapter) = proven(Channel::Stop);
    let mut stop = AdapterSession::new(&adapter, 0);
    let order =
        json!({"type": "stop", "number": 3, "level": "hold", "stop": "x", "scope": "robot", "cause": "x"});
    let AdapterEvent::Stop { number, stop: order } = stop.on_message(order.to_string().as_bytes()).unwrap()
    else {
        panic!("no stop")
    };
    assert_eq!(number, 3);
    brake.stop(&order).unwrap();
    let mut execute = |number: u64, after_stops: u64| {
        let command = json!({"type": "command", "number": number, "name": "move.hold", "arguments": {},
            "after_stops": after_stops});
        match drive.on_message(command.to_string().as_bytes()).unwrap() {
            AdapterEvent::Command { command, .. } => driver.execute(&command),
            other => panic!("no command: {other:?}"),
        }
    };
    assert!(matches!(execute(1, 2), Err(NotExecuted::Stopped)));
    execute(2, 3).unwrap();
}
