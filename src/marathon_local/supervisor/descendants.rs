//! Who descends from this process, read from `/proc`.
//!
//! A supervisor is the reaper of all its descendants, so that a process whose parent died is its own child:
//! nobody can leave the tree.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The processes below this one, parents first. Some may be missing that are born or orphaned just now;
/// ended ones may be among them that nobody has waited for.
fn descendants() -> Vec<Pid> {
    let children = children_from_threads().unwrap_or_else(children_from_all_processes);
    let mut found = Vec::new();
    let mut next = vec![rustix::process::getpid().as_raw_pid()];
    while let Some(parent) = next.pop() {
        for child in children(parent) {
            found.extend(Pid::from_raw(child));
            next.push(child);
        }
    }
    found
}

type Children = Box<dyn Fn(i32) -> Vec<i32>>;

/// Asks the kernel for each process's children, where it can tell (`CONFIG_PROC_CHILDREN`). Its cost does
/// not grow with the number of foreign processes, of which there may be thousands.
fn children_from_threads() -> Option<Children> {
    let own = rustix::process::getpid().as_raw_pid();
    std::fs::metadata(format!("/proc/{own}/task/{own}/children")).ok()?;
    Some(Box::new(|parent| {
        let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        lists
            .flat_map(|list| list.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>())
            .collect()
    }))
}

/// Reads the parents of all processes of the machine.
fn children_from_all_processes() -> Children {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in processes() {
        children.entry(parent).or_default().push(pid);
    }
    Box::new(move |parent| children.get(&parent).cloned().unwrap_or_default())
}

/// SIGTERM to the task's group, and to the descendants that left it. These are looked for before and after: the
/// death of a parent in the group hides its children for a moment, until they are ours.
pub fn terminate(group: Pid) {
    let outside = || {
        let left = |pid: &Pid| rustix::process::getpgid(Some(*pid)).is_ok_and(|its| its != group);
        descendants().into_iter().filter(left).map(Pid::as_raw_pid).collect::<BTreeSet<_>>()
    };
    let before = outside();
    // ESRCH is what we want: nobody is left.
    let _ = kill_process_group(group, Signal::TERM);
    for pid in before.union(&outside()).copied().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// SIGKILL to all descendants that can be seen now. More may have been born meanwhile: repeat until none is left.
pub fn kill() {
    for pid in descendants() {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Process id and parent of every process of the machine.
fn processes() -> impl Iterator<Item = (i32, i32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read(entry.path().join("stat")).ok()?;
        Some((pid, parent_of(&String::from_utf8_lossy(&stat))?))
    })
}

/// The parent in a line of `/proc/<pid>/stat`. The second field is the program's name in parentheses and
/// may hold anything, so fields count from the last parenthesis (`proc_pid_stat(5)`).
fn parent_of(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_read_behind_any_name() {
        assert_eq!(parent_of("12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of("12 (a) R 9) S) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of("rubbish"), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test needs a child")]
    fn both_ways_find_a_child() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (own, pid) = (rustix::process::getpid().as_raw_pid(), i32::try_from(child.id()).unwrap());
        let ways = [children_from_threads(), Some(children_from_all_processes())];
        let found: Vec<_> = ways.into_iter().flatten().map(|children| children(own).contains(&pid)).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.iter().all(|found| *found), "{found:?}");
    }
}
