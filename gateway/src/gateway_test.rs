use crate::testing::Fake;

#[tokio::test]
async fn users_are_asked_for_once_and_so_are_keys_that_nobody_has() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    fake.add_user("anna", false);
    for _ in 0..3 {
        assert_eq!(gateway.user_by_access_key("KEYanna").await.unwrap().unwrap().caller.name, "anna");
        assert!(gateway.user_by_access_key("KEYnobody").await.unwrap().is_none());
    }
    assert_eq!(fake.0.lock().root_queries, 2);
    gateway.forget_users().await;
    gateway.user_by_access_key("KEYanna").await.unwrap();
    assert_eq!(fake.0.lock().root_queries, 3);
}
