use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn item(number: u64, bytes: usize) -> Item {
    Item { number, id: format!("job-{number}"), bytes: vec![b'x'; bytes].into() }
}

fn numbers(spool: &Spool, lane: Lane) -> Vec<u64> {
    waiting(&spool.database, lane, 0, usize::MAX, usize::MAX).unwrap().iter().map(|item| item.number).collect()
}

#[test]
fn what_was_committed_is_there_again_in_order_and_an_empty_file_goes() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { bytes: 1 << 20, age: DAY };
    let mut spool = Spool::open(folder.path(), "soc", bounds).unwrap();
    let path = spool.path().to_owned();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777, 0o600);
    let both = [(Lane::Telemetry, item(1, 10)), (Lane::Alerts, item(2, 10)), (Lane::Telemetry, item(3, 10))];
    spool.commit(&both, &[]).unwrap();
    spool.commit(&[], &[(Lane::Telemetry, 1)]).unwrap();
    spool.close();
    let mut spool = Spool::open(folder.path(), "soc", bounds).unwrap();
    assert_eq!((spool.last(), numbers(&spool, Lane::Alerts), numbers(&spool, Lane::Telemetry)), (3, vec![2], vec![3]));
    assert_eq!(waiting(&spool.database, Lane::Alerts, 0, 9, 9).unwrap(), [item(2, 10)]);
    assert!(waiting(&spool.database, Lane::Alerts, 2, 9, 9).unwrap().is_empty(), "after the last there is nothing");
    spool.commit(&[], &[(Lane::Alerts, 2), (Lane::Telemetry, 3)]).unwrap();
    assert_eq!(spool.bytes, [0, 0]);
    spool.close();
    assert!(!path.exists());
}

#[test]
fn over_the_bound_the_oldest_telemetry_goes_first_and_alerts_only_when_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let weight = item(10, 100).weight();
    let mut spool = Spool::open(folder.path(), "soc", Bounds { bytes: 4 * weight, age: DAY }).unwrap();
    let alerts: Vec<_> = (10..12).map(|number| (Lane::Alerts, item(number, 100))).collect();
    let telemetry: Vec<_> = (12..17).map(|number| (Lane::Telemetry, item(number, 100))).collect();
    assert_eq!(spool.commit(&alerts, &[]).unwrap().dropped, 0);
    assert_eq!(spool.commit(&telemetry, &[]).unwrap().dropped, 3);
    assert_eq!((numbers(&spool, Lane::Alerts), numbers(&spool, Lane::Telemetry)), (vec![10, 11], vec![15, 16]));
    let more: Vec<_> = (17..20).map(|number| (Lane::Alerts, item(number, 100))).collect();
    assert_eq!(spool.commit(&more, &[]).unwrap().dropped, 3);
    assert_eq!((numbers(&spool, Lane::Alerts), numbers(&spool, Lane::Telemetry)), (vec![11, 17, 18, 19], vec![]));
    let late = spool.commit(&[], &[(Lane::Alerts, 10), (Lane::Alerts, 11)]).unwrap();
    assert_eq!(late, Committed { dropped: 0, arrived_after_all: 1 }, "what was under way when it was dropped");
    assert_eq!(spool.bytes, [3 * weight, 0]);
}

#[test]
fn what_has_waited_for_too_long_goes_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), "soc", Bounds { bytes: 1 << 20, age: DAY }).unwrap();
    spool.commit(&[(Lane::Alerts, item(1, 10)), (Lane::Telemetry, item(2, 10))], &[]).unwrap();
    // As if it had come two days ago.
    let transaction = spool.database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(ITEMS).unwrap();
        for key in [(Lane::Alerts.key(), 1), (Lane::Telemetry.key(), 2)] {
            let mut value = table.get(key).unwrap().unwrap().value().to_vec();
            value[..8].copy_from_slice(&(seconds_now() - 2 * DAY.as_secs()).to_be_bytes());
            table.insert(key, value.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
    assert_eq!(spool.commit(&[(Lane::Alerts, item(3, 10))], &[]).unwrap().dropped, 2);
    assert_eq!((numbers(&spool, Lane::Alerts), numbers(&spool, Lane::Telemetry)), (vec![3], vec![]));
}

#[test]
fn agents_beside_each_other_have_a_file_each_and_what_one_leaves_the_next_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { bytes: 1 << 20, age: DAY };
    let mut first = Spool::open(folder.path(), "soc", bounds).unwrap();
    let mut second = Spool::open(folder.path(), "soc", bounds).unwrap();
    let other = Spool::open(folder.path(), "pager", bounds).unwrap();
    assert_ne!(first.path(), second.path());
    first.commit(&[(Lane::Alerts, item(1, 10))], &[]).unwrap();
    second.commit(&[(Lane::Alerts, item(1, 20)), (Lane::Telemetry, item(2, 20))], &[]).unwrap();
    let left = second.path().to_owned();
    first.close();
    second.close();
    let third = Spool::open(folder.path(), "soc", bounds).unwrap();
    assert_eq!((numbers(&third, Lane::Alerts), numbers(&third, Lane::Telemetry)), (vec![1, 2], vec![3]));
    assert!(!left.exists(), "what was taken over is not there twice");
    other.close();
}

#[test]
fn a_file_that_is_no_spool_is_put_aside_and_does_not_stop_anybody() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("soc.0.redb"), vec![7; 8192]).unwrap();
    let spool = Spool::open(folder.path(), "soc", Bounds { bytes: 1 << 20, age: DAY }).unwrap();
    assert_eq!(spool.bytes, [0, 0]);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
