//! What clients were told, and whether it is true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use dcos_registry::clock::Entropy;
use serde_json::Value;

use crate::bundle::Sample;
use crate::web::{ask, get};

/// What is known of a package version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its publication was acknowledged.
    There,
    /// Its deletion was acknowledged.
    Gone,
    /// There was no answer to what was asked last.
    Unknown,
}

/// All that was asked of a registry.
#[derive(Default)]
pub struct Ledger(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    entries: BTreeMap<String, (Sample, Fate)>,
    /// Those of which something was asked since they were last looked at.
    fresh: BTreeSet<String>,
    asked: u64,
    answered: u64,
}

impl Ledger {
    fn note(&self, sample: &Sample, fate: Fate) {
        let mut inner = self.0.lock().unwrap();
        inner.asked += u64::from(fate == Fate::Unknown);
        inner.answered += u64::from(fate != Fate::Unknown);
        inner.fresh.insert(sample.id());
        inner.entries.insert(sample.id(), (sample.clone(), fate));
    }

    /// Publishes; whether that was acknowledged.
    pub fn publish(&self, url: &str, sample: &Sample) -> Result<(), String> {
        // Whoever looks meanwhile knows nothing of it.
        self.note(sample, Fate::Unknown);
        let answer = ask("POST", &format!("{url}/api/v1/packages"), sample.bundle())?;
        match answer.status {
            200 | 201 => {
                self.note(sample, Fate::There);
                Ok(())
            }
            status => Err(format!("{status}: {}", answer.text())),
        }
    }

    /// Deletes; whether that was acknowledged.
    pub fn delete(&self, url: &str, sample: &Sample) -> Result<(), String> {
        self.note(sample, Fate::Unknown);
        let url = format!("{url}/api/v1/packages/{}/{}", sample.name, sample.version);
        let answer = ask("DELETE", &url, Vec::new())?;
        match answer.status {
            // Who sends a deletion again may find that the first one was done.
            200 | 204 | 404 => {
                self.note(sample, Fate::Gone);
                Ok(())
            }
            status => Err(format!("{status}: {}", answer.text())),
        }
    }

    /// One version of a package of which this is known; none where there is none.
    pub fn pick(&self, name: &str, fate: Fate, entropy: &Entropy) -> Option<Sample> {
        let inner = self.0.lock().unwrap();
        let of_name = |(sample, known): &&(Sample, Fate)| sample.name == name && *known == fate;
        let fitting: Vec<&(Sample, Fate)> = inner.entries.values().filter(of_name).collect();
        let place = entropy.next().checked_rem(fitting.len() as u64)?;
        Some(fitting[usize::try_from(place).unwrap()].0.clone())
    }

    /// How many versions there are, how much was asked, how much was answered.
    pub fn counts(&self) -> (usize, u64, u64) {
        let inner = self.0.lock().unwrap();
        let there = inner.entries.values().filter(|(_, fate)| *fate == Fate::There).count();
        (there, inner.asked, inner.answered)
    }

    /// Compares with what an instance shows: exactly what was acknowledged, and of what was not, all or nothing.
    /// Reads the files of what is new, and of `more` others. Where nothing that was sent can still arrive (`settled`),
    /// what is seen of the unknown must stay so.
    pub fn check(&self, url: &str, more: usize, entropy: &Entropy, settled: bool) -> Result<(), String> {
        let shown = shown(url)?;
        let mut inner = self.0.lock().unwrap();
        if let Some(stranger) = shown.keys().find(|id| !inner.entries.contains_key(*id)) {
            return Err(format!("{stranger} is shown and was never sent"));
        }
        for (id, (_, fate)) in &mut inner.entries {
            match (*fate, shown.contains_key(id)) {
                (Fate::There, false) => return Err(format!("{id} was acknowledged and is not shown")),
                (Fate::Gone, true) => return Err(format!("{id} was deleted and is shown")),
                (Fate::Unknown, there) if settled => *fate = if there { Fate::There } else { Fate::Gone },
                _ => {}
            }
        }
        let mut wanted: BTreeSet<&String> = inner.fresh.iter().collect();
        let all: Vec<&String> = inner.entries.keys().collect();
        for _ in 0..more.min(4 * all.len()) {
            let pick = usize::try_from(entropy.next() % all.len() as u64).unwrap();
            wanted.insert(all[pick]);
        }
        for id in wanted {
            if let Some(uris) = shown.get(id) {
                check_files(&inner.entries[id].0, uris)?;
            }
        }
        inner.fresh.clear();
        Ok(())
    }
}

/// What `/repo` shows: packages with the URIs of their files by alias.
pub fn shown(url: &str) -> Result<BTreeMap<String, BTreeMap<String, String>>, String> {
    let repo = get(&format!("{url}/repo"))?.json()?;
    let packages = repo["packages"].as_array().ok_or("no list of packages")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut shown = BTreeMap::new();
    for package in packages {
        let uris = package["resource"]["assets"]["uris"].as_object().ok_or("a package without files")?;
        let uris = uris.iter().map(|(alias, uri)| (alias.clone(), text(uri))).collect();
        let id = format!("{}/{}", text(&package["name"]), text(&package["version"]));
        if shown.insert(id.clone(), uris).is_some() {
            return Err(format!("{id} is shown twice"));
        }
    }
    Ok(shown)
}

/// Reads all files of a package that is shown.
fn check_files(sample: &Sample, uris: &BTreeMap<String, String>) -> Result<(), String> {
    if !uris.keys().eq(sample.files.keys()) {
        return Err(format!("{} has the files {:?}", sample.id(), uris.keys()));
    }
    for (alias, uri) in uris {
        let answer = get(uri).map_err(|error| format!("{} of {}: {error}", alias, sample.id()))?;
        if !sample.is_file(alias, &answer.body) {
            return Err(format!("{} of {} has other bytes", alias, sample.id()));
        }
    }
    Ok(())
}
