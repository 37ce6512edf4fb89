//! Query parameters of the API.

use crate::marathon_local::engine::{Embed, Selection};
use crate::marathon_local::refusal::Refusal;

/// All parameters in their order; names may repeat.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is true or false.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.all(name).next().map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    /// What is to be embedded (`InfoEmbedResolver.scala`). What is not known is ignored.
    pub fn embed(&self) -> Embed {
        let mut embed = Embed::default();
        for name in self.all("embed") {
            let name = name.strip_prefix("group.").unwrap_or(name);
            let name = name.strip_prefix("apps.").or_else(|| name.strip_prefix("app.")).unwrap_or(name);
            match name {
                "tasks" => embed.tasks = true,
                "lastTaskFailure" => embed.last_failure = true,
                "failures" => embed = Embed::ALL,
                _ => {}
            }
        }
        embed
    }

    /// Which apps are listed.
    ///
    /// # Errors
    /// For a label selector: to ignore it would be a wrong answer.
    pub fn selection(&self) -> Result<Selection, Refusal> {
        if self.all("label").next().is_some() {
            return Err(Refusal::Argument("The local Marathon does not know label selectors".to_owned()));
        }
        let text = |name| self.all(name).next().map(str::to_owned);
        Ok(Selection { id: text("id"), cmd: text("cmd"), group: None, embed: self.embed() })
    }
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
            ("embed", "apps.lastTaskFailure"),
            ("id", "x"),
        ]);
        assert!(query.flag("force", false) && query.flag("partialUpdate", true));
        assert_eq!(query.embed(), Embed::ALL);
        assert_eq!(query.selection().unwrap().id.as_deref(), Some("x"));
        assert_eq!(parameters(&[("embed", "apps.counts")]).embed(), Embed::default());
        assert!(parameters(&[("label", "a==b")]).selection().is_err());
    }
}
