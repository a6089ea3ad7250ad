//! A connection to the engine: where to, by TLS or not, and as whom.

use std::path::PathBuf;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::StoreError;
use super::error::Failure;

/// Questions that wait to be written at once. More of them wait for room.
const QUEUED: usize = 1024;

/// A connection that has come about.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    /// The task that reads and writes: it ends when the other end hangs up.
    driver: AbortHandle,
}

impl Wire {
    /// One more that asks by it.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Whether the other end has hung up, as far as we were told.
    pub(super) fn is_over(&self) -> bool {
        self.driver.is_finished()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Target {
    address: Address,
    /// Its name and password, and which of its databases.
    login: RedisConnectionInfo,
}

#[derive(Debug)]
enum Address {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16, name: ServerName<'static>, config: Arc<ClientConfig> },
    Unix(PathBuf),
}

impl Target {
    /// Reads the URL; none where it is none that can be used.
    #[allow(clippy::wildcard_enum_match_arm, reason = "kinds of addresses that the crate may add are none of ours")]
    pub(super) fn parse(url: &str) -> Option<Self> {
        let found = url.into_connection_info().ok()?;
        let address = match found.addr() {
            ConnectionAddr::Tcp(host, port) => Address::Tcp { host: host.clone(), port: *port },
            ConnectionAddr::TcpTls { host, port, insecure: false, .. } => Address::Tls {
                host: host.clone(),
                port: *port,
                name: ServerName::try_from(host.clone()).ok()?,
                config: crate::tls::outgoing().ok()?,
            },
            ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            // Without verification, or of a kind that is not known yet.
            _ => return None,
        };
        Some(Self { address, login: found.redis_settings().clone() })
    }

    /// Where it is, without anything secret.
    pub(super) fn place(&self) -> String {
        match &self.address {
            Address::Tcp { host, port } | Address::Tls { host, port, .. } => format!("{host}:{port}"),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    /// Connects and logs in. The connection lives on the runtime that this runs on.
    pub(super) async fn connect(&self) -> Result<Wire, Failure> {
        match &self.address {
            Address::Tcp { host, port } => self.greet(tcp(host, *port).await?).await,
            Address::Tls { host, port, name, config } => {
                let stream = tcp(host, *port).await?;
                let connected = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await;
                let stream = connected.map_err(|error| {
                    tracing::debug!(engine = self.place(), %error, "no TLS with the shared store");
                    StoreError::Connect
                })?;
                self.greet(stream).await
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|_| StoreError::Connect)?;
                self.greet(stream).await
            }
        }
    }

    async fn greet<S>(&self, stream: S) -> Result<Wire, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(QUEUED);
        let made = MultiplexedConnection::new_with_config(&self.login, stream, config).await;
        let (connection, driver) = made.map_err(|error| {
            let failure = Failure::from(&error);
            tracing::debug!(engine = self.place(), code = failure.code, "the shared store does not let us in");
            let is_lost = matches!(failure.error, StoreError::Broken | StoreError::Timeout);
            if is_lost { StoreError::Connect.into() } else { failure }
        })?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Wire { connection, driver })
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, StoreError> {
    let stream = TcpStream::connect((host, port)).await.map_err(|_| StoreError::Connect)?;
    // Without, questions are held back for the answers to those before.
    stream.set_nodelay(true).map_err(|_| StoreError::Connect)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let check = |url: &str, expected: Option<(&str, i64)>| {
            let found = Target::parse(url);
            let told = found.as_ref().map(|target| (target.place(), target.login.db()));
            assert_eq!(told.as_ref().map(|(place, db)| (&**place, *db)), expected, "{url}");
        };
        check("http://127.0.0.1", None);
        check("redis://", None);
        check("redis://127.0.0.1/x", None);
        check("rediss://127.0.0.1/#insecure", None);
        check("redis://127.0.0.1", Some(("127.0.0.1:6379", 0)));
        check("redis://:p@[::1]:1/3", Some(("::1:1", 3)));
        check("redis://user:p%20q@redis.internal:6380/15", Some(("redis.internal:6380", 15)));
        check("rediss://redis.internal", Some(("redis.internal:6379", 0)));
        check("unix:/run/redis.sock?db=2", Some(("/run/redis.sock", 2)));
        check("unix:///run/redis.sock", Some(("/run/redis.sock", 0)));
        let login = Target::parse("redis://user:p%20q@a").unwrap().login;
        assert_eq!((login.username(), login.password()), (Some("user"), Some("p q")));
        assert!(!format!("{login:?}").contains("p q"));
    }
}
