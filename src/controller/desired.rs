//! The desired state: the units of one manifest revision with their packages read and their apps proven
//! to render. Pure; whoever calls it has already read the package directories.
//!
//! Everything that can be known to be wrong without looking at the cluster is found here, for all units at
//! once, and rejects the whole revision: the last good one stays in force.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::manifest::{
    AppSpec, DriftPolicy, ForeignDeployments, Manifest, OnFailure, PackageSpec, Presence, Recreate,
    ServiceSpec, Spec, UnitDocument,
};
use crate::marathon::normalize::{
    Canonical, FieldError, normalize, normalize_dropping, normalize_dropping_for, normalize_for,
};
use crate::marathon::profile::Profile;
use crate::model::{
    App, AppId, Coordinate, Digest, PackageContent, Problem, Revision, SourceName, UnitId, UnitKind, Warning,
    resolve_references,
};
use crate::render::{self, RenderError, RenderRequest};
use crate::universe::PackageDefinition;

/// What a unit wants to be there.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// A package version in the registry.
    Package {
        /// What it consists of.
        content: Arc<PackageContent>,
        /// Its package digest, computed once.
        digest: Digest,
    },
    /// An app rendered from the version that a Package unit names.
    Service {
        /// The Package unit.
        package: UnitId,
        /// The user's options.
        options: Map<String, Value>,
        /// The id that the manifest gives, where it gives one.
        named: Option<AppId>,
    },
    /// An app as written in the manifest.
    App {
        /// The app in the canonical form of the newest Marathon.
        app: Canonical,
        /// The app in its author's words: other servers know other fields.
        written: App,
    },
}

/// One unit, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredUnit {
    /// What it wants.
    pub goal: Goal,
    /// The app's id; none for packages.
    pub app_id: Option<AppId>,
    /// The units that must be ready first.
    pub depends_on: Vec<UnitId>,
    /// What to do about drift.
    pub drift: DriftPolicy,
    /// JSON pointers that the manifest does not own.
    pub ignore: Vec<String>,
    /// Never delete its app, even after the document is gone.
    pub protect: bool,
    /// `state: absent`: the app shall not be there.
    pub absent: bool,
    /// How long it may take to become ready before that is called a failure; none for packages.
    pub timeout: Option<Duration>,
    /// What to do then.
    pub on_failure: OnFailure,
    /// What to do when a deployment of somebody else holds the app.
    pub foreign_deployments: ForeignDeployments,
    /// Whether the app may be deleted with its volumes where a change cannot be made otherwise.
    pub recreate: Recreate,
}

/// The units of one manifest revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The source.
    pub source: SourceName,
    /// The revision.
    pub revision: Revision,
    /// The units.
    pub units: BTreeMap<UnitId, DesiredUnit>,
    /// Their keys, each after those it depends on.
    pub order: Vec<UnitId>,
}

/// Joins the documents of a manifest with the contents of their packages. `found` are the problems of earlier
/// stages: they reject the revision too, but what can be read is still looked at, so that all problems come
/// together.
///
/// # Errors
/// `found`, and all problems of all units: options that do not fit, templates that do not render, apps that
/// Marathon would refuse, two units with one app id.
pub fn resolve(
    source: &SourceName,
    revision: &Revision,
    manifest: &Manifest,
    contents: &BTreeMap<UnitId, Arc<PackageContent>>,
    found: Vec<Problem>,
) -> Result<Desired, Vec<Problem>> {
    let (mut units, mut problems) = (BTreeMap::new(), found);
    for document in &manifest.units {
        match resolve_unit(document, contents) {
            Ok(unit) => {
                units.insert(document.id.clone(), unit);
            }
            Err(mut found) => problems.append(&mut found),
        }
    }
    problems.extend(shared_ids(manifest, &units));
    if units.len() < manifest.units.len() && problems.is_empty() {
        // Nobody may find fewer units than there are documents without being told.
        problems.push(Problem::of_file(&crate::model::SnapshotPath::root(), "a unit could not be resolved"));
    }
    if !problems.is_empty() {
        problems.sort();
        problems.dedup();
        return Err(problems);
    }
    let order = manifest.in_order().into_iter().map(|document| document.id.clone()).collect();
    Ok(Desired { source: source.clone(), revision: revision.clone(), units, order })
}

/// A unit whose package could not be read yields no problem of its own: the package's problems say it.
fn resolve_unit(
    document: &UnitDocument,
    contents: &BTreeMap<UnitId, Arc<PackageContent>>,
) -> Result<DesiredUnit, Vec<Problem>> {
    let (goal, app_id) = match &document.spec {
        Spec::Package(spec) => (package_goal(document, spec, contents)?, None),
        Spec::Service(spec) => service_goal(document, spec, contents)?,
        Spec::App(spec) => app_goal(document, spec)?,
    };
    let upkeep = document.spec.upkeep();
    Ok(DesiredUnit {
        goal,
        app_id,
        depends_on: document.depends_on().to_vec(),
        drift: upkeep.map_or(DriftPolicy::Enforce, |upkeep| upkeep.drift),
        ignore: upkeep.map(|upkeep| upkeep.ignore.clone()).unwrap_or_default(),
        protect: upkeep.is_some_and(|upkeep| upkeep.protect),
        absent: upkeep.is_some_and(|upkeep| upkeep.state == Presence::Absent),
        timeout: upkeep.map(|upkeep| upkeep.wait),
        on_failure: upkeep.map_or(OnFailure::Hold, |upkeep| upkeep.on_failure),
        foreign_deployments: upkeep.map_or(ForeignDeployments::Wait, |upkeep| upkeep.foreign_deployments),
        recreate: upkeep.map_or(Recreate::Never, |upkeep| upkeep.recreate),
    })
}

fn package_goal(
    document: &UnitDocument,
    spec: &PackageSpec,
    contents: &BTreeMap<UnitId, Arc<PackageContent>>,
) -> Result<Goal, Vec<Problem>> {
    let content = contents.get(&document.id).ok_or_else(Vec::new)?;
    let digest = content.digest();
    let checked = PackageDefinition::from_metadata(&content.metadata, None)
        .map_err(RenderFailure::from)
        .and_then(|definition| Ok(render::check_template(&definition)?));
    if let Err(error) = checked {
        let message = format!("{} cannot be published: {error}", content.coordinate);
        let problem = document.problem("spec.source.directory", message);
        return Err(vec![problem.suggest("correct the package's files")]);
    }
    match spec.digest {
        Some(pinned) if pinned != digest => {
            let message = format!("the package is pinned to {pinned}, but its files give {digest}");
            let problem = document.problem("spec.digest", message);
            Err(vec![problem.suggest("restore the files, or pin the new digest under a new version")])
        }
        _ => Ok(Goal::Package { content: Arc::clone(content), digest }),
    }
}

fn service_goal(
    document: &UnitDocument,
    spec: &ServiceSpec,
    contents: &BTreeMap<UnitId, Arc<PackageContent>>,
) -> Result<(Goal, Option<AppId>), Vec<Problem>> {
    let source = document.id.source.clone();
    let package = UnitId { source, kind: UnitKind::Package, name: spec.package.clone() };
    let content = contents.get(&package).ok_or_else(Vec::new)?;
    // The release version is not known yet; it changes a label and nothing that is checked here.
    let version =
        PackageVersionOf { coordinate: &content.coordinate, metadata: &content.metadata, release: 0 };
    let rendered = version.render(&spec.options, spec.app_id.as_ref(), "");
    let app = rendered.map_err(|error| render_problems(document, &content.coordinate, &error))?;
    let id = app.id().unwrap_or_default();
    let app_id = AppId::absolute(id).map_err(|error| {
        let problem = document.problem("spec.package", format!("the template gives no usable id: {error}"));
        vec![problem.suggest("write spec.appId")]
    })?;
    // What the template says that Marathon does not know is told by the plan, which knows the cluster's version.
    let faults = normalize_dropping(&app).err().unwrap_or_default();
    if !faults.is_empty() {
        let of_fault = |fault| {
            let message = format!("{} renders an app that Marathon refuses: {fault}", content.coordinate);
            document.problem("spec.package", message)
        };
        return Err(faults.iter().map(of_fault).collect());
    }
    let (options, named) = (spec.options.clone(), spec.app_id.clone());
    Ok((Goal::Service { package, options, named }, Some(app_id)))
}

fn render_problems(document: &UnitDocument, package: &Coordinate, error: &RenderFailure) -> Vec<Problem> {
    match error {
        RenderFailure::Render(RenderError::Options(violations)) => {
            let of_violation = |violation: &render::Violation| {
                let problem = document.option_problem(&violation.pointer, violation.message.clone());
                problem.suggest(violation.suggestion.clone())
            };
            violations.iter().map(of_violation).collect()
        }
        error => vec![document.problem("spec.package", format!("{package} does not render: {error}"))],
    }
}

fn app_goal(document: &UnitDocument, spec: &AppSpec) -> Result<(Goal, Option<AppId>), Vec<Problem>> {
    match normalize(&spec.app) {
        Ok(app) => Ok((Goal::App { app, written: spec.app.clone() }, Some(spec.app_id.clone()))),
        Err(faults) => Err(faults
            .iter()
            .map(|fault| {
                let path = format!("spec.app{}", fault.path.replace('/', "."));
                document.problem(&path, fault.message.clone())
            })
            .collect()),
    }
}

/// Two units that end up with one app id, though their documents do not show it.
fn shared_ids(manifest: &Manifest, units: &BTreeMap<UnitId, DesiredUnit>) -> Vec<Problem> {
    let mut first: BTreeMap<&AppId, &UnitDocument> = BTreeMap::new();
    let mut problems = Vec::new();
    for document in &manifest.units {
        let Some(app_id) = units.get(&document.id).and_then(|unit| unit.app_id.as_ref()) else { continue };
        match first.get(app_id) {
            None => {
                first.insert(app_id, document);
            }
            Some(other) => {
                let message = format!("{} ({}) already has the app id {app_id}", other.id, other.place);
                let problem = document.problem("spec.appId", message);
                problems.push(problem.suggest("give one of them another appId"));
            }
        }
    }
    problems
}

/// A package version that apps are rendered from: published, or about to be.
pub struct PackageVersionOf<'a> {
    /// Name and version.
    pub coordinate: &'a Coordinate,
    /// Its metadata, with references to its own members.
    pub metadata: &'a Value,
    /// Its release version.
    pub release: u64,
}

/// Why an app cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderFailure {
    /// The metadata is not valid.
    #[error(transparent)]
    Metadata(#[from] crate::universe::UniverseError),
    /// The options or the template.
    #[error(transparent)]
    Render(#[from] RenderError),
}

impl PackageVersionOf<'_> {
    /// Renders an app whose URIs lie below the public URL of the registry.
    ///
    /// # Errors
    /// [`RenderFailure`].
    pub fn render(
        &self,
        options: &Map<String, Value>,
        app_id: Option<&AppId>,
        public_url: &str,
    ) -> Result<App, RenderFailure> {
        let metadata = resolve_references(self.metadata, self.coordinate, public_url);
        let definition = PackageDefinition::from_metadata(&metadata, Some(self.release))?;
        let repository = format!("{public_url}/repo");
        Ok(render::render(&RenderRequest {
            definition: &definition,
            release_version: self.release,
            options,
            app_id,
            repository: &repository,
            validate: true,
        })?)
    }
}

/// More dropped fields of one template than these are only counted.
const MOST_WARNINGS: usize = 16;

/// The longest text of a warning and of its place, in characters: templates are strangers'.
const LONGEST_WARNING: usize = 200;

/// An app that a unit wants.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedApp {
    /// The app.
    pub app: Canonical,
    /// What the template says and the cluster's Marathon does not know, ordered by place; it is not in the app. Never
    /// anything for an app that is written out: there it is a fault.
    pub warnings: Vec<Warning>,
}

/// The app that a unit wants, in the canonical form of the cluster's Marathon and under this id. A Service needs the
/// version of its package.
///
/// # Errors
/// In words, why there is no such app.
pub fn wanted_app(
    unit: &DesiredUnit,
    app_id: &AppId,
    package: Option<&PackageVersionOf<'_>>,
    public_url: &str,
    profile: Profile,
) -> Result<WantedApp, String> {
    let told =
        |faults: Vec<FieldError>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let written_out = |app| WantedApp { app, warnings: Vec::new() };
    match (&unit.goal, package) {
        (Goal::App { app, .. }, _) if profile == Profile::default() => Ok(written_out(app.clone())),
        (Goal::App { written, .. }, _) => normalize_for(written, profile).map(written_out).map_err(told),
        (Goal::Service { options, .. }, Some(package)) => {
            let app = package.render(options, Some(app_id), public_url).map_err(|e| e.to_string())?;
            // Marathon ignores fields that it does not know, and templates have such.
            let (app, unknown) = normalize_dropping_for(&app, profile).map_err(told)?;
            Ok(WantedApp { app, warnings: dropped(unknown) })
        }
        _ => Err("the unit has no app".to_owned()),
    }
}

/// The warnings about fields of a template that are dropped.
fn dropped(mut unknown: Vec<FieldError>) -> Vec<Warning> {
    unknown.sort();
    let surplus = unknown.len().saturating_sub(MOST_WARNINGS);
    let shown = unknown.iter().take(MOST_WARNINGS).map(|fault| Warning {
        path: shortened(&fault.path),
        message: shortened(&format!("dropped from the template: {}", fault.message)),
    });
    let rest = (surplus > 0).then(|| Warning {
        path: String::new(),
        message: format!("{surplus} more fields are dropped from the template"),
    });
    shown.chain(rest).collect()
}

/// A text as it may stand on one line of a terminal.
fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_WARNING).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.replace(char::is_control, "\u{fffd}")
}
