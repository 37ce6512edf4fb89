//! Every template as an app of the local Marathon: created, read back, put again as it is, and compared.

use std::collections::BTreeSet;
use std::time::Duration;

use dcos_registry::clock::{Clock, Entropy};
use dcos_registry::marathon::diff::{diff, to_send};
use dcos_registry::marathon::normalize::normalize_dropping;
use dcos_registry::marathon_local::{LocalConfig, MarathonLocal, Profile, Tasks};
use dcos_registry::model::{App, Effect};
use dcos_registry::render::render_template;
use dcos_registry::workers::Workers;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{corpus, packages};

/// How long all of them may take to come to rest. Far more than they need, so that only a hang fails.
const PATIENCE: Duration = Duration::from_secs(120);

struct Local {
    marathon: MarathonLocal,
    http: reqwest::Client,
    clock: Clock,
    _dir: TempDir,
}

impl Local {
    async fn start(profile: Profile) -> Self {
        let (dir, clock) = (TempDir::new().unwrap(), Clock::system());
        let config = LocalConfig {
            dir: dir.path().join("marathon"),
            listen: "127.0.0.1:0".parse().unwrap(),
            role: "slave_public".to_owned(),
            profile,
            tasks: Tasks::Simulated,
            faults: None,
            clock: clock.clone(),
            entropy: Entropy::seeded(1),
            workers: Workers::new(),
        };
        let marathon = MarathonLocal::start(config).await.unwrap();
        dcos_registry::marathon::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { marathon, http, clock, _dir: dir }
    }

    async fn send(&self, method: &str, path: &str, body: Option<&App>) -> (u16, Value) {
        let url = format!("http://{}{path}", self.marathon.address());
        let mut request = self.http.request(method.parse().unwrap(), url);
        if let Some(App(body)) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    async fn app(&self, id: &str) -> App {
        let (status, body) = self.send("GET", &format!("/v2/apps{id}"), None).await;
        assert_eq!(status, 200, "{id}: {body}");
        App::from_value(body["app"].clone()).unwrap()
    }

    async fn rests(&self) {
        let end = self.clock.boot() + PATIENCE;
        loop {
            let (_, deployments) = self.send("GET", "/v2/deployments", None).await;
            if deployments == json!([]) {
                return;
            }
            assert!(self.clock.boot() < end, "still deploying: {deployments}");
            self.clock.sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The templates that render JSON, with an id of their own each.
fn apps() -> Option<Vec<(String, App)>> {
    let rendered = packages(corpus()?).iter().filter_map(|(id, package)| {
        package.template.as_ref()?;
        let mut app = App::from_value(render_template(package, &Map::new(), false).ok()?).unwrap();
        let given = app.id().filter(|given| !given.is_empty()).unwrap_or(package.name.as_str());
        // Many versions of a package would be one app, and packages share ids.
        let own = format!("/{}/{}", given.trim_matches('/'), id.to_lowercase().replace(['/', '_'], "-"));
        app.0.insert("id".to_owned(), own.into());
        Some((id.clone(), app))
    });
    Some(rendered.collect())
}

/// What came back says what was wanted, and putting it again changes nothing.
async fn check(local: &Local, id: &str, wanted: &App, at: &str) {
    let observed = local.app(at).await;
    let version = observed.version().to_owned();
    let difference = diff(wanted, &observed, Some(wanted), &[]).unwrap();
    assert_eq!((difference.changes.as_slice(), difference.effect), (&[][..], Effect::None), "{id}");
    let body = to_send(wanted, &observed, Some(wanted), &[]).unwrap();
    for again in [&body, &observed] {
        let path = format!("/v2/apps{at}?partialUpdate=false&force=false");
        let (status, answer) = local.send("PUT", &path, Some(again)).await;
        assert_eq!(status, 200, "{id}: {answer}");
    }
    assert_eq!(local.app(at).await.version(), version, "{id} was changed by its own definition");
}

/// What became of the templates.
#[derive(Default)]
struct Tally {
    kept: usize,
    refused: BTreeSet<String>,
    /// The unknown fields that were left out, by their places.
    dropped: BTreeSet<String>,
}

impl Tally {
    async fn survive(&mut self, apps: &[(String, App)], profile: Profile) {
        let (local, mut kept) = (Local::start(profile).await, Vec::new());
        for (id, app) in apps {
            match normalize_dropping(app) {
                Ok((wanted, unknown)) => {
                    self.dropped.extend(unknown.into_iter().map(|fault| fault.path));
                    let (status, answer) = local.send("POST", "/v2/apps", Some(&wanted)).await;
                    assert_eq!(status, 201, "{id}: {answer}");
                    kept.push((id, wanted, answer["id"].as_str().unwrap().to_owned()));
                }
                Err(faults) => {
                    let (status, answer) = local.send("POST", "/v2/apps", Some(app)).await;
                    assert!(
                        [400, 422].contains(&status),
                        "{id}: {faults:?}, and Marathon: {status} {answer}"
                    );
                    self.refused.insert(id.clone());
                }
            }
        }
        local.rests().await;
        for (id, wanted, at) in &kept {
            check(&local, id, wanted, at).await;
        }
        self.kept += kept.len();
        assert!(local.marathon.shutdown(PATIENCE).await);
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how much a test does is said by who runs it")]
async fn every_template_survives_the_way_to_marathon_and_back() {
    let Some(mut apps) = apps() else { return };
    assert_eq!(apps.len(), 605);
    // All of them take minutes without optimisation.
    if std::env::var_os("DCOS_REGISTRY_ALL_TEMPLATES").is_none() {
        apps = apps.into_iter().step_by(4).collect();
    }
    let mut tally = Tally::default();
    // Marathon takes no more than a hundred deployments at a time, and each costs the more the more apps there are.
    for some in apps.chunks(20) {
        tally.survive(some, Profile::default()).await;
    }
    let Tally { kept, refused, dropped } = tally;
    println!("{kept} templates survive; unknown fields left out: {dropped:?}; refused: {refused:?}");
    assert_eq!(kept + refused.len(), apps.len());
    // Six, when this was written: their defaults leave out what an app must have.
    assert!(refused.len() <= 10, "{refused:?}");
    let mut older = Tally::default();
    let some: Vec<_> = apps.iter().step_by(10).cloned().collect();
    older.survive(&some, "1.7".parse().unwrap()).await;
    assert!(older.kept > 10);
}
