//! Order by dependency, and the cycles that make one impossible.

use std::collections::{BTreeMap, BTreeSet};

/// More cycles than these are not listed.
const MOST_CYCLES: usize = 20;

/// Orders keys so that each comes after all that it depends on. The order is the same for the same
/// edges: of several keys that could be next, the smallest is. Dependencies that are no keys are ignored.
///
/// # Errors
/// Cycles that share no key, each as the list of its keys in the direction of the dependencies,
/// beginning with its smallest key.
pub fn dependencies_first<K: Ord + Copy>(edges: &BTreeMap<K, Vec<K>>) -> Result<Vec<K>, Vec<Vec<K>>> {
    let mut left = edges.keys().copied().collect();
    let order = peel(edges, &mut left);
    if left.is_empty() {
        return Ok(order);
    }
    let mut cycles = Vec::new();
    while let Some(cycle) = find_cycle(edges, &left) {
        for key in &cycle {
            left.remove(key);
        }
        cycles.push(cycle);
        if cycles.len() == MOST_CYCLES {
            break;
        }
        peel(edges, &mut left);
    }
    cycles.sort();
    Err(cycles)
}

/// Takes out, again and again, the smallest key whose dependencies are all taken out. What is left
/// depends on a cycle.
fn peel<K: Ord + Copy>(edges: &BTreeMap<K, Vec<K>>, left: &mut BTreeSet<K>) -> Vec<K> {
    let mut missing: BTreeMap<K, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<K, Vec<K>> = BTreeMap::new();
    for key in left.iter() {
        let needs: BTreeSet<K> = edges[key].iter().copied().filter(|need| left.contains(need)).collect();
        missing.insert(*key, needs.len());
        for need in needs {
            dependents.entry(need).or_default().push(*key);
        }
    }
    let mut ready: BTreeSet<K> =
        missing.iter().filter(|(_, count)| **count == 0).map(|(key, _)| *key).collect();
    let mut order = Vec::new();
    while let Some(key) = ready.pop_first() {
        left.remove(&key);
        order.push(key);
        for dependent in dependents.get(&key).into_iter().flatten() {
            let count = missing.entry(*dependent).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                ready.insert(*dependent);
            }
        }
    }
    order
}

/// Follows dependencies from the smallest key until one comes again. Every key that is left after
/// [`peel`] has a dependency that is left too, so the walk can only end in a cycle.
fn find_cycle<K: Ord + Copy>(edges: &BTreeMap<K, Vec<K>>, left: &BTreeSet<K>) -> Option<Vec<K>> {
    let mut walk: Vec<K> = Vec::new();
    let mut at: BTreeMap<K, usize> = BTreeMap::new();
    let mut key = *left.first()?;
    while !at.contains_key(&key) {
        at.insert(key, walk.len());
        walk.push(key);
        key = edges[&key].iter().copied().filter(|need| left.contains(need)).min()?;
    }
    let mut cycle = walk.split_off(at[&key]);
    let smallest = cycle.iter().enumerate().min_by_key(|(_, key)| **key).map_or(0, |(index, _)| index);
    cycle.rotate_left(smallest);
    Some(cycle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges(list: &[(u32, &[u32])]) -> BTreeMap<u32, Vec<u32>> {
        list.iter().map(|(key, needs)| (*key, needs.to_vec())).collect()
    }

    #[test]
    fn dependencies_come_first_and_ties_go_to_the_smallest() {
        let edges = edges(&[(1, &[3]), (2, &[]), (3, &[]), (4, &[1, 2, 99])]);
        assert_eq!(dependencies_first(&edges), Ok(vec![2, 3, 1, 4]));
    }

    #[test]
    fn every_separate_cycle_is_reported_once() {
        let edges =
            edges(&[(1, &[2]), (2, &[3]), (3, &[2]), (4, &[4]), (5, &[6]), (6, &[7]), (7, &[5]), (8, &[7])]);
        assert_eq!(dependencies_first(&edges), Err(vec![vec![2, 3], vec![4], vec![5, 6, 7]]));
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let edges = (0..50_000u32).map(|key| (key, vec![key + 1])).collect();
        assert_eq!(dependencies_first(&edges).unwrap().len(), 50_000);
    }

    proptest! {
        #[test]
        fn an_order_is_valid_and_a_cycle_is_one(list in proptest::collection::vec((0u32..12, 0u32..12), 0..20)) {
            let mut edges: BTreeMap<u32, Vec<u32>> = (0..12).map(|key| (key, Vec::new())).collect();
            for (key, need) in list {
                edges.entry(key).or_default().push(need);
            }
            match dependencies_first(&edges) {
                Ok(order) => {
                    prop_assert_eq!(order.len(), edges.len());
                    for (index, key) in order.iter().enumerate() {
                        prop_assert!(edges[key].iter().all(|need| order[..index].contains(need)));
                    }
                }
                Err(cycles) => {
                    prop_assert!(!cycles.is_empty());
                    for cycle in cycles {
                        for (key, next) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
                            prop_assert!(edges[key].contains(next));
                        }
                    }
                }
            }
        }
    }
}
