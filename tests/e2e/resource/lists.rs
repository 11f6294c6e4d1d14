use api::Operation::{Create, Delete, List, Update};
use serde_json::{Value, json};

use crate::{
    client::{Response, User},
    sample::{Sample, items},
};

fn cursor(page: &Response) -> String {
    page.body["cursor"].as_str().expect("another page follows").to_owned()
}

#[tokio::test]
async fn a_new_user_has_an_empty_list() {
    for sample in Sample::with(&[List]) {
        let list = User::sign_up("Ada").get(&sample.path).await;
        assert_eq!((list.status, list.header("content-type")), (200, "application/json"));
        assert_eq!((items(&list.body).len(), &list.body["cursor"]), (0, &Value::Null), "{list:?}");
    }
}

#[tokio::test]
async fn lists_show_the_newest_item_first() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let oldest = ada.create(&sample).await;
        let middle = ada.post(&sample.path, &sample.other).await;
        let newest = ada.create(&sample).await;
        let list = ada.get(&sample.path).await.body;
        assert_eq!(items(&list), &[newest.body.clone(), middle.body, oldest.body.clone()]);
        assert_eq!(list["cursor"], Value::Null);

        if sample.has(Update) {
            let updated = ada.patch(oldest.header("location"), &sample.update).await;
            let list = ada.get(&sample.path).await.body;
            assert_eq!((&items(&list)[0], &items(&list)[2]), (&newest.body, &updated.body), "an update moves nothing");
        }
    }
}

#[tokio::test]
async fn cursors_lead_through_all_pages_without_gaps() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        for _ in 0..5 {
            ada.create(&sample).await;
        }
        let all = ada.get(&sample.path).await;
        for limit in [1, 2, 4, 5, 6] {
            let (mut listed, mut query) = (Vec::new(), format!("limit={limit}"));
            loop {
                let page = ada.get(&format!("{}?{query}", sample.path)).await;
                assert_eq!(page.status, 200, "{page:?}");
                let expected = limit.min(5 - listed.len());
                assert_eq!(items(&page.body).len(), expected, "{limit}: {page:?}");
                listed.extend(items(&page.body).clone());
                if page.body["cursor"].is_null() {
                    break;
                }
                query = format!("limit={limit}&cursor={}", cursor(&page));
            }
            assert_eq!(&listed, items(&all.body), "{limit}");
        }
    }
}

#[tokio::test]
async fn items_created_or_deleted_meanwhile_do_not_move_a_cursor() {
    for sample in Sample::with(&[Create, Delete, List]) {
        let ada = User::sign_up("Ada");
        let [oldest, middle, _] = [ada.create(&sample).await, ada.create(&sample).await, ada.create(&sample).await];
        let first = ada.get(&format!("{}?limit=2", sample.path)).await;
        ada.create(&sample).await;
        assert_eq!(ada.delete(middle.header("location")).await.status, 204);
        let second = ada.get(&format!("{}?limit=2&cursor={}", sample.path, cursor(&first))).await;
        assert_eq!(items(&second.body), &[oldest.body], "{second:?}");
    }
}

#[tokio::test]
async fn invalid_cursors_are_400() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        for _ in 0..2 {
            ada.create(&sample).await;
        }
        let valid = cursor(&ada.get(&format!("{}?limit=1", sample.path)).await);
        assert_eq!(ada.get(&format!("{}?cursor={valid}", sample.path)).await.status, 200);
        // Another version of cursors, and an id that is not a UUIDv7.
        let (version, id) = (valid.replacen('A', "B", 1), format!("{}AAAAAAAAAAAAAAAAAAAAAA", &valid[..12]));
        for invalid in
            ["", "nonsense", "!", &valid[1..], &valid[..valid.len() - 4], &format!("{valid}AAAA"), &version, &id]
        {
            let response = ada.get(&format!("{}?cursor={invalid}", sample.path)).await;
            response.is_problem(400, "invalid_query");
            assert!(response.body["detail"].as_str().is_some_and(|detail| detail.contains("cursor")), "{response:?}");
        }
    }
}

#[tokio::test]
async fn limits_other_than_1_to_100_are_400() {
    for sample in Sample::with(&[List]) {
        let ada = User::sign_up("Ada");
        for limit in ["0", "101", "-1", "256", "1.5", "many", "", "1&limit=2"] {
            let response = ada.get(&format!("{}?limit={limit}", sample.path)).await;
            response.is_problem(400, "invalid_query");
            assert!(response.body["detail"].as_str().is_some_and(|detail| detail.contains("limit")), "{response:?}");
        }
        for limit in [1, 100] {
            assert_eq!(ada.get(&format!("{}?limit={limit}", sample.path)).await.status, 200);
        }
    }
}

#[tokio::test]
async fn unknown_query_parameters_are_ignored() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        let list = ada.get(&format!("{}?unknown=1", sample.path)).await;
        assert_eq!((list.status, items(&list.body)), (200, &vec![created.body]), "{}", json!(list.body));
    }
}
