//! The agent that holds the robot, over its local interface (docs/agent.md).

use crate::error::CliError;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Builder;

/// The longest answer, in bytes: evidence with its logs.
const MOST: usize = 64 << 20;
/// How long an answer is waited for: a mission's start makes a key in a chip.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why the agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentCallError {
    /// Nobody serves there.
    #[error("no agent serves {path}: {source}; start it with `alcub3 agent`, or leave --agent out")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It does not answer, or not as an agent does.
    #[error("the agent at {path} does not answer as one: {what}")]
    Misunderstood {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It refused.
    #[error("{message}")]
    Refused {
        /// Its word for programs.
        code: String,
        /// Its word for people.
        message: String,
        /// Whether the request may succeed later.
        may_succeed_later: bool,
    },
}

/// An agent's socket. Each call is a connection of its own.
#[derive(Debug)]
pub(crate) struct AgentClient {
    path: PathBuf,
}

impl AgentClient {
    /// The agent that serves a socket.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Reads a path.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.parse(&self.call(Method::GET, path, None, Vec::new())?)
    }

    /// Takes something away.
    pub(crate) fn delete(&self, path: &str) -> Result<Vec<u8>, CliError> {
        self.call(Method::DELETE, path, None, Vec::new())
    }

    /// The receipt of a stop.
    pub(crate) fn receipt(&self, stop: &str) -> Result<Vec<u8>, CliError> {
        self.call(
            Method::GET,
            &format!("/v1/stops/{stop}/receipt"),
            None,
            Vec::new(),
        )
    }

    /// Sends a message in canonical CBOR.
    pub(crate) fn post(&self, path: &str, message: &[u8]) -> Result<Vec<u8>, CliError> {
        self.call(Method::POST, path, Some("application/cbor"), message.to_vec())
    }

    /// Sends a document.
    pub(crate) fn post_json(&self, path: &str, document: &Value) -> Result<Vec<u8>, CliError> {
        self.call(
            Method::POST,
            path,
            Some("application/json"),
            document.to_string().into_bytes(),
        )
    }

    /// One field of a document.
    pub(crate) fn field<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<T, CliError> {
        let document: Value = self.get(path)?;
        self.of_document(document, name)
    }

    /// One field of an answer.
    pub(crate) fn field_of<T: DeserializeOwned>(&self, name: &str, answer: &[u8]) -> Result<T, CliError> {
        let document: Value = self.parse(answer)?;
        self.of_document(document, name)
    }

    fn of_document<T: DeserializeOwned>(&self, mut document: Value, name: &str) -> Result<T, CliError> {
        let field = document.get_mut(name).map(Value::take).unwrap_or_default();
        serde_json::from_value(field).map_err(|error| self.misunderstood(format!("{name}: {error}")))
    }

    /// An answer that is a document.
    pub(crate) fn parse<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, CliError> {
        serde_json::from_slice(answer).map_err(|error| self.misunderstood(error.to_string()))
    }

    /// The agent said something that none says.
    pub(crate) fn misunderstood(&self, what: impl Into<String>) -> CliError {
        CliError::AgentCall(AgentCallError::Misunderstood {
            path: self.path.clone(),
            what: what.into(),
        })
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        content: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, CliError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "agent");
        if let Some(content) = content {
            request = request.header(CONTENT_TYPE, content);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.misunderstood(error.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| self.unreachable(source))?;
        let answered = runtime.block_on(async { tokio::time::timeout(PATIENCE, self.send(request)).await });
        let (status, answer) = answered.map_err(|_| self.misunderstood("it is silent"))??;
        match status.is_success() {
            true => Ok(answer),
            false => Err(self.refusal(status, &answer)),
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Vec<u8>), CliError> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|source| self.unreachable(source))?;
        let failed = |error: hyper::Error| self.misunderstood(error.to_string());
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST).collect().await;
        let body = body.map_err(|error| self.misunderstood(error.to_string()))?;
        Ok((status, body.to_bytes().to_vec()))
    }

    fn unreachable(&self, source: io::Error) -> CliError {
        CliError::AgentCall(AgentCallError::Unreachable {
            path: self.path.clone(),
            source,
        })
    }

    fn refusal(&self, status: StatusCode, answer: &[u8]) -> CliError {
        let document: Value = serde_json::from_slice(answer).unwrap_or_default();
        let word = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(code), Some(message)) = (word("error"), word("message")) else {
            return self.misunderstood(format!("it answers {status}"));
        };
        CliError::AgentCall(AgentCallError::Refused {
            code,
            message,
            may_succeed_later: status.is_server_error(),
        })
    }
}
