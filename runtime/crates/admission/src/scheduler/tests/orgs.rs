//! The limit of an org, over all its workspaces.

use super::super::{Permit, Refused};
use super::scheduler;

#[test]
fn an_org_is_refused_at_its_limit_over_all_its_workspaces_and_another_org_is_not() {
    let scheduler = scheduler(1, 10, 10, 100);
    let first = scheduler.admit("acme/main", 2).unwrap();
    let second = scheduler.admit("acme/side", 2).unwrap();
    assert_eq!(scheduler.refusal("acme/main", 2), Some(Refused::Org(2)));
    assert_eq!(scheduler.admit("acme/third", 2).err(), Some(Refused::Org(2)));
    assert_eq!(scheduler.calls_of_org("acme"), 2);
    let _other = scheduler.admit("globex/main", 2).unwrap();
    assert_eq!(scheduler.admit("acme/main", 3).err(), Some(Refused::Org(3)), "it is the third one's place");
    let _raised = scheduler.admit("acme/third", 3).unwrap();
    drop((first, second));
    assert_eq!(scheduler.calls_of_org("acme"), 1);
}

#[test]
fn a_workspace_that_asks_all_the_time_leaves_its_siblings_a_place() {
    let scheduler = scheduler(1, 100, 100, 100);
    let mut held: Vec<Permit> = (0..2).map(|_| scheduler.admit("acme/noisy", 2).unwrap()).collect();
    assert_eq!(scheduler.admit("acme/quiet", 2).err(), Some(Refused::Org(2)));
    for _ in 0..100 {
        held.pop();
        assert_eq!(scheduler.admit("acme/noisy", 2).err(), Some(Refused::Org(2)), "the place is the other's");
        let quiet = scheduler.admit("acme/quiet", 2).unwrap();
        drop(quiet);
        held.push(scheduler.admit("acme/noisy", 2).unwrap());
        assert_eq!(scheduler.admit("acme/quiet", 2).err(), Some(Refused::Org(2)));
    }
    held.pop();
    assert_eq!(scheduler.admit_further("acme/noisy", 2).err(), Some(Refused::Org(2)));
}
