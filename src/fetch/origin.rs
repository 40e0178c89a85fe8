//! Where a payload comes from: one URL, asked as often as it takes.

use reqwest::header::{IF_RANGE, RANGE};
use reqwest::{Client, Response, Url};

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

    /// One request, for the bytes from `start`. The outer error is final, the inner one may pass.
    pub(super) async fn ask(
        &self,
        start: u64,
        entity: Option<&Entity>,
        settings: &FetchSettings,
    ) -> Result<Result<Response, Interruption>, FetchError> {
        let mut request = self.client.get(self.url.clone());
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
            if let Some(entity) = entity {
                request = request.header(IF_RANGE, entity.as_str());
            }
        }
        if let Some(credentials) = &self.credentials {
            request = request.basic_auth(&credentials.user, Some(&credentials.password));
        }
        let mut pace = Pace::new(settings);
        match pace.wait(request.send()).await {
            Ok(Ok(response)) => Ok(Ok(response)),
            Ok(Err(error)) => self.sort(error).map(Err),
            Err(TooSlow) => Ok(Err(pace.stalled())),
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
