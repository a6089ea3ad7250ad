//! Answers of every size and kind, from a server that says what it is told to.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server that answers one request with these bytes and then says no more; and its address.
async fn server(answer: &'static str, closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        if !closes {
            std::future::pending::<()>().await;
        }
    });
    format!("http://{address}/secret-path")
}

async fn asked(answer: &'static str, closes: bool) -> Result<(u16, String), String> {
    let request = http::Request::get(server(answer, closes).await).body(Vec::new()).unwrap();
    let client = Outside::default().client().unwrap();
    let answer = ask(client, request, Duration::from_millis(500), 10).await.map_err(|error| error.to_string())?;
    Ok((answer.status().as_u16(), String::from_utf8(answer.into_body().to_vec()).unwrap()))
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789";
    assert_eq!(asked(length, true).await, Ok((200, "0123456789".to_owned())));
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n";
    assert_eq!(asked(long, false).await, Err("the answer is longer than 10 bytes".to_owned()));
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n";
    assert_eq!(asked(chunks, false).await, Err("no answer within 500ms".to_owned()));
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n678901\r\n";
    assert_eq!(asked(chunks, false).await, Err("the answer is longer than 10 bytes".to_owned()));
    assert_eq!(asked("", false).await, Err("no answer within 500ms".to_owned()));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(asked(redirect, true).await, Ok((302, String::new())));
}

#[tokio::test]
async fn an_error_does_not_show_the_address() {
    let error = asked("garbage\r\n\r\n", true).await.unwrap_err();
    assert!(!error.contains("secret-path"), "{error}");
}
