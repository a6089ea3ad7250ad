//! One question and its answer, bounded in time and size.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::OutsideError;

/// Asks, and reads the whole answer: within `timeout` all in all, and no more than `most` bytes of body. An answer with any
/// status is an answer.
pub async fn ask(
    client: reqwest::Client,
    request: http::Request<Vec<u8>>,
    timeout: Duration,
    most: usize,
) -> Result<http::Response<Bytes>, OutsideError> {
    let request = reqwest::Request::try_from(request)?;
    let answer = async {
        let mut response = client.execute(request).await?;
        let mut parts = http::Response::new(()).into_parts().0;
        parts.status = response.status();
        parts.headers = std::mem::take(response.headers_mut());
        Ok(http::Response::from_parts(parts, read_bounded(response, most).await?))
    };
    tokio::time::timeout(timeout, answer).await.unwrap_or(Err(OutsideError::Timeout(timeout)))
}

/// A body, if it is no longer than so many bytes.
pub async fn read_bounded(mut response: reqwest::Response, most: usize) -> Result<Bytes, OutsideError> {
    let told = response.content_length().unwrap_or(0);
    if told > most as u64 {
        return Err(OutsideError::TooLarge(most));
    }
    let mut body = BytesMut::with_capacity(told as usize);
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(OutsideError::TooLarge(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
