//! The adapter's socket: a first byte that says which end reads and how, then the stream. Nothing panics, and a message that is taken
//! is one of ours.
#![no_main]

use alcub3_security_hal::adapter_link::{
    AdapterHandshake, AdapterSession, AgentHandshake, AgentSession, Channel, FrameReader, LinkKey, Proven,
    ToAdapter, ToAgent, parse, to_bytes,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fn proven(key: &LinkKey, channel: Channel) -> Option<(Proven, Proven)> {
    let (adapter, hello) = AdapterHandshake::begin(key, channel, "", [2; 32]);
    let agent = AgentHandshake::new(key, channel, "", [1; 32]);
    let (challenge, agent) = agent.on_hello(&to_bytes(&hello)).ok()?;
    let (proof, adapter) = adapter.on_challenge(&to_bytes(&challenge)).ok()?;
    Some((agent.on_proof(&to_bytes(&proof)).ok()?, adapter))
}

/// What is read is written the same, but for spaces and order.
fn is_ours(message: &[u8]) {
    let same = |written: Vec<u8>| {
        let [written, read]: [Value; 2] =
            [&written, message].map(|bytes| serde_json::from_slice(bytes).expect("what was taken is JSON"));
        assert_eq!(written, read);
    };
    if let Ok(taken) = parse::<ToAgent>(message) {
        same(to_bytes(&taken));
    }
    if let Ok(taken) = parse::<ToAdapter>(message) {
        same(to_bytes(&taken));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, stream)) = data.split_first() else {
        return;
    };
    let Some(key) = LinkKey::from_text(&"11".repeat(32)) else {
        return;
    };
    let channel = if mode & 1 == 0 {
        Channel::Drive
    } else {
        Channel::Stop
    };
    let Some((agent, adapter)) = proven(&key, channel) else {
        return;
    };
    let (mut agent, mut adapter) = (AgentSession::new(&agent), AdapterSession::new(&adapter, 0));
    let mut reader = FrameReader::new();
    reader.push(stream);
    while let Ok(Some(message)) = reader.next_frame() {
        is_ours(&message);
        let _ = agent.on_message(&message, 0);
        let _ = adapter.on_message(&message);
        let _ = AgentHandshake::new(&key, channel, "", [1; 32]).on_hello(&message);
        let (end, _) = AdapterHandshake::begin(&key, channel, "", [2; 32]);
        let _ = end.on_challenge(&message);
    }
});
