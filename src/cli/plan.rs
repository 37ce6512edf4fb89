//! `plan`: what would change and why. Asks the daemon, or works on a directory without one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::daemon::{ServerArgument, ask};
use super::{CHANGES, CommandResult, print, runtime};
use crate::clock::{Clock, Entropy};
use crate::controller::followup::Followups;
use crate::controller::plan::{PlanSettings, plan};
use crate::controller::stage::Stage;
use crate::controller::{observe, report};
use crate::model::{AppId, Completeness, Inventory, Observation, Plan};
use crate::storage::local::LocalError;
use crate::storage::{Storage, StorageError};
use crate::{config, marathon_local};

/// Show what would change, and why; changes nothing
#[derive(clap::Args)]
pub struct PlanArguments {
    #[command(flatten)]
    server: ServerArgument,
    /// Plan for this folder of manifests without a daemon
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    manifests: Option<PathBuf>,
    /// The directory of `up` to compare with, when there is no daemon
    #[arg(long, value_name = "DIR", default_value = super::up::DEFAULT_DIR, requires = "manifests")]
    dir: PathBuf,
    /// The registry's address in the rendered apps, when there is no daemon
    #[arg(long, value_name = "ADDRESS", default_value = super::up::DEFAULT_LISTEN, requires = "manifests")]
    listen: SocketAddr,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Exit with 2 when there is something to do, 0 when there is not, 1 on errors
    #[arg(long)]
    detailed_exitcode: bool,
}

/// Runs the command.
pub fn run(arguments: &PlanArguments) -> CommandResult {
    let plan = runtime()?.block_on(async {
        match &arguments.manifests {
            Some(manifests) => without_daemon(manifests, arguments).await,
            None => Ok(ask::<Plan>(&arguments.server.server, "/api/v1/plan").await?),
        }
    })?;
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&plan)?))?;
    } else {
        print(&report::plan_text(&plan))?;
    }
    let code = if !plan.problems.is_empty() {
        ExitCode::FAILURE
    } else if arguments.detailed_exitcode && plan.has_changes() {
        ExitCode::from(CHANGES)
    } else {
        ExitCode::SUCCESS
    };
    Ok(code)
}

/// Plans from what is on disk: the manifests, the storage, and the apps that the local Marathon has stored.
async fn without_daemon(
    manifests: &Path,
    arguments: &PlanArguments,
) -> Result<Plan, Box<dyn std::error::Error>> {
    let source = super::up::directory_source(manifests)?;
    let mut stage = Stage::new(Box::new(source));
    stage.refresh().await;
    let problems = stage.problems();
    let Some(accepted) = stage.accepted() else {
        return Ok(Plan { problems, ..Plan::default() });
    };
    let mut observation = Observation { marathon: Completeness::Complete, ..Observation::default() };
    let mut inventory = Inventory::default();
    match Storage::open_local_read_only(&arguments.dir, Clock::system(), Entropy::system()).await {
        Ok(storage) => {
            observe::read_registry(&storage, Some(&accepted.desired), &mut observation).await;
            inventory = storage.control.state().inventory.clone();
            for app in marathon_local::stored_apps(&arguments.dir.join("marathon"))? {
                if let Some(Ok(id)) = app.id().map(AppId::new) {
                    observation.apps.insert(id, app);
                }
            }
        }
        // Nothing was ever kept there, so everything is still to be done.
        Err(StorageError::Local(LocalError::Absent { .. })) => observation.registry = Completeness::Complete,
        Err(error) => return Err(error.into()),
    }
    let settings = PlanSettings {
        public_url: format!("http://{}", arguments.listen),
        limits: config::up_limits(),
        own_app: None,
    };
    let mut made = plan(&accepted.desired, &observation, &inventory, &Followups::new(), &settings);
    made.problems = problems;
    Ok(made)
}
