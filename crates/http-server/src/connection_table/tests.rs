use tokio::time::{sleep, timeout};

use super::*;

const SERVER: &str = "10.9.9.9";
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);
const LIMITS: ConnectionLimits =
    ConnectionLimits { total: 4, reserved_for_local: 0, per_peer: 4, max_lag: Duration::from_millis(50) };

fn table(total: usize, per_peer: usize) -> ConnectionTable {
    ConnectionTable::new(ConnectionLimits { total, per_peer, ..LIMITS })
}

/// A client of this address, which connected to [`SERVER`].
fn peer(address: &str) -> Peer {
    let socket = |address: &str| SocketAddr::new(address.parse().unwrap(), 80);
    Peer::new(socket(address), Some(socket(SERVER)))
}

fn admitted(table: &ConnectionTable, address: &str) -> Place {
    match table.admit(peer(address)) {
        Admission::Admitted(place) => place,
        other => panic!("{address}: {other:?}"),
    }
}

/// Waits until this peer gets a place.
async fn until_admitted(table: &ConnectionTable, address: &str) -> Place {
    let admitted = async {
        loop {
            if let Admission::Admitted(place) = table.admit(peer(address)) {
                return place;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, admitted).await.expect("a place")
}

/// Waits until so many clients are too slow to keep their places.
async fn until_slow(table: &ConnectionTable, count: usize) {
    let slow = || {
        let (now, open) = (Instant::now(), table.0.open.lock());
        open.connections.values().filter(|entry| entry.behind(now) > LIMITS.max_lag).count()
    };
    let reached = async {
        while slow() < count {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, reached).await.expect("they are slow");
}

async fn until_evicted(place: &Place) {
    timeout(LIMIT, place.evicted()).await.expect("it makes room");
}

#[tokio::test]
async fn a_new_connection_replaces_the_one_that_is_idle_longest() {
    let table = table(3, 2);
    let (one, two) = (admitted(&table, "10.0.0.1"), admitted(&table, "10.0.0.1"));
    let busy = two.activity().request();
    // The peer's own idle connection, though others are idle too.
    let _other = admitted(&table, "10.0.0.2");
    let three = admitted(&table, "::ffff:10.0.0.1");
    one.evicted().await;
    drop(one);
    let _busy_too = three.activity().request();
    assert!(matches!(table.admit(peer("10.0.0.1")), Admission::PeerLimit));
    // All places are taken: somebody else's idle connection.
    let four = admitted(&table, "10.0.0.3");
    let _busy_as_well = four.activity().request();
    assert!(matches!(table.admit(peer("10.0.0.4")), Admission::Full));
    drop(busy);
    let _five = admitted(&table, "10.0.0.4");
    two.evicted().await;
}

#[tokio::test]
async fn a_request_that_begins_before_its_eviction_is_not_ended() {
    let table = table(1, 1);
    let one = admitted(&table, "10.0.0.1");
    let two = admitted(&table, "10.0.0.2");
    let _late = one.activity().request();
    let evicted = timeout(Duration::from_millis(50), one.evicted());
    assert!(evicted.await.is_err());
    // It counts again.
    drop(two);
    assert!(matches!(table.admit(peer("10.0.0.3")), Admission::Full));
    drop(one);
    let open = table.0.open.lock();
    assert!(open.total == 0 && open.strangers == 0 && open.of_peer.is_empty() && open.connections.is_empty());
}

#[tokio::test]
async fn a_connection_whose_client_does_not_read_is_in_use() {
    let table = ConnectionTable::new(ConnectionLimits { total: 1, per_peer: 1, max_lag: LIMIT, ..LIMITS });
    let one = admitted(&table, "10.0.0.1");
    one.activity().wrote(0, true);
    assert!(matches!(table.admit(peer("10.0.0.2")), Admission::Full));
    one.activity().wrote(0, false);
    let _two = admitted(&table, "10.0.0.2");
}

#[test]
fn an_ipv6_network_is_one_peer() {
    let key = |text: &str| peer_key(text.parse().unwrap());
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
}

#[tokio::test]
async fn a_client_that_is_too_slow_makes_room_for_others_and_one_that_is_fast_enough_does_not() {
    let table = table(3, 3);
    let places = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| admitted(&table, address));
    let _requests = places.each_ref().map(|place| place.activity().request());
    let [sender, reader, fast] = &places;
    // What was sent before does not help.
    sender.activity().received(128 << 20, true);
    reader.activity().wrote(128 << 20, true);
    let new = until_admitted(&table, "10.0.0.4").await;
    let _request = new.activity().request();
    let newer = until_admitted(&table, "10.0.0.5").await;
    let _another = newer.activity().request();
    until_evicted(sender).await;
    until_evicted(reader).await;
    assert!(matches!(table.admit(peer("10.0.0.6")), Admission::Full));
    assert!(timeout(Duration::from_millis(20), fast.evicted()).await.is_err());
}

#[tokio::test]
async fn of_several_slow_clients_one_of_the_address_with_most_connections_makes_room() {
    let table = table(4, 4);
    let single = admitted(&table, "10.0.0.1");
    let _slow = single.activity().request();
    single.activity().received(0, true);
    // They come later, and so are less behind.
    let many: Vec<_> = (0..3).map(|_| admitted(&table, "10.0.0.2")).collect();
    let _requests: Vec<_> = many.iter().map(|place| place.activity().request()).collect();
    for place in &many {
        place.activity().wrote(0, true);
    }
    until_slow(&table, 4).await;
    let _new = admitted(&table, "10.0.0.3");
    until_evicted(&many[0]).await;
    assert!(timeout(Duration::from_millis(20), single.evicted()).await.is_err());
}

#[tokio::test]
async fn strangers_leave_places_to_programs_of_this_machine_and_never_take_them_back() {
    let table = ConnectionTable::new(ConnectionLimits { reserved_for_local: 2, ..LIMITS });
    let strangers = ["10.0.0.1", "10.0.0.2"].map(|address| admitted(&table, address));
    let _requests = strangers.each_ref().map(|place| place.activity().request());
    assert!(matches!(table.admit(peer("10.0.0.3")), Admission::Full));
    let own = [SERVER, SERVER].map(|address| admitted(&table, address));
    let requests = own.each_ref().map(|place| place.activity().request());
    assert!(matches!(table.admit(peer(SERVER)), Admission::Full));
    // Slow or idle, they stay: only what a stranger has makes room for a stranger.
    for place in &own {
        place.activity().received(0, true);
    }
    until_slow(&table, 2).await;
    assert!(matches!(table.admit(peer("10.0.0.3")), Admission::Full));
    drop(requests);
    assert!(matches!(table.admit(peer("10.0.0.3")), Admission::Full));
    let _newer = admitted(&table, SERVER);
    until_evicted(&own[0]).await;
}

#[test]
fn only_a_client_with_the_servers_own_address_is_of_this_machine() {
    for (client, is_local) in
        [(SERVER, true), ("::ffff:10.9.9.9", true), ("10.9.9.8", false), ("127.0.0.1", false)]
    {
        assert_eq!(peer(client).is_local, is_local, "{client}");
    }
    let client = "127.0.0.1:80".parse().unwrap();
    assert!(!Peer::new(client, None).is_local);
}
