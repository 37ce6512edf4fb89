//! Query parameters of the API.

use crate::marathon_local::engine::{Embed, GroupEmbed, Kill, Selection};
use crate::marathon_local::refusal::Refusal;

/// All parameters in their order; names may repeat.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter.
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// A parameter that is true or false.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.first(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    /// What is to be embedded in apps, with any of the prefixes or none (`InfoEmbedResolver.scala`).
    pub fn app_embed(&self) -> Embed {
        embed(self.all("embed"))
    }

    /// What is to be embedded in groups; without a parameter all that lies in them.
    pub fn group_embed(&self) -> GroupEmbed {
        let mut all = self.all("embed").peekable();
        if all.peek().is_none() {
            return GroupEmbed { groups: true, apps: true, pods: true, app: Embed::default() };
        }
        let (of_apps, of_groups): (Vec<_>, Vec<_>) = all.partition(|name| name.starts_with("group.apps."));
        let mut embed = GroupEmbed { app: embed(of_apps.into_iter()), ..GroupEmbed::default() };
        for name in of_groups {
            match name {
                "group.groups" => embed.groups = true,
                "group.apps" => embed.apps = true,
                "group.pods" => embed.pods = true,
                unknown => tracing::warn!(unknown, "unknown group embed argument"),
            }
        }
        embed
    }

    /// Which apps are listed.
    pub fn selection(&self) -> Selection {
        let text = |name| self.first(name).map(str::to_owned);
        Selection {
            id: text("id"),
            cmd: text("cmd"),
            labels: text("label"),
            group: None,
            embed: self.app_embed(),
        }
    }

    /// The states of tasks that are listed.
    pub fn states(&self) -> Vec<String> {
        let given = self.all("status").chain(self.all("status[]")).map(str::to_lowercase);
        given.filter(|state| matches!(state.as_str(), "running" | "staging")).collect()
    }

    /// How tasks are killed.
    ///
    /// # Errors
    /// 400 where two ways contradict each other.
    pub fn kill(&self) -> Result<Kill, Refusal> {
        let (scale, wipe) = (self.flag("scale", false), self.flag("wipe", false));
        if scale && wipe {
            let message = "You cannot use scale and wipe at the same time.";
            return Err(Refusal::BadRequest(message.to_owned()));
        }
        Ok(Kill { scale, wipe, force: self.flag("force", false), ..Kill::default() })
    }
}

fn embed<'a>(names: impl Iterator<Item = &'a str>) -> Embed {
    let mut embed = Embed::default();
    for name in names {
        let bare = ["group.apps.", "apps.", "app."].iter().find_map(|prefix| name.strip_prefix(prefix));
        match bare.unwrap_or(name) {
            "tasks" => embed.tasks = true,
            "lastTaskFailure" => embed.last_failure = true,
            "failures" => {
                tracing::warn!(
                    "embed=failures is deprecated; use apps.tasks, apps.lastTaskFailure, apps.deployments"
                );
                (embed.tasks, embed.last_failure) = (true, true);
            }
            "readiness" => embed.readiness = true,
            "taskStats" => embed.stats = true,
            // These are always there.
            "counts" | "deployments" => {}
            unknown => tracing::warn!(unknown, "unknown app embed argument"),
        }
    }
    embed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(list: &[(&str, &str)]) -> Parameters {
        Parameters(list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn parameters_are_read_as_marathon_reads_them() {
        let query = parameters(&[
            ("force", "TRUE"),
            ("embed", "apps.tasks"),
            ("embed", "readiness"),
            ("embed", "group.apps.lastTaskFailure"),
            ("id", "x"),
            ("label", "a==b"),
            ("status", "Running"),
            ("status[]", "nonsense"),
        ]);
        assert!(query.flag("force", false) && query.flag("partialUpdate", true));
        let all = Embed { tasks: true, last_failure: true, readiness: true, stats: false };
        assert_eq!(query.app_embed(), all);
        assert_eq!(query.selection().id.as_deref(), Some("x"));
        assert_eq!(query.selection().labels.as_deref(), Some("a==b"));
        assert_eq!(query.states(), ["running"]);
        assert_eq!(
            parameters(&[("embed", "apps.counts"), ("embed", "unknown")]).app_embed(),
            Embed::default()
        );
        assert!(parameters(&[("embed", "failures")]).app_embed().last_failure);
    }

    #[test]
    fn groups_embed_all_unless_they_are_told_what() {
        let embed = parameters(&[]).group_embed();
        assert!(embed.groups && embed.apps && embed.pods && embed.app == Embed::default());
        let embed = parameters(&[("embed", "group.apps"), ("embed", "group.apps.tasks")]).group_embed();
        assert!(!embed.groups && embed.apps && !embed.pods && embed.app.tasks);
    }

    #[test]
    fn scaling_and_wiping_contradict_each_other() {
        let both = parameters(&[("scale", "true"), ("wipe", "true")]);
        assert!(matches!(both.kill(), Err(Refusal::BadRequest(_))));
        assert!(parameters(&[("scale", "true")]).kill().unwrap().scale);
    }
}
