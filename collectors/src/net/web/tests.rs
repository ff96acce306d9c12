//! Tests of the client, against a server of a few lines.

use super::serving::{answer, serve};
use super::*;
use std::sync::atomic::AtomicUsize;
use tokio::sync::Barrier;

fn target(url: &str) -> WebTarget {
    WebTarget {
        url: url.into(),
        user: Some(("auditor".into(), Secret::new("hunter2"))),
        ca: None,
        allow_plain_http: false,
        request_timeout: Duration::from_secs(20),
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn get(path: &str) -> Request {
    Request { path: path.into(), ..Request::default() }
}

#[tokio::test]
async fn what_goes_over_the_wire() {
    let (url, seen) = serve(|_| async { answer(200, "yes") }).await;
    let web = Web::new(&target(&format!("{url}/prefix/")), SWITCH_MANNERS).unwrap();
    let header = Some(("Resource-Depth", "64"));
    let asks = [
        Request { header, ..get("/a/%22101/0/10%22") },
        // A bare backslash would have become a slash on the way.
        get("/interface/gige-1-3%5C?with-defaults"),
        Request { show: Some("interfaces switchport"), ..get("/cli") },
    ];
    for ask in &asks {
        let Answered { status, body } = web.ask(ask, soon()).await.unwrap();
        assert_eq!((status, body.as_slice()), (200, b"yes".as_slice()));
    }
    assert_eq!(
        seen.asked(),
        [
            "GET /prefix/a/%22101/0/10%22",
            "GET /prefix/interface/gige-1-3%5C?with-defaults",
            "POST /prefix/cli <input><show-command>interfaces switchport</show-command></input>",
        ]
    );
    let requests = seen.requests.lock().unwrap();
    assert!(requests[0].head.contains("\r\nresource-depth: 64"), "{}", requests[0].head);
    // base64("auditor:hunter2"), unasked, as HIL wants it.
    assert!(requests.iter().all(|r| r.head.contains("authorization: basic yxvkaxrvcjpodw50zxiy")));
    assert_eq!(web.sent(), 3);
    assert_eq!(seen.connections(), 1, "one connection serves all that comes one after the other");
}

#[tokio::test]
async fn few_at_once_and_in_order() {
    // Nobody is answered before as many wait as may: so no fewer than four are in flight, and the count says no more.
    let (barrier, now, most) =
        (Arc::new(Barrier::new(IN_FLIGHT)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen_most = most.clone();
    let (url, seen) = serve(move |r| {
        let (barrier, now, most) = (barrier.clone(), now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait().await;
            now.fetch_sub(1, Ordering::SeqCst);
            answer(200, &r.what)
        }
    })
    .await;
    let web = Web::new(&target(&url), SWITCH_MANNERS).unwrap();
    for _ in 0..2 {
        let asks: Vec<Request> = (0..5 * IN_FLIGHT).map(|i| get(&format!("/{i}"))).collect();
        for (request, answer) in web.ask_all(asks, soon()).await {
            assert_eq!(answer.unwrap().body, request.asked().as_bytes());
        }
    }
    assert_eq!(seen_most.load(Ordering::SeqCst), IN_FLIGHT);
    assert!(seen.connections() <= IN_FLIGHT, "{} connections for two polls", seen.connections());
}

#[tokio::test]
async fn answers_that_are_none() {
    let cases: [(&str, Vec<u8>, Failure, &str); 4] = [
        ("garbage", b"Welcome to switch\r\nlogin: \r\n\r\n".to_vec(), Failure::Unreadable, "not HTTP"),
        (
            "too long",
            b"HTTP/1.1 200 -\r\ncontent-length: 99999999\r\n\r\n"
                .to_vec()
                .into_iter()
                .chain(vec![b'x'; 5 << 20])
                .collect(),
            Failure::Unreadable,
            "more than 4194304 bytes",
        ),
        ("silence", Vec::new(), Failure::Silent, "no answer before the reading's deadline"),
        (
            "half a head",
            b"HTTP/1.1 200 -\r\ncont".to_vec(),
            Failure::Silent,
            "no answer before the reading's deadline",
        ),
    ];
    for (name, bytes, failure, words) in cases {
        let (url, _) = serve(move |_| {
            let bytes = bytes.clone();
            async move { bytes }
        })
        .await;
        let web = Web::new(&target(&url), SWITCH_MANNERS).unwrap();
        // Silence is told by the deadline; it is over at once here, so that no test waits.
        let deadline = if failure == Failure::Silent { Instant::now() } else { soon() };
        let unanswered = web.ask(&get("/"), deadline).await.unwrap_err();
        assert_eq!(unanswered.failure, failure, "{name}: {}", unanswered.why);
        assert!(unanswered.why.contains(words), "{name}: {}", unanswered.why);
        assert_eq!(Unanswered::from_told(unanswered.told().as_bytes()), unanswered);
    }
}

#[tokio::test]
async fn nobody_listening() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let web = Web::new(&target(&url), SWITCH_MANNERS).unwrap();
    let until = Instant::now() + Duration::from_millis(200);
    let unanswered = web.ask(&get("/"), until).await.unwrap_err();
    assert_eq!(unanswered.failure, Failure::Silent);
    assert!(
        !unanswered.why.contains("127.0.0.1:") && !unanswered.why.contains("hunter2"),
        "{}",
        unanswered.why
    );
}

#[tokio::test]
async fn refusals_end_a_reading_and_nothing_is_followed() {
    for (status, words) in [
        (401, "refuses the configured user"),
        (403, "may not read this"),
        (302, "redirect (302), which is never followed"),
    ] {
        let (url, seen) = serve(move |_| async move {
            format!("HTTP/1.1 {status} -\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n").into_bytes()
        })
        .await;
        let web = Web::new(&target(&url), SWITCH_MANNERS).unwrap();
        let mut gathering = Gathering::new(&web, |_, body| body, soon());
        assert!(!gathering.ask(vec![get("/a")]).await);
        assert_eq!(seen.asked(), ["GET /a"]);
        let error = refusal(&gathering.exchanges[0], true).unwrap();
        assert!(error.sentence.starts_with("GET /a: ") && error.sentence.contains(words), "{error}");
        assert!(!error.sentence.contains("hunter2") && !format!("{web:?}").contains("hunter2"));
    }
}

#[test]
fn switch_urls_keep_their_prefix() {
    for (url, base) in [
        ("http://127.0.0.1:8008", "http://127.0.0.1:8008"),
        ("http://[::1]/gate/v0/", "http://[::1]/gate/v0"),
    ] {
        assert_eq!(Web::new(&target(url), SWITCH_MANNERS).unwrap().base(), base);
    }
    let said = Web::new(&target("http://switch.example"), SWITCH_MANNERS).unwrap_err().to_string();
    assert!(said.contains("plain http to switch.example"), "{said}");
}
