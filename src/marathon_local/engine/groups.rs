//! Groups: seen, changed, tried out (`api/v2/GroupsResource.scala` and `api/GroupApiService.scala` of
//! mesosphere/marathon).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::apps::no_time;
use super::changes::{Change, Update, unversioned};
use super::requests::{Answer, GroupEmbed, accepted, found};
use super::{Engine, Unsaved, view};
use crate::marathon::normalize::FieldError;
use crate::marathon_local::definition;
use crate::marathon_local::group::{GroupBody, GroupId, GroupRecord, canonical};
use crate::marathon_local::pod;
use crate::marathon_local::profile::Rules;
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::state::Root;
use crate::marathon_local::update;
use crate::model::{App, AppId};

impl Engine {
    fn group_exists(&self, id: &GroupId) -> bool {
        id.is_root() || self.state.groups.contains_key(id)
    }

    pub(super) fn show_group(&self, id: &GroupId, embed: GroupEmbed) -> Result<Answer, Refusal> {
        if !self.group_exists(id) {
            return Err(Refusal::NoGroup(id.to_string()));
        }
        Ok(found(self.group_json(id, embed)))
    }

    fn group_json(&self, id: &GroupId, embed: GroupEmbed) -> Value {
        let mut json = self.bare_group(id, &self.state.groups, self.state.root_version());
        if embed.apps {
            let inside = self.visible_apps().filter(|(app, _)| id.is_parent_of(app.as_str()));
            json["apps"] = inside.map(|(app, record)| self.app_json(app, record, embed.app)).collect();
        }
        if embed.pods {
            let inside = self.state.apps.iter().filter(|(_, record)| pod::is_pod(&record.app));
            let inside =
                inside.filter(|(pod, _)| id.is_parent_of(pod.as_str()) && !self.context.faults.hides(pod));
            json["pods"] = inside.map(|(pod, record)| self.pod_status_json(pod, record)).collect();
        }
        if embed.groups {
            let inside = self.state.groups.keys().filter(|group| id.is_parent_of(group.as_str()));
            json["groups"] = inside.map(|group| self.group_json(group, embed)).collect();
        }
        json
    }

    /// A group without what lies in it.
    fn bare_group(&self, id: &GroupId, groups: &BTreeMap<GroupId, GroupRecord>, version: &str) -> Value {
        let record = groups.get(id);
        let dependencies: Vec<_> = record.into_iter().flat_map(|record| &record.dependencies).collect();
        let mut json = json!({"id": id, "dependencies": dependencies, "version": version, "apps": [], "pods": [],
            "groups": []});
        if self.context.installation.profile.has_roles() && id.is_top_level() {
            json["enforceRole"] = record.is_some_and(|record| record.enforce_role).into();
        }
        json
    }

    pub(super) fn group_versions(&self, id: &GroupId) -> Result<Answer, Refusal> {
        if !self.group_exists(id) {
            return Err(Refusal::NoGroup(id.to_string()));
        }
        let versions = self.state.history.iter().rev().map(|change| Value::from(change.version.as_str()));
        Ok(found(versions.collect()))
    }

    pub(super) fn group_version(
        &self,
        id: &GroupId,
        version: &str,
        embed: GroupEmbed,
    ) -> Result<Answer, Refusal> {
        let version = view::version(version)?;
        let root = self.state.root_at(&version).filter(|root| id.is_root() || root.groups.contains_key(id));
        match root {
            Some(root) => Ok(found(self.old_group_json(id, &root, &version, embed))),
            None => Err(Refusal::NoGroup(id.to_string())),
        }
    }

    fn old_group_json(&self, id: &GroupId, root: &Root, version: &str, embed: GroupEmbed) -> Value {
        let mut json = self.bare_group(id, &root.groups, version);
        if embed.apps {
            let inside = root.apps.iter().filter(|(app, definition)| {
                id.is_parent_of(app.as_str()) && !pod::is_pod(definition) && !self.context.faults.hides(app)
            });
            json["apps"] = inside.map(|(_, app)| view::definition_json(app)).collect();
        }
        if embed.groups {
            let inside = root.groups.keys().filter(|group| id.is_parent_of(group.as_str()));
            json["groups"] = inside.map(|group| self.old_group_json(group, root, version, embed)).collect();
        }
        json
    }

    pub(super) fn create_group(
        &mut self,
        base: &GroupId,
        body: &GroupBody,
        force: bool,
    ) -> Result<Answer, Refusal> {
        let id = effective(base, body)?;
        let update = self.group_update(&id, body, force)?;
        if self.group_exists(&id) {
            return Err(Refusal::GroupExists(id.to_string()));
        }
        if AppId::new(id.as_str()).is_ok_and(|id| self.state.apps.contains_key(&id)) {
            return Err(Refusal::AppInTheWay(id.to_string()));
        }
        let about = GroupId::parent_of(base.as_str());
        let mut answer = accepted(self.change(Update { about, ..update }, force)?);
        answer.status = 201;
        answer.location = Some(id.to_string());
        Ok(answer)
    }

    pub(super) fn update_group(
        &mut self,
        base: &GroupId,
        body: &GroupBody,
        force: bool,
        dry_run: bool,
    ) -> Result<Answer, Refusal> {
        let id = effective(base, body)?;
        let update = self.group_update(&id, body, force)?;
        if dry_run {
            let steps = self.plan(update)?.steps;
            return Ok(found(json!({"steps": steps.iter().map(view::step_json).collect::<Vec<_>>()})));
        }
        let about = GroupId::parent_of(base.as_str());
        self.change(Update { about, ..update }, force).map(accepted)
    }

    /// Only whether a top-level group enforces its role can be changed like this.
    pub(super) fn patch_group(
        &mut self,
        id: &GroupId,
        enforce_role: Option<bool>,
    ) -> Result<Answer, Refusal> {
        if !id.is_top_level() {
            let message = "Id has to be a top-level group".to_owned();
            return Err(Refusal::Invalid(vec![FieldError { path: String::new(), message }]));
        }
        let Some(record) = self.state.groups.get(id) else { return Err(Refusal::NoGroup(id.to_string())) };
        // It is stored without a version and without an event.
        let record = GroupRecord { enforce_role: self.will_enforce(enforce_role), ..record.clone() };
        self.state.groups.insert(id.clone(), record);
        self.unsaved = Unsaved::Change;
        Ok(Answer { status: 200, ..Answer::default() })
    }

    pub(super) fn delete_group(&mut self, id: &GroupId, force: bool) -> Result<Answer, Refusal> {
        let about = GroupId::parent_of(id.as_str());
        self.room(about.as_ref())?;
        if !self.group_exists(id) {
            let refusal = Refusal::NoGroup(id.to_string());
            self.announce_refused(about.as_ref(), &refusal);
            return Err(refusal);
        }
        let mut update = Update { about, ..Update::default() };
        self.remove_below(id, &mut update);
        update.groups.insert(id.clone(), None);
        self.change(update, force).map(accepted)
    }

    fn group_update(&self, id: &GroupId, body: &GroupBody, force: bool) -> Result<Update, Refusal> {
        if let Some(version) = &body.version {
            let version = view::version(version).map_err(|_| Refusal::Invalid(vec![no_time()]))?;
            return self.group_at(id, &version);
        }
        if let Some(factor) = body.scale_by {
            return Ok(self.group_scaled(id, factor));
        }
        let mut faults = Vec::new();
        self.check_enforcement(id, body, body.modifies_apps(), "", &mut faults);
        let mut builder = Builder { engine: self, update: Update::default(), faults, force };
        let enforced = builder.enforcement(id, body);
        builder.group(id, body, enforced.as_ref(), "")?;
        if builder.faults.is_empty() { Ok(builder.update) } else { Err(Refusal::Invalid(builder.faults)) }
    }

    /// Whether a top-level group enforces its role after a change that says so, or says nothing: then it does as a new
    /// group would (`api/v2/GroupNormalization.scala`).
    fn will_enforce(&self, said: Option<bool>) -> bool {
        said.unwrap_or(self.context.installation.new_groups_enforce)
    }

    /// `enforceRole` belongs to top-level groups, and may not change together with apps; the group of the path is looked
    /// at only where the body names it (`state/Group.scala`).
    fn check_enforcement(
        &self,
        id: &GroupId,
        body: &GroupBody,
        modifies: bool,
        path: &str,
        faults: &mut Vec<FieldError>,
    ) {
        let mut fault = |message: String| {
            faults.push(FieldError { path: format!("{path}/enforceRole"), message });
        };
        if !id.is_top_level() && body.enforce_role == Some(true) {
            fault(format!("enforceRole can only be set for top-level groups, and {id} is not top-level"));
        }
        let old = self.state.groups.get(id).filter(|_| id.is_top_level() && body.id.is_some());
        if modifies && old.is_some_and(|old| self.will_enforce(body.enforce_role) != old.enforce_role) {
            fault(
                "enforceRole cannot be modified in a request that adds, removes or modifies services; please make \
                 these changes in separate requests."
                    .to_owned(),
            );
        }
        for (position, child) in body.groups.iter().flatten().enumerate() {
            let child_id = child.id.as_deref().and_then(|child| GroupId::parse(child, id).ok());
            if let Some(child_id) = child_id {
                self.check_enforcement(
                    &child_id,
                    child,
                    modifies,
                    &format!("{path}/groups/{position}"),
                    faults,
                );
            }
        }
    }

    fn group_at(&self, id: &GroupId, version: &str) -> Result<Update, Refusal> {
        let root = self.state.root_at(version).filter(|root| id.is_root() || root.groups.contains_key(id));
        let root = root.ok_or_else(|| Refusal::NoGroupVersion(id.to_string(), version.to_owned()))?;
        let mut update = Update::default();
        self.remove_below(id, &mut update);
        for (app, definition) in root.apps.into_iter().filter(|(app, _)| app.is_below(id.as_str())) {
            update.specs.insert(app, Change::Put(unversioned(definition)));
        }
        for (group, record) in root.groups.into_iter().filter(|(g, _)| g == id || g.is_below(id)) {
            update.groups.insert(group, Some(record));
        }
        Ok(update)
    }

    fn group_scaled(&self, id: &GroupId, factor: f64) -> Update {
        let inside = self.state.apps.iter().filter(|(app, _)| app.is_below(id.as_str()));
        let scaled = inside.filter(|(_, record)| !pod::is_pod(&record.app)).map(|(app, record)| {
            let mut definition = unversioned(record.app.clone());
            let instances = scale(definition::instances(&definition), factor);
            definition.0.insert("instances".to_owned(), instances.into());
            (app.clone(), Change::Put(definition))
        });
        Update { specs: scaled.collect(), ..Update::default() }
    }

    /// Everything that lies in a group goes.
    fn remove_below(&self, id: &GroupId, update: &mut Update) {
        let apps = self.state.apps.keys().filter(|app| app.is_below(id.as_str()));
        update.specs.extend(apps.map(|app| (app.clone(), Change::Remove)));
        let groups = self.state.groups.keys().filter(|group| group.is_below(id));
        update.groups.extend(groups.map(|group| (group.clone(), None)));
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Marathon multiplies in doubles; what is too large becomes the largest number"
)]
fn scale(instances: u64, factor: f64) -> u64 {
    ((instances as f64 * factor).ceil() as u64).min(i32::MAX as u64)
}

/// The group that a body is about: that of the path, or one that the body names from there.
fn effective(base: &GroupId, body: &GroupBody) -> Result<GroupId, Refusal> {
    let id = body.id.as_deref().map_or_else(|| Ok(base.clone()), |id| GroupId::parse(id, base));
    id.map_err(|message| Refusal::Invalid(vec![FieldError { path: "/id".to_owned(), message }]))
}

/// Makes an update of a body that describes a whole group.
struct Builder<'a> {
    engine: &'a Engine,
    update: Update,
    faults: Vec<FieldError>,
    force: bool,
}

impl Builder<'_> {
    /// The top-level group that the apps of a group lie in, as it will be; none for the root.
    fn enforcement(&self, id: &GroupId, body: &GroupBody) -> Option<GroupRecord> {
        if id.is_top_level() {
            let new = || self.engine.context.installation.new_group(id);
            let old = self.engine.state.groups.get(id).cloned().unwrap_or_else(new);
            return Some(GroupRecord { enforce_role: self.engine.will_enforce(body.enforce_role), ..old });
        }
        let top = GroupId::ancestors_of(id.as_str()).find(GroupId::is_top_level)?;
        self.engine.state.groups.get(&top).cloned()
    }

    fn fault(&mut self, path: String, message: String) {
        self.faults.push(FieldError { path, message });
    }

    fn group(
        &mut self,
        id: &GroupId,
        body: &GroupBody,
        top: Option<&GroupRecord>,
        path: &str,
    ) -> Result<(), Refusal> {
        let old = self.engine.state.groups.get(id).cloned().unwrap_or_default();
        let absolute = |name: &String| canonical(name, id.as_str());
        let record = GroupRecord {
            dependencies: match &body.dependencies {
                Some(names) => names.iter().map(absolute).collect(),
                None => old.dependencies,
            },
            enforce_role: id.is_top_level() && top.is_some_and(|top| top.enforce_role),
        };
        let is_plain_root = id.is_root() && record == GroupRecord::default();
        self.update.groups.insert(id.clone(), Some(record).filter(|_| !is_plain_root));
        if let Some(apps) = &body.apps {
            self.apps(id, apps, top, path)?;
        }
        if let Some(groups) = &body.groups {
            self.groups(id, groups, path)?;
        }
        Ok(())
    }

    /// The apps directly in a group: those that are not named go.
    fn apps(
        &mut self,
        id: &GroupId,
        apps: &[App],
        top: Option<&GroupRecord>,
        path: &str,
    ) -> Result<(), Refusal> {
        let engine = self.engine;
        let inside = engine
            .state
            .apps
            .iter()
            .filter(|(app, record)| id.is_parent_of(app.as_str()) && !pod::is_pod(&record.app));
        self.update.specs.extend(inside.map(|(app, _)| (app.clone(), Change::Remove)));
        for (position, app) in apps.iter().enumerate() {
            let place = format!("{path}/apps/{position}");
            match self.app(id, app, top) {
                Ok((app_id, app)) => drop(self.update.specs.insert(app_id, Change::Put(app))),
                Err(Refusal::Invalid(errors)) => {
                    for error in errors {
                        self.fault(format!("{place}{}", error.path), error.message);
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn app(&self, group: &GroupId, app: &App, top: Option<&GroupRecord>) -> Result<(AppId, App), Refusal> {
        let fault = |message: String| Refusal::Invalid(vec![FieldError { path: "/id".to_owned(), message }]);
        let id = canonical(app.id().unwrap_or_default(), group.as_str());
        let id = AppId::new(&id).map_err(|e| fault(e.to_string()))?;
        if !group.is_parent_of(id.as_str()) {
            return Err(fault(format!(
                "Identifier is not child of '{group}': {id}. Write an id relative to the group"
            )));
        }
        let mut body = app.clone();
        if let Some(Value::Array(names)) = body.0.get_mut("dependencies") {
            for name in names {
                if let Some(text) = name.as_str() {
                    *name = canonical(text, group.as_str()).into();
                }
            }
        }
        let record = self.engine.state.apps.get(&id);
        let role = record.and_then(|r| r.app.get("role")).and_then(Value::as_str);
        let rules = Rules::of(&self.engine.context.installation, &id, top, role);
        let app = update::full(body, &id, &rules)?;
        if let Some(record) = record {
            update::check_resident(&record.app, &app, self.force)?;
        }
        Ok((id, app))
    }

    /// The groups directly in a group: those that are not named go, with everything in them.
    fn groups(&mut self, id: &GroupId, groups: &[GroupBody], path: &str) -> Result<(), Refusal> {
        let engine = self.engine;
        let mut named = Vec::new();
        for (position, body) in groups.iter().enumerate() {
            let place = format!("{path}/groups/{position}");
            match GroupId::parse(body.id.as_deref().unwrap_or_default(), id) {
                Ok(child) if id.is_parent_of(child.as_str()) => named.push((child, body, place)),
                Ok(child) => {
                    self.fault(format!("{place}/id"), format!("Identifier is not child of '{id}': {child}"));
                }
                Err(message) => self.fault(format!("{place}/id"), message),
            }
        }
        let gone = engine.state.groups.keys().filter(|g| id.is_parent_of(g.as_str()));
        let gone: Vec<_> = gone.filter(|group| named.iter().all(|(child, ..)| child != *group)).collect();
        for group in gone {
            engine.remove_below(group, &mut self.update);
            self.update.groups.insert(group.clone(), None);
        }
        for (child, body, place) in named {
            let top = self.enforcement(&child, body);
            // A group that is named by the same body may enforce its role from now on.
            let above = GroupId::ancestors_of(child.as_str()).find(GroupId::is_top_level);
            let planned = above.and_then(|above| self.update.groups.get(&above).cloned().flatten());
            self.group(&child, body, planned.or(top).as_ref(), &place)?;
        }
        Ok(())
    }
}
