//! A stop by the agent that holds the robot, where no agent was named: the state folder names its stop socket.

use super::estop::Estop;
use crate::args::Context;
use crate::output::Answer;
use alcub3_agent::daemon::STOP_SOCKET_FILE;
use serde_json::json;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long the agent may take. Whoever asks stops the robot in its TPM then, which does no harm to what the agent does.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer, in bytes.
const MOST: u64 = 4096;

/// Asks the agent that holds the robot, if one does and answers. It stops the whole robot, whatever part was named: where a part is
/// to be stopped, the agent itself is to be named.
pub(super) fn stop(arguments: &Estop, context: &Context) -> Option<Answer> {
    let socket = named(&context.state_dir().ok()?)?;
    let told = match ask(&socket, format!("stop {}\n", arguments.reason().name())) {
        Ok(told) if told.starts_with("stopped ") || told.starts_with("braked") => told,
        Ok(told) => {
            tracing::warn!(socket = %socket.display(), answer = told, "the agent that holds the robot did not stop it");
            return None;
        }
        // What an agent that was killed left behind: the robot is free to be opened.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return None;
        }
        Err(error) => {
            tracing::warn!(socket = %socket.display(), %error, "the agent that holds the robot does not answer");
            return None;
        }
    };
    if !arguments.is_whole() {
        tracing::warn!(
            "the whole robot was stopped: name the agent (--agent) to stop a level or a mission of it"
        );
    }
    let is_complete = told.contains("every step is confirmed") && !told.contains("not every step");
    let stop = told
        .split_whitespace()
        .nth(1)
        .map(|word| word.trim_end_matches(':'));
    let json = json!({
        "stop": stop.filter(|_| told.starts_with("stopped ")), "scope": "robot", "complete": is_complete, "agent": true,
        "stop_socket": socket, "said": told.trim_end(),
    });
    let text = format!("by the agent that holds the robot: {}", told.trim_end());
    Some(Answer::verdict(is_complete, json, text))
}

fn named(state: &Path) -> Option<PathBuf> {
    let named = std::fs::read(state.join(STOP_SOCKET_FILE)).ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(named)))
}

/// On a thread of its own: connecting alone may wait without end, where the agent stands still and its queue is full.
fn ask(socket: &Path, line: String) -> io::Result<String> {
    let (tell, told) = channel();
    let socket = socket.to_owned();
    thread::Builder::new()
        .name("stop-socket".to_owned())
        .spawn(move || tell.send(exchange(&socket, &line)))?;
    told.recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn exchange(socket: &Path, line: &str) -> io::Result<String> {
    let mut agent = UnixStream::connect(socket)?;
    agent.write_all(line.as_bytes())?;
    let mut told = String::new();
    agent.take(MOST).read_to_string(&mut told)?;
    Ok(told)
}
