use cairn_storage::types::{Epoch, Recovered};
use futures::future::join_all;

use super::*;
use crate::gateway::Gateway;
use crate::testing::Fake;

/// A gateway that knows one user, `anna`.
async fn setup() -> (Fake, Gateway) {
    let fake = Fake::default();
    let gateway = fake.gateway();
    fake.add_user("anna", false);
    assert!(is_known(&gateway, "anna").await);
    (fake, gateway)
}

async fn is_known(gateway: &Gateway, name: &str) -> bool {
    let found = gateway.user_by_access_key(&format!("KEY{name}")).await.unwrap();
    found.is_some_and(|known| known.caller.name == name && known.secret_key == format!("secret of {name}"))
}

async fn is_unavailable(gateway: &Gateway, name: &str) -> bool {
    let found = gateway.user_by_access_key(&format!("KEY{name}")).await;
    found.is_err_and(|error| error.code == Code::ServiceUnavailable)
}

#[tokio::test(start_paused = true)]
async fn a_request_of_a_known_user_asks_nothing_and_an_unchanged_table_is_not_sent_again() {
    let (fake, gateway) = setup().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        for _ in 0..1_000 {
            assert!(is_known(&gateway, "anna").await);
        }
        sleep(Duration::from_millis(100)).await;
    }
    let state = fake.0.lock();
    assert!((20..=22).contains(&state.user_queries), "{} questions", state.user_queries);
    assert_eq!((state.tables_sent, state.root_queries), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_was_removed_elsewhere_is_refused_within_a_second() {
    let (fake, gateway) = setup().await;
    for phase in (0..1_000).step_by(30) {
        fake.add_user("ben", false);
        assert!(is_known(&gateway, "ben").await);
        sleep(Duration::from_millis(phase)).await;
        fake.0.lock().users.pop();
        sleep(Duration::from_millis(999)).await;
        assert!(!is_known(&gateway, "ben").await, "removed {phase} ms later");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_finds_the_table_too_old_asks_by_itself() {
    let (fake, gateway) = setup().await;
    fake.0.lock().users.clear();
    // As if the task had slept for too long.
    gateway.0.users.shared.state.send_modify(|state| {
        state.table.as_mut().unwrap().confirmed -= FRESH + Duration::from_millis(1);
    });
    let begun = Instant::now();
    assert!(!is_known(&gateway, "anna").await);
    assert!(begun.elapsed() <= 2 * PAUSE + Duration::from_millis(5), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_user_who_was_made_elsewhere_is_known_at_once() {
    let (fake, gateway) = setup().await;
    for name in ["ben", "cleo", "dora"] {
        assert!(!is_known(&gateway, name).await);
        let user = fake.add_user(name, false);
        let begun = Instant::now();
        assert!(is_known(&gateway, name).await);
        assert!(begun.elapsed() <= PAUSE + Duration::from_millis(5), "{:?}", begun.elapsed());
        assert_eq!(gateway.display_name(user.id).await.unwrap(), format!("{name}'s name"));
    }
    assert_eq!(gateway.display_name(UserId::random()).await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_our_own_is_seen_by_the_next_request() {
    let (fake, gateway) = setup().await;
    fake.0.lock().users[0].secret_key = "another".to_owned();
    gateway.forget_users().await;
    let begun = Instant::now();
    let known = gateway.user_by_access_key("KEYanna").await.unwrap().unwrap();
    assert_eq!((known.secret_key.as_str(), begun.elapsed()), ("another", Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_of_the_root_group_known_users_go_on_for_an_hour_and_unknown_ones_are_not_refused_as_such() {
    let (fake, gateway) = setup().await;
    fake.0.lock().is_leaderless = true;
    let begun = Instant::now();
    let mut waited = Duration::ZERO;
    while begun.elapsed() < OLDEST - Duration::from_secs(10) {
        let asked = Instant::now();
        assert!(is_known(&gateway, "anna").await);
        waited += asked.elapsed();
        sleep(Duration::from_millis(100)).await;
    }
    assert!(waited <= PROMPT, "{waited:?} in all");
    let asked = Instant::now();
    assert!(is_unavailable(&gateway, "ben").await);
    assert!(asked.elapsed() <= PATIENCE + Duration::from_millis(5));

    sleep(Duration::from_secs(11)).await;
    let asked = Instant::now();
    assert!(is_unavailable(&gateway, "anna").await && is_unavailable(&gateway, "ben").await);
    assert!(asked.elapsed() <= 2 * PATIENCE + Duration::from_millis(5));

    fake.0.lock().is_leaderless = false;
    sleep(PATIENCE).await;
    assert!(is_known(&gateway, "anna").await);
}

#[tokio::test(start_paused = true)]
async fn a_change_while_there_was_no_leader_is_seen_by_the_first_request_after_the_answer() {
    let (fake, gateway) = setup().await;
    fake.0.lock().is_leaderless = true;
    sleep(Duration::from_secs(60)).await;
    assert!(is_known(&gateway, "anna").await);
    fake.0.lock().is_leaderless = false;
    fake.0.lock().users.clear();
    // The question that is under way still fails.
    sleep(PATIENCE + Duration::from_millis(50)).await;
    assert!(!is_known(&gateway, "anna").await);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_starts_without_a_leader_waits_for_it_and_not_for_ever() {
    let fake = Fake::default();
    fake.add_user("anna", false);
    fake.0.lock().is_leaderless = true;
    let gateway = fake.gateway();
    let begun = Instant::now();
    assert!(is_unavailable(&gateway, "anna").await);
    assert!(begun.elapsed() <= PATIENCE + Duration::from_millis(5));
    fake.0.lock().is_leaderless = false;
    assert!(is_known(&gateway, "anna").await);
}

#[tokio::test(start_paused = true)]
async fn many_who_wait_are_one_question() {
    let (fake, gateway) = setup().await;
    sleep(Duration::from_millis(100)).await;
    let before = fake.0.lock().user_queries;
    let asking: Vec<_> = (0..1_000)
        .map(|_| {
            let gateway = gateway.clone();
            tokio::spawn(async move { is_known(&gateway, "nobody").await })
        })
        .collect();
    assert!(join_all(asking).await.into_iter().all(|known| !known.unwrap()));
    assert_eq!(fake.0.lock().user_queries - before, 1);
}

#[tokio::test(start_paused = true)]
async fn made_up_keys_are_a_bounded_number_of_small_questions_and_in_nobodys_way() {
    let (fake, gateway) = setup().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        let made_up: Vec<_> = (0..100).map(|number| format!("{number}")).collect();
        let found = join_all(made_up.iter().map(|name| is_known(&gateway, name))).await;
        assert!(!found.contains(&true));
        let asked = Instant::now();
        assert!(is_known(&gateway, "anna").await);
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
    let asked = fake.0.lock().user_queries;
    assert!(asked <= 5 * 50 + 5, "{asked} questions in five seconds");
    assert_eq!(fake.0.lock().tables_sent, 1);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_comes_back_after_a_recovery_is_not_taken_for_the_known_one() {
    let (fake, gateway) = setup().await;
    fake.0.lock().user_epoch = Some(7);
    sleep(Duration::from_secs(1)).await;
    assert!(is_known(&gateway, "anna").await);
    {
        let mut state = fake.0.lock();
        state.users.clear();
        state.generation = state.generation.next(Recovered { id: 1, last: Epoch(1), first: Epoch(1_000) });
    }
    sleep(Duration::from_secs(1)).await;
    assert!(!is_known(&gateway, "anna").await);
    let sent = fake.0.lock().tables_sent;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(fake.0.lock().tables_sent, sent, "once, not each time");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_dropped_asks_no_more() {
    let (fake, gateway) = setup().await;
    drop(gateway);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&fake.0), 1, "nothing has a way to the cluster");
}

fn key_of(user: &cairn_storage::meta::record::UserRecord, access_key: &str) -> AccessKey {
    AccessKey {
        access_key: access_key.to_owned(),
        secret_key: "secret of a key".to_owned(),
        user: user.id,
        description: String::new(),
        created_ms: 0,
        disabled: false,
        expires_ms: None,
        policy: None,
    }
}

#[tokio::test(start_paused = true)]
async fn each_good_key_of_a_user_opens_and_no_other_does() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let keys = [
        key_of(&anna, "GOOD"),
        AccessKey { disabled: true, ..key_of(&anna, "DISABLED") },
        AccessKey { expires_ms: Some(1), ..key_of(&anna, "EXPIRED") },
        AccessKey { expires_ms: Some(u64::MAX), ..key_of(&anna, "LATER") },
        AccessKey { user: UserId([9; 16]), ..key_of(&anna, "NOBODYS") },
    ];
    fake.0.lock().identities.keys = keys.to_vec();
    for (access_key, opens) in
        [("GOOD", true), ("LATER", true), ("DISABLED", false), ("EXPIRED", false), ("NOBODYS", false)]
    {
        let known = gateway.user_by_access_key(access_key).await.unwrap();
        assert_eq!(known.is_some(), opens, "{access_key}");
        assert!(known.is_none_or(|known| known.caller.name == "anna" && known.secret_key == "secret of a key"));
    }
    let disabled = UserRights { disabled: true, ..UserRights::default() };
    fake.0.lock().identities.rights = vec![(anna.id, disabled)];
    sleep(Duration::from_secs(1)).await;
    for access_key in ["GOOD", "LATER", "KEYanna"] {
        assert!(gateway.user_by_access_key(access_key).await.unwrap().is_none(), "{access_key}");
    }
    assert_eq!(gateway.display_name(anna.id).await.unwrap(), "anna's name", "it is a user all the same");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_narrowed_and_its_user_is_not() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let policy = r#"{"Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}"#;
    fake.0.lock().identities.keys = vec![AccessKey { policy: Some(policy.to_owned()), ..key_of(&anna, "NARROW") }];
    let rights = async |access_key: &str| {
        gateway.user_by_access_key(access_key).await.unwrap().unwrap().caller.rights().narrowing.is_some()
    };
    assert!(rights("NARROW").await && !rights("KEYanna").await);
}
