//! The steps of a deployment: what happens to which app or pod, and in which order. Pure.
//!
//! Source: `core/deployment/DeploymentPlan.scala` and `state/RootGroup.scala` of mesosphere/marathon. First
//! all that goes is stopped, then all that is new is started with nothing, then, layer by layer of the
//! dependencies, numbers are reached and tasks replaced.

use std::collections::{BTreeMap, BTreeSet};

use super::group::{GroupId, GroupRecord};
use super::state::{ActionKind, Step, StepAction};
use crate::model::AppId;

/// What becomes of an app or pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is new.
    New,
    /// It goes.
    Gone,
    /// The number of its tasks changes.
    Scale,
    /// Its tasks are replaced.
    Restart,
}

/// What is to be planned of one app or pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// What becomes of it.
    pub fate: Fate,
    /// Whether it is a pod.
    pub pod: bool,
}

/// Who depends on whom, after the change.
pub struct Dependencies<'a> {
    /// All apps and pods, with the apps and groups that they name.
    pub specs: BTreeMap<&'a AppId, Vec<&'a str>>,
    /// All groups.
    pub groups: &'a BTreeMap<GroupId, GroupRecord>,
}

/// The dependencies form a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circle;

/// The steps; none where nothing changes.
///
/// # Errors
/// [`Circle`], where one can be reached from what changes.
pub fn steps(
    changes: &BTreeMap<AppId, Planned>,
    dependencies: &Dependencies<'_>,
) -> Result<Vec<Step>, Circle> {
    let with = |fate: Fate, action: ActionKind| Step {
        actions: changes
            .iter()
            .filter(|(_, change)| change.fate == fate)
            .map(|(id, change)| StepAction { action, app: id.clone(), pod: change.pod })
            .collect(),
    };
    let mut steps =
        vec![with(Fate::Gone, ActionKind::StopApplication), with(Fate::New, ActionKind::StartApplication)];
    let mut depths = Depths { dependencies, known: BTreeMap::new(), open: BTreeSet::new() };
    let mut layers: BTreeMap<usize, Vec<StepAction>> = BTreeMap::new();
    for (id, change) in changes {
        let action = match change.fate {
            Fate::Gone => continue,
            Fate::New | Fate::Scale => ActionKind::ScaleApplication,
            Fate::Restart => ActionKind::RestartApplication,
        };
        let depth = depths.of(id)?;
        layers.entry(depth).or_default().push(StepAction { action, app: id.clone(), pod: change.pod });
    }
    steps.extend(layers.into_values().map(|actions| Step { actions }));
    steps.retain(|step| !step.actions.is_empty());
    Ok(steps)
}

/// How long the longest chain of dependencies below each app is.
struct Depths<'a> {
    dependencies: &'a Dependencies<'a>,
    known: BTreeMap<AppId, usize>,
    /// Those whose depth is being found out: to meet one of them is a circle.
    open: BTreeSet<AppId>,
}

impl Depths<'_> {
    fn of(&mut self, id: &AppId) -> Result<usize, Circle> {
        if let Some(depth) = self.known.get(id) {
            return Ok(*depth);
        }
        if !self.open.insert(id.clone()) {
            return Err(Circle);
        }
        let mut depth = 0;
        for below in self.dependencies.of(id) {
            depth = depth.max(self.of(&below)? + 1);
        }
        self.open.remove(id);
        self.known.insert(id.clone(), depth);
        Ok(depth)
    }
}

impl Dependencies<'_> {
    /// What an app depends on: what it names, and what the groups that it lies in name.
    fn of(&self, id: &AppId) -> BTreeSet<AppId> {
        let own = self.specs.get(id).into_iter().flatten().copied();
        let groups = GroupId::ancestors_of(id.as_str()).filter_map(|group| self.groups.get(&group));
        let named = own.chain(groups.flat_map(|group| group.dependencies.iter().map(String::as_str)));
        let mut found = BTreeSet::new();
        for name in named {
            match AppId::new(name) {
                Ok(one) if self.specs.contains_key(&one) => drop(found.insert(one)),
                _ => found.extend(self.specs.keys().copied().filter(|other| other.is_below(name)).cloned()),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AppId {
        AppId::new(text).unwrap()
    }

    fn planned(
        changes: &[(&str, Fate)],
        specs: &[(&str, &[&str])],
        groups: &[(&str, &str)],
    ) -> Result<Vec<String>, Circle> {
        let changes =
            changes.iter().map(|(name, fate)| (id(name), Planned { fate: *fate, pod: false })).collect();
        let ids: Vec<_> = specs.iter().map(|(name, _)| id(name)).collect();
        let groups = groups.iter().map(|(group, dependency)| {
            let dependencies = [(*dependency).to_owned()].into();
            let record = GroupRecord { dependencies, enforce_role: false };
            (GroupId::parse(group, &GroupId::root()).unwrap(), record)
        });
        let groups = groups.collect();
        let specs = ids.iter().zip(specs).map(|(id, (_, names))| (id, names.to_vec())).collect();
        let steps = steps(&changes, &Dependencies { specs, groups: &groups })?;
        let text = |action: &StepAction| format!("{:?} {}", action.action, action.app);
        Ok(steps.iter().map(|s| s.actions.iter().map(text).collect::<Vec<_>>().join(", ")).collect())
    }

    #[test]
    fn what_goes_goes_first_and_what_others_need_comes_before_them() {
        let steps = planned(
            &[
                ("/old", Fate::Gone),
                ("/g/web", Fate::New),
                ("/g/api", Fate::Restart),
                ("/g/db", Fate::Scale),
                ("/free", Fate::New),
            ],
            &[("/g/web", &["/g/api"]), ("/g/api", &["/g/db"]), ("/g/db", &[]), ("/free", &["/missing"])],
            &[],
        );
        assert_eq!(
            steps.unwrap(),
            [
                "StopApplication /old",
                "StartApplication /free, StartApplication /g/web",
                "ScaleApplication /free, ScaleApplication /g/db",
                "RestartApplication /g/api",
                "ScaleApplication /g/web",
            ]
        );
    }

    #[test]
    fn groups_are_depended_on_as_a_whole_and_depend_as_a_whole() {
        let specs: &[(&str, &[&str])] = &[("/a/x", &["/b"]), ("/b/y", &[]), ("/c/z", &[])];
        let changes = &[("/a/x", Fate::Restart), ("/b/y", Fate::Restart), ("/c/z", Fate::Restart)];
        let steps = planned(changes, specs, &[("/b", "/c")]).unwrap();
        assert_eq!(steps, ["RestartApplication /c/z", "RestartApplication /b/y", "RestartApplication /a/x"]);
        assert_eq!(planned(&[], specs, &[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_circle_is_found() {
        let specs: &[(&str, &[&str])] = &[("/a", &["/b"]), ("/b", &["/a"])];
        assert_eq!(planned(&[("/a", Fate::New)], specs, &[]), Err(Circle));
        assert_eq!(planned(&[("/a", Fate::New)], &[("/a", &["/a"])], &[]), Err(Circle));
        let inside: &[(&str, &[&str])] = &[("/g/a", &[])];
        assert_eq!(planned(&[("/g/a", Fate::New)], inside, &[("/g", "/g")]), Err(Circle));
    }
}
