//! Secrets from a directory: the file `<directory>/<source>` is the secret that a definition names as `source`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fetch::is_inside;
use crate::model::App;

/// The largest secret (the limit of DC/OS is of this size).
const LARGEST: u64 = 1024 * 1024;

/// The store, if there is one.
#[derive(Debug, Clone)]
pub struct Secrets(Option<PathBuf>);

impl Secrets {
    /// A store in a directory, or none.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self(directory)
    }

    /// The secret that a definition calls by a name.
    ///
    /// # Errors
    /// Why there is none; never what is in it.
    pub fn of(&self, app: &App, name: &str) -> Result<String, String> {
        let Some(directory) = &self.0 else {
            return Err(
                "the local Marathon was started without a directory of secrets (--secrets DIR)".to_owned()
            );
        };
        let source = app.get("secrets").and_then(|s| s.get(name)).and_then(|s| s.get("source"));
        let source =
            source.and_then(Value::as_str).ok_or_else(|| format!("the app declares no secret {name}"))?;
        if !is_inside(Path::new(source)) {
            return Err(format!("the source {source:?} of the secret {name} is no path inside the store"));
        }
        let path = directory.join(source);
        let size = std::fs::metadata(&path).map(|m| m.len());
        match size.and_then(|size| Ok((size, std::fs::read(&path)?))) {
            Ok((size, _)) if size > LARGEST => {
                Err(format!("the secret {source} is larger than {LARGEST} bytes"))
            }
            Ok((_, bytes)) => {
                String::from_utf8(bytes).map_err(|_| format!("the secret {source} is no text in UTF-8"))
            }
            Err(error) => Err(format!("cannot read the secret {source}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_found_by_their_source_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "s3cret").unwrap();
        let app =
            json!({"secrets": {"k": {"source": "key"}, "out": {"source": "../key"}, "no": {"source": "no"}}});
        let app = App::from_value(app).unwrap();
        let secrets = Secrets::new(Some(folder.path().to_owned()));
        assert_eq!(secrets.of(&app, "k").as_deref(), Ok("s3cret"));
        for (name, word) in [("out", "inside"), ("no", "cannot read"), ("undeclared", "undeclared")] {
            let error = secrets.of(&app, name).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(Secrets::new(None).of(&app, "k").unwrap_err().contains("--secrets"));
    }
}
