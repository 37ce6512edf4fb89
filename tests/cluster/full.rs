//! A disk without room, or one that cannot be written to: what is there stays readable, nothing is half done, and the
//! disk's recovery is all it takes to go on.

use std::path::{Path, PathBuf};

use crate::bundle::Sample;
use crate::instance::{Instance, Place};
use crate::ledger::{Ledger, shown};
use crate::prepared::on_directory;
use crate::program::{DEADLINE, tool, until};
use crate::web::{ask, get};

/// A file system of 16 MiB; gone with the value.
struct Disk(PathBuf);

impl Disk {
    /// None where nothing can be mounted here.
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let text = path.to_str().unwrap();
        let mounted = tool("mount", &["-t", "tmpfs", "-o", "size=16m", "dcos-registry-test", text]);
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(path.to_owned()));
        }
        println!("skipped: a tmpfs cannot be mounted here: {mounted:?}");
        None
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        for size in [64 * 1024, 512, 1] {
            let piece = vec![0; size];
            while std::io::Write::write_all(&mut ballast, &piece).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    /// None where that cannot be done here.
    fn remount(&self, how: &str) -> Option<()> {
        let remounted = tool("mount", &["-o", &format!("remount,{how}"), self.0.to_str().unwrap()]);
        remounted.is_ok_and(|output| output.status.success()).then_some(())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = tool("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}

fn check_readable(instance: &Instance, sample: &Sample) {
    let uri = shown(&instance.url).unwrap()[&sample.id()]["own"].clone();
    assert!(sample.is_file("own", &get(&uri).unwrap().body));
}

#[test]
fn a_full_disk_refuses_what_is_new_and_serves_what_is_there() {
    let place = Place::new();
    let Some(disk) = Disk::mount(&place.path().join("disk")) else { return };
    let store = disk.0.join("store");
    let mut instance = on_directory(&place, &store).start();
    instance.wait_until_ready();
    let (ledger, old) = (Ledger::default(), Sample::new("old", 1));
    ledger.publish(&instance.url, &old).unwrap();
    disk.fill();
    let new = Sample::new("new", 1).with_own_of(3_000_000);
    for _ in 0..2 {
        let answer = ask("POST", &format!("{}/api/v1/packages", instance.url), new.bundle()).unwrap();
        assert_eq!(answer.status, 507, "{}", answer.text());
        assert_eq!(answer.json().unwrap()["type"], "DiskFull");
        check_readable(&instance, &old);
        assert!(!shown(&instance.url).unwrap().contains_key(&new.id()));
    }
    disk.make_room();
    until("there is room again", DEADLINE, || ledger.publish(&instance.url, &new));
    check_readable(&instance, &new);
    check_readable(&instance, &old);
    assert_eq!(instance.terminate().code(), Some(0));
}

#[test]
fn started_on_a_full_disk_it_serves_and_leads_as_soon_as_there_is_room() {
    let place = Place::new();
    let Some(disk) = Disk::mount(&place.path().join("disk")) else { return };
    let store = disk.0.join("store");
    let mut first = on_directory(&place, &store).start();
    first.wait_until_ready();
    let (ledger, old) = (Ledger::default(), Sample::new("old", 1));
    ledger.publish(&first.url, &old).unwrap();
    assert_eq!(first.terminate().code(), Some(0));
    disk.fill();
    let mut second = on_directory(&place, &store).start();
    second.wait_until_ready();
    check_readable(&second, &old);
    until("it has tried to lead", DEADLINE, || {
        let errors = second.errors();
        if errors.contains("the lease could not be taken") { Ok(()) } else { Err(errors) }
    });
    assert_eq!(second.is_leading(), Ok(false));
    disk.make_room();
    until("it leads", DEADLINE, || if second.is_leading()? { Ok(()) } else { Err(second.errors()) });
    ledger.publish(&second.url, &Sample::new("new", 1)).unwrap();
    assert_eq!(second.terminate().code(), Some(0));
}

#[test]
fn started_on_a_read_only_volume_it_serves_and_says_why_it_takes_nothing() {
    let place = Place::new();
    let Some(disk) = Disk::mount(&place.path().join("disk")) else { return };
    let store = disk.0.join("store");
    let mut first = on_directory(&place, &store).start();
    first.wait_until_ready();
    let (ledger, old, new) = (Ledger::default(), Sample::new("old", 1), Sample::new("new", 1));
    ledger.publish(&first.url, &old).unwrap();
    assert_eq!(first.terminate().code(), Some(0));
    if disk.remount("ro").is_none() {
        println!("skipped: a tmpfs cannot be made read-only here");
        return;
    }
    let mut second = on_directory(&place, &store).start();
    second.wait_until_ready();
    check_readable(&second, &old);
    let answer = ask("POST", &format!("{}/api/v1/packages", second.url), new.bundle()).unwrap();
    assert_eq!((answer.status, answer.json().unwrap()["type"].as_str()), (503, Some("WriteRefused")));
    assert!(answer.text().contains("make it writable and start again"), "{}", answer.text());
    let health = get(&format!("{}/health", second.url)).unwrap();
    assert_eq!(health.status, 200);
    assert!(health.text().contains("read-only"), "{}", health.text());
    until("it has found out that it cannot lead", DEADLINE, || {
        let errors = second.errors();
        if errors.contains("can never lead") { Ok(()) } else { Err(errors) }
    });
    check_readable(&second, &old);
    assert_eq!(second.terminate().code(), Some(0));
    disk.remount("rw").unwrap();
    let mut third = on_directory(&place, &store).start();
    third.wait_until_ready();
    ledger.publish(&third.url, &new).unwrap();
    check_readable(&third, &old);
    assert_eq!(third.terminate().code(), Some(0));
}
