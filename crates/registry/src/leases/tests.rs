//! Leases by themselves: whose, how long, how many, and beside a collector.

use supercargo_model::Digest;

use super::*;

const LASTS: Duration = Duration::from_micros(100);

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn content(number: u32) -> (NameId, Digest) {
    (NameId(number), Digest::sha256([7; 32]))
}

fn user(name: &str) -> Principal {
    Principal::User(name.to_owned())
}

#[test]
fn a_lease_is_its_principals_and_lasts_from_when_it_was_last_asked_for() {
    let leases = Leases::default();
    let take = |principal: &Principal, now| {
        assert_eq!(leases.take(content(1), principal, at(now), LASTS, leases.epoch()), Taken::Held);
    };
    take(&user("a"), 0);
    take(&user("b"), 20);
    take(&user("a"), 50);
    assert_eq!(leases.held(), 2);
    assert!(leases.still().leased(content(1), at(149)));
    assert!(!leases.still().leased(content(1), at(150)));
    assert!(!leases.still().leased(content(2), at(50)));
    leases.end([content(1), content(2)].into_iter(), &user("a"));
    assert_eq!(leases.held(), 1);
    assert!(leases.still().leased(content(1), at(119)), "the other's stands");
    assert!(!leases.still().leased(content(1), at(120)));
    leases.end([content(1)].into_iter(), &user("b"));
    assert_eq!(leases.held(), 0);
}

#[test]
fn a_principal_is_a_user_or_else_an_address() {
    use supercargo_eventlog::{Api, Origin};
    let address = IpAddr::from([127, 0, 0, 1]);
    let of = |actor, remote| {
        Principal::of(&Caller { actor, origin: Origin { remote, ..Origin::local(Api::DockerV2) } })
    };
    assert_eq!(of(Actor::User("a".to_owned()), Some(address)), user("a"));
    assert_eq!(of(Actor::Anonymous, Some(address)), Principal::Address(address));
    assert_eq!(of(Actor::Anonymous, None), Principal::Local);
}

#[test]
fn whoever_asks_while_it_is_collected_is_not_promised_it() {
    let leases = Leases::default();
    let take = |number, epoch| leases.take(content(number), &user("a"), at(0), LASTS, epoch);
    let before = leases.epoch();
    leases.still().condemn([content(1)]);
    assert_eq!(take(1, before), Taken::Condemned);
    assert_eq!(take(1, leases.epoch()), Taken::Condemned);
    // What was read before the collector decided may have gone, whatever it is: look again.
    assert_eq!(take(2, before), Taken::LookAgain(leases.epoch()));
    let during = leases.epoch();
    assert_eq!(take(2, during), Taken::Held);
    leases.acquit();
    // What was read before the commit, too.
    assert_eq!(take(1, during), Taken::LookAgain(leases.epoch()));
    assert_eq!(take(1, leases.epoch()), Taken::Held);
    let after = leases.epoch();
    leases.acquit();
    assert_eq!(leases.epoch(), after, "nothing was condemned");
}

#[test]
fn too_many_leases_to_keep_are_a_lease_on_everything() {
    let leases = Leases::default();
    let many = u32::try_from(LEASES_MAX).unwrap();
    let take = |number, now| leases.take(content(number), &user("a"), at(now), LASTS, leases.epoch());
    for number in 0..many {
        take(number, 0);
    }
    assert_eq!(leases.held(), LEASES_MAX);
    assert!(!leases.still().leased(content(many + 9), at(50)));
    take(many, 50);
    assert_eq!(leases.held(), 0, "memory is bounded");
    for number in [0, many, many + 9] {
        assert!(leases.still().leased(content(number), at(149)), "no promise is broken: {number}");
        assert!(!leases.still().leased(content(number), at(150)));
    }
}

#[test]
fn leases_that_ran_out_make_room() {
    let leases = Leases::default();
    let many = u32::try_from(LEASES_MAX).unwrap();
    for number in 0..many {
        leases.take(content(number), &user("a"), at(0), LASTS, 0);
    }
    leases.take(content(many), &user("a"), at(100), LASTS, 0);
    assert_eq!(leases.held(), 1);
    assert!(!leases.still().leased(content(many + 9), at(101)));
    assert!(leases.still().leased(content(many), at(101)));
}
