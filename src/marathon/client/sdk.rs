//! The one thing that is not asked of Marathon: how far the schedulers of SDK services are, through Admin Router.
//!
//! Nothing that is answered here is an error: it is evidence, and without it less is known. A plan that was seen complete
//! stays so until the app gets another version, because only another configuration gives a scheduler something to
//! deploy; so a service at rest costs no call.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::Url;

use super::Client;
use super::answer::Answer;
use super::auth::Grant;
use super::call::{Call, is_away, read};
use super::endpoints::{Endpoints, route};
use crate::config::MarathonSettings;
use crate::marathon::error::MarathonError;
use crate::marathon::sdk::{SdkService, read_plan};
use crate::model::{App, AppId, SchedulerPlan};
use crate::telemetry::chain;

/// The longest plan that is read; a step takes about 200 bytes.
const LONGEST_PLAN: usize = 4 * 1024 * 1024;

/// How long one plan may take.
const PLAN_LIMIT: Duration = Duration::from_secs(5);

/// How long all plans of one look may take together.
const ALL_LIMIT: Duration = Duration::from_secs(10);

/// How many plans are read at once.
const AT_ONCE: usize = 8;

/// How long a plan that could not be read is not asked for again, unless its service uninstalls.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(60);

/// The same where Admin Router answered that there is none: it learns of a new service within seconds.
const NOT_THERE_PAUSE: Duration = Duration::from_secs(10);

/// How many services are remembered; beyond that they are asked anew.
const MOST_REMEMBERED: usize = 10_000;

/// Plans that need not be read again, by the app.
#[derive(Default)]
pub(super) struct Plans(Mutex<BTreeMap<AppId, Told>>);

struct Told {
    /// The app's version at that time.
    version: String,
    plan: SchedulerPlan,
    /// When it may be asked for again, on the boot clock; none: not before the version changes.
    again_at: Option<Duration>,
}

impl Plans {
    /// What was answered, where it still counts.
    fn settled(&self, id: &AppId, version: &str, now: Duration) -> Option<SchedulerPlan> {
        let plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = plans.get(id).filter(|told| told.version == version)?;
        told.again_at.is_none_or(|at| now < at).then(|| told.plan.clone())
    }

    fn remember(&self, id: &AppId, version: &str, plan: &SchedulerPlan, now: Duration) {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MOST_REMEMBERED {
            plans.clear();
        }
        let again_at = match plan {
            SchedulerPlan::Complete => None,
            SchedulerPlan::NotThere => Some(now + NOT_THERE_PAUSE),
            SchedulerPlan::Unreadable(_) => Some(now + UNREADABLE_PAUSE),
            SchedulerPlan::InProgress(_) | SchedulerPlan::Failed(_) => {
                plans.remove(id);
                return;
            }
        };
        plans.insert(id.clone(), Told { version: version.to_owned(), plan: plan.clone(), again_at });
    }
}

/// Where Admin Router is: where the configuration says, else where a Marathon lies behind it.
pub(super) fn admin_routers(settings: &MarathonSettings) -> Result<Option<Endpoints>, MarathonError> {
    let mut urls: Vec<String> = settings.admin_router.iter().cloned().collect();
    if urls.is_empty() {
        // `/marathon` is the older route. What a Marathon on Marathon runs lies below the same `/service`.
        let urls_behind = settings.urls.iter().filter_map(|url| Url::parse(url).ok());
        let urls_behind = urls_behind.filter(|url| url.path().trim_end_matches('/').ends_with("/marathon"));
        urls.extend(urls_behind.map(|url| url.origin().ascii_serialization()));
        urls.dedup();
    }
    if urls.is_empty() { Ok(None) } else { Endpoints::new(&urls).map(Some) }
}

impl Client {
    /// Whether plans of schedulers can be asked for at all.
    #[must_use]
    pub fn knows_admin_router(&self) -> bool {
        self.admin_routers.is_some()
    }

    /// How far the scheduler of a service is.
    pub async fn sdk_plan(&self, id: &AppId, service: SdkService<'_>) -> SchedulerPlan {
        let Some(routers) = &self.admin_routers else {
            return SchedulerPlan::Unreadable("it is not known where Admin Router is".to_owned());
        };
        let path = service.plan_path(id);
        let call = Call { limit: LONGEST_PLAN, ..Call::get(&path) };
        let asked = Box::pin(self.asked_of(routers, &call));
        match self.clock.timeout(PLAN_LIMIT, asked).await {
            Ok(Ok(answer)) => read_plan(answer.status.as_u16(), &answer.body),
            Ok(Err(MarathonError::Transport(error))) => {
                SchedulerPlan::Unreadable(format!("Admin Router is not reached: {}", chain(&error)))
            }
            Ok(Err(MarathonError::TooLarge { limit, .. })) => SchedulerPlan::Unreadable(format!(
                "the answer is longer than {limit} bytes, so that it is none of a scheduler"
            )),
            Ok(Err(error)) => SchedulerPlan::Unreadable(chain(&error)),
            Err(passed) => {
                SchedulerPlan::Unreadable(format!("no answer from Admin Router within {:?}", passed.0))
            }
        }
    }

    /// The plans of those of the apps that are schedulers. Asked for are those that can say something new: of services that
    /// uninstall, and of those that were not seen complete at their version. None at all where nobody can be asked.
    pub async fn sdk_plans<'a>(
        &self,
        apps: impl Iterator<Item = (&'a AppId, &'a App)>,
    ) -> BTreeMap<AppId, SchedulerPlan> {
        if self.admin_routers.is_none() {
            return BTreeMap::new();
        }
        let services = apps.filter_map(|(id, app)| Some((id, app, SdkService::of(app)?)));
        let now = self.clock.boot();
        let (mut plans, mut due) = (BTreeMap::new(), Vec::new());
        for (id, app, service) in services {
            let settled = self.plans.settled(id, app.version(), now).filter(|_| !service.is_uninstalling());
            if settled.is_none() {
                due.push((id, app, service));
            }
            // What is due and not answered in time stays so.
            let late = || SchedulerPlan::Unreadable("there was no time left to ask for it".to_owned());
            plans.insert(id.clone(), settled.unwrap_or_else(late));
        }
        // Something waits for those, and the time may be too short for all.
        due.sort_by_key(|(.., service)| !service.is_uninstalling());
        let reads: Vec<_> = due
            .into_iter()
            .map(|(id, app, service)| async move {
                let plan = self.sdk_plan(id, service).await;
                self.plans.remember(id, app.version(), &plan, self.clock.boot());
                (id.clone(), plan)
            })
            .collect();
        let limit = Box::pin(self.clock.sleep(ALL_LIMIT));
        let mut answers = futures::stream::iter(reads).buffer_unordered(AT_ONCE).take_until(limit);
        while let Some((id, plan)) = answers.next().await {
            plans.insert(id, plan);
        }
        plans
    }

    /// Asks with whoever we are, once more where that is not accepted any longer. Any status is an answer, redirects
    /// among them: they lead to a page where people log in.
    async fn asked_of(&self, routers: &Endpoints, call: &Call<'_>) -> Result<Answer, MarathonError> {
        // Never closed, so the turn always comes.
        let _turn = self.turns.acquire().await;
        let grant = self.credentials.grant().await.map_err(MarathonError::Credentials)?;
        let answer = self.first_of(routers, call, grant.as_ref()).await?;
        let (401, Some(shown)) = (answer.status.as_u16(), &grant) else { return Ok(answer) };
        match self.credentials.after_refusal(shown).await.map_err(MarathonError::Credentials)? {
            Some(newer) => self.first_of(routers, call, Some(&newer)).await,
            None => Ok(answer),
        }
    }

    async fn first_of(
        &self,
        routers: &Endpoints,
        call: &Call<'_>,
        grant: Option<&Grant>,
    ) -> Result<Answer, MarathonError> {
        let mut result = Err(MarathonError::BaseUrl(String::new()));
        for attempt in routers.attempts() {
            let asked = self.at_router(attempt.base, call, grant);
            result = self.in_its_time(&attempt, (&call.verb, PLAN_LIMIT), asked).await;
            if !result.as_ref().is_err_and(is_away) {
                attempt.keep();
                break;
            }
        }
        result
    }

    async fn at_router(
        &self,
        base: &Url,
        call: &Call<'_>,
        grant: Option<&Grant>,
    ) -> Result<Answer, MarathonError> {
        let answer = match self.send(&route(base, call.path, &[]), call, grant).await {
            Ok(response) => read(response, call).await,
            Err(error) => Err(error),
        };
        let code = answer.as_ref().ok().map(|answer| answer.status.as_u16());
        self.metrics.marathon_request(call.verb.as_str(), code);
        answer
    }
}
