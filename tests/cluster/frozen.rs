//! A leader that is frozen while it changes Marathon: what it had not begun stays undone when it wakes up, long after
//! another one has done it.

use std::time::Duration;

use dcos_registry::clock::Clock;

use crate::history;
use crate::instance::{Instance, Place, Recipe};
use crate::marathon::LocalMarathon;
use crate::prepared::on_bucket;
use crate::program::{DEADLINE, pause, until};
use crate::s3_double::S3Double;
use crate::witness::Witness;

const NAMES: [&str; 2] = ["a", "b"];
const LOG: &str = "v1/control/log/";

/// How many apps are changed at once.
const APPS: usize = 40;

/// How long the look at one of them is held up that comes before its change.
const EACH: Duration = Duration::from_millis(200);

/// The longest time that a record lets its holder act is less than this.
const TTL: Duration = Duration::from_millis(1_200);

struct Site {
    place: Place,
    marathon: LocalMarathon,
    double: S3Double,
    witnesses: Vec<Witness>,
    instances: Vec<Instance>,
}

impl Site {
    fn start() -> Self {
        let (place, double) = (Place::new(), S3Double::start());
        let marathon = LocalMarathon::start(&place);
        let manifests = place.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        let witnesses: Vec<_> = NAMES.iter().map(|_| Witness::start(&marathon.url, EACH)).collect();
        let instances = NAMES.iter().zip(&witnesses).map(|(name, witness)| {
            let shared = on_bucket(&place, &double.endpoint(), double.bucket(), "own", "");
            let config = std::fs::read_to_string(&shared.config).unwrap();
            let config = config.replace(&shared.port.to_string(), "PORT");
            let config = format!(
                "{config}marathon: {{url: '{}'}}\n\
                 sources: [{{name: here, directory: {}, interval: 1s, allowEmpty: true}}]\n",
                witness.url,
                manifests.display()
            );
            let mut instance = Recipe::new(&place, name, &config).start();
            instance.wait_until_ready();
            instance
        });
        let instances = instances.collect();
        Self { place, marathon, double, witnesses, instances }
    }

    fn write_apps(&self, memory: u64) {
        let app = |n| {
            format!(
                "apiVersion: dcos-registry/v1\nkind: App\nmetadata: {{name: app-{n}}}\nspec:\n  \
                 app: {{id: /many/app-{n}, cmd: sleep 1000, cpus: 0.01, mem: {memory}, instances: 0}}\n"
            )
        };
        self.place.write("manifests/apps.yaml", &(0..APPS).map(app).collect::<Vec<_>>().join("---\n"));
    }

    fn leader(&self) -> usize {
        until("one leads", DEADLINE, || {
            let leads = |instance: &Instance| instance.is_leading() == Ok(true);
            self.instances.iter().position(leads).ok_or_else(|| "nobody does".into())
        })
    }
}

#[test]
fn a_leader_that_was_frozen_begins_no_write_when_it_wakes_up() {
    let site = Site::start();
    let index = site.leader();
    let (leader, witness) = (&site.instances[index], &site.witnesses[index]);
    let all_have = |memory| {
        until("all apps are so", DEADLINE, || {
            let apps = site.marathon.apps()?;
            let there = apps.iter().filter(|app| app["mem"] == memory).count();
            if there == APPS { Ok(()) } else { Err(format!("{there} apps")) }
        });
    };
    site.write_apps(4);
    all_have(4.0);
    let epoch = history::lead(&site.double, LOG).unwrap().epoch;
    let looks = witness.seen().looks;
    site.write_apps(8);
    // It said what it will do, looked, and waits for what it shall see.
    until("it is about to write", DEADLINE, || {
        let seen = witness.seen();
        if seen.looks > looks { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    leader.freeze();
    history::next_lead(&site.double, LOG, epoch, Clock::system().boot(), DEADLINE);
    all_have(8.0);
    // What was in the socket has long arrived.
    let before = witness.seen();
    assert!(before.writes.len() < 2 * APPS, "it had done everything before it was frozen");
    leader.thaw();
    pause(2 * TTL);
    assert_eq!(witness.seen().writes, before.writes, "it went on when it woke up");
    leader.wait_until_it_leads_no_more(DEADLINE);
    history::check(&history::read(&site.double, LOG));
}
