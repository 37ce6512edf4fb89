//! `render`: the Marathon app that a service of a package would be, labels included.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value};

use super::CommandResult;
use crate::bundle;
use crate::clock::Clock;
use crate::model::{AppId, Coordinate, SourceName, resolve_references};
use crate::render::{RenderError, RenderRequest, Violation, render};
use crate::source::{DirectorySource, Source as _};
use crate::universe::{self, PackageDefinition};

/// Print the Marathon app that a service of a package would be
#[derive(clap::Args)]
pub struct RenderArguments {
    /// The package directory: package.json, config.json, resource.json, marathon.json.mustache
    package: PathBuf,
    /// A JSON file with options
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// The app's id instead of the template's
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,
    /// URL of the registry, for the package's own files
    #[arg(long, value_name = "URL", default_value = super::DEFAULT_SERVER)]
    registry: String,
    /// Render though the options do not satisfy the package's schema
    #[arg(long)]
    no_validate: bool,
}

/// Runs the command.
pub fn run(arguments: &RenderArguments) -> CommandResult {
    let options = read_options(arguments.options.as_ref())?;
    let app_id = arguments.app_id.as_deref().map(AppId::absolute).transpose()?;
    let definition = read_package(arguments)?;
    let repository = format!("{}/repo", arguments.registry.trim_end_matches('/'));
    let app = render(&RenderRequest {
        definition: &definition,
        release_version: definition.release_version.unwrap_or_default(),
        options: &options,
        app_id: app_id.as_ref(),
        repository: &repository,
        validate: !arguments.no_validate,
    });
    match app {
        Ok(app) => super::print(&format!("{}\n", serde_json::to_string_pretty(&app)?))?,
        Err(RenderError::Options(violations)) => return Err(violations_text(&violations).into()),
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn violations_text(violations: &[Violation]) -> String {
    let mut text =
        format!("the options do not fit the package's config.json, {} violation(s):", violations.len());
    for violation in violations {
        text.push_str("\n  ");
        text.push_str(&violation.to_string());
    }
    text
}

/// The package as the registry would serve it: its own files under the registry's URL, other URIs as they are.
fn read_package(arguments: &RenderArguments) -> Result<PackageDefinition, Box<dyn std::error::Error>> {
    let name = SourceName::new("render")?;
    let mut source = DirectorySource::of_folder(name, &arguments.package, Clock::system())?;
    let snapshot = super::runtime()?.block_on(source.snapshot())?;
    let definition = universe::read_directory(&snapshot, &snapshot.manifests).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    let mut metadata = definition.metadata();
    bundle::refer(&snapshot, &snapshot.manifests, &mut metadata);
    let coordinate = Coordinate::new(definition.name, definition.version);
    let metadata = resolve_references(&metadata, &coordinate, &arguments.registry);
    Ok(PackageDefinition::from_metadata(&metadata, definition.release_version)?)
}

fn read_options(file: Option<&PathBuf>) -> Result<Map<String, Value>, Box<dyn std::error::Error>> {
    let Some(file) = file else { return Ok(Map::new()) };
    let text = std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    match serde_json::from_slice(&text) {
        Ok(Value::Object(options)) => Ok(options),
        Ok(_) => {
            Err(format!("{}: options are a JSON object, such as {{\"cpus\": 0.1}}", file.display()).into())
        }
        Err(error) => Err(format!("{} is no JSON: {error}", file.display()).into()),
    }
}
