//! Work that a running daemon does for us: it holds the directory, or leads.

use serde::{Deserialize, Serialize};

use super::target::TargetArguments;
use super::{Held, Result};
use crate::cli::daemon;

/// What the daemon is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Delete even if it is this many copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<u64>,
}

/// Which daemon does it.
#[derive(clap::Args, Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonArguments {
    /// Let the daemon at this URL do it
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// File whose first line is the token for that daemon
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<std::path::PathBuf>,
}

impl DaemonArguments {
    /// The daemon, where no storage is named that could be worked on from here.
    pub fn instead_of(&self, target: &TargetArguments) -> Option<&str> {
        self.server.as_deref().filter(|_| !target.is_given())
    }

    /// The daemon, where one is named and the error says that a daemon holds the directory.
    ///
    /// # Errors
    /// The error itself otherwise.
    pub fn when_held(&self, error: Box<dyn std::error::Error>) -> Result<&str> {
        match &self.server {
            Some(server) if error.is::<Held>() => {
                eprintln!("dcos-registry: {error}; asking the daemon at {server}");
                Ok(server)
            }
            _ if error.is::<Held>() => {
                Err(format!("{error}; or let the daemon do it: add --server URL").into())
            }
            _ => Err(error),
        }
    }

    /// Has `POST /api/v1/storage/<work>` done, and gives its report.
    ///
    /// # Errors
    /// When there is no daemon, or it refuses.
    pub async fn order<T: serde::de::DeserializeOwned>(
        &self,
        server: &str,
        work: &str,
        order: &Order,
    ) -> Result<T> {
        let token = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read the token file {}: {error}", path.display()))?;
                Some(text.lines().next().unwrap_or_default().trim().to_owned())
            }
            None => None,
        };
        Ok(daemon::order(server, &format!("/api/v1/storage/{work}"), order, token.as_deref()).await?)
    }
}
