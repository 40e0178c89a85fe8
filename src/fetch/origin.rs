//! Where a payload comes from: one URL, asked as often as it takes.

use std::error::Error;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, IF_RANGE, RANGE};
use reqwest::{Client, RequestBuilder, Response, Url};
use tokio::time::sleep;

use crate::plan::Credentials;

use super::client::{client, payload_url, redirect_fault, shown};
use super::error::Interruption;
use super::pace::{Pace, TooSlow};
use super::{Entity, FetchError, FetchSettings};

#[derive(Debug)]
pub(super) struct Origin {
    client: Client,
    url: Url,
    /// The URL as it may be shown.
    shown: String,
    credentials: Option<Credentials>,
}

impl Origin {
    pub(super) fn new(
        url: &str,
        credentials: Option<Credentials>,
        settings: &FetchSettings,
    ) -> Result<Self, FetchError> {
        let url = payload_url(url)?;
        let client = client(settings)?;
        let credentials = credentials.filter(|_| url.scheme() == "https");
        Ok(Self {
            client,
            shown: shown(&url),
            url,
            credentials,
        })
    }

    /// The URL without user, password and query.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Asks for the bytes from `start` of a file, of `entity` if it is still that one.
    pub(super) fn get(&self, start: u64, entity: Option<&Entity>) -> RequestBuilder {
        let mut request = self.client.get(self.url.clone());
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
            if let Some(entity) = entity {
                request = request.header(IF_RANGE, entity.as_str());
            }
        }
        match &self.credentials {
            Some(known) => request.basic_auth(&known.user, Some(&known.password)),
            None => request,
        }
    }

    /// Asks about a file, not for it.
    pub(super) fn head(&self) -> RequestBuilder {
        self.client.head(self.url.clone())
    }

    /// Hands `body` to the server.
    pub(super) fn post(&self, content_type: &'static str, body: Bytes) -> RequestBuilder {
        self.client
            .post(self.url.clone())
            .header(CONTENT_TYPE, content_type)
            .body(body)
    }

    /// Sends one request. The outer error is final, the inner one may pass.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        settings: &FetchSettings,
    ) -> Result<Result<Response, Interruption>, FetchError> {
        let mut pace = Pace::new(settings);
        match pace.wait(request.send()).await {
            Ok(Ok(response)) => Ok(Ok(response)),
            Ok(Err(error)) => self.sort(error).map(Err),
            Err(TooSlow) => Ok(Err(pace.stalled())),
        }
    }

    /// Sends a request as often as it takes to get any answer, within the settings' patience.
    pub(super) async fn insist(
        &self,
        request: impl Fn() -> RequestBuilder,
        settings: &FetchSettings,
    ) -> Result<Response, FetchError> {
        let mut tries = 1;
        loop {
            let source = match self.send(request(), settings).await? {
                Ok(response) => return Ok(response),
                Err(why) => why,
            };
            if tries > settings.no_answer_retries {
                return Err(FetchError::NoAnswer {
                    url: self.shown.clone(),
                    tries,
                    source,
                });
            }
            tracing::info!(
                url = self.shown,
                tries,
                reason = &source as &dyn Error,
                "no answer"
            );
            tries += 1;
            sleep(settings.no_answer_delay).await;
        }
    }

    /// Tells failures that stay from those that may pass.
    fn sort(&self, error: reqwest::Error) -> Result<Interruption, FetchError> {
        if let Some(fault) = redirect_fault(&error) {
            return Err(FetchError::Redirect {
                url: self.shown.clone(),
                fault,
            });
        }
        // The URL in the client's own message would carry secrets into the journal.
        let error = error.without_url();
        if error.is_builder() {
            Err(FetchError::Client(error))
        } else {
            Ok(Interruption::Connection(error))
        }
    }
}
