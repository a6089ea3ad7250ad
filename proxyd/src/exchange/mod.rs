//! What travels: one request with its response and all we know of it. Knows nothing of routes, filters or upstreams.

mod alarm;
pub mod body;
mod cookies;
mod crowd;
mod denial;
mod end;
pub mod finish;
mod ground;
pub mod head;
mod inbound;
mod json;
mod kept;
mod ledger;
mod link;
mod made;
mod peer;
mod principal;
mod rejection;
mod socket;
pub mod stream;
mod trail;
mod trailers;
pub mod translate;
mod tries;

pub use alarm::Alarm;
pub use body::Body;
pub use cookies::{cookies, take_cookies};
pub use crowd::{Crowd, Seat};
pub use denial::{Challenges, Denial, Lack};
pub use end::{End, poll_room};
pub use finish::{EndpointTag, Finish, RouteTag, Terms};
pub use ground::Ground;
pub use head::{Headers, Looked, Name, RequestHead, ResponseHead, Value, name};
pub use inbound::{RequestBody, Upload};
pub use json::JsonBounds;
pub use kept::Kept;
pub use ledger::Ledger;
pub use link::{Hints, Interim, Link};
pub use made::Made;
pub use peer::{Load, Peer, Presence};
pub use principal::{KeyMark, Minted, Others, Principal};
pub use rejection::{ErrorForm, Rejection, is_grpc};
pub use socket::Socket;
pub use stream::StreamBody;
pub use trail::{Part, Trail};
pub use trailers::clean as clean_trailers;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shared::decide::limit;

/// A request as it came.
pub struct Request {
    pub head: RequestHead,
    pub body: RequestBody,
    pub interim: Interim,
    /// An extended CONNECT of HTTP/2 (RFC 8441), told as the `Upgrade` that it is in HTTP/1.1.
    pub extended: bool,
    /// The timer of the task that serves it.
    pub alarm: Rc<Alarm>,
}

/// An answer on its way to the client.
pub struct Response {
    pub head: ResponseHead,
    pub body: Body,
    /// Who takes the client's connection over once the head is sent.
    pub takeover: Option<Takeover>,
}

/// Takes a connection or a stream over that has changed its protocol.
pub type Takeover = Box<dyn FnOnce(End)>;

impl Response {
    /// An answer.
    pub fn new(head: ResponseHead, body: Body) -> Self {
        Self { head, body, takeover: None }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self::new(ResponseHead::new(status), Body::empty())
    }
}

/// What is known of a request besides its message: written by the rooms it passes, read on the way back.
pub struct Exchange {
    /// Records the request when it ends, however it ends.
    pub finish: Box<Finish>,
    pub peer: Rc<Peer>,
    /// The timer of the task that serves it.
    pub alarm: Rc<Alarm>,
    /// The client's address, after trusted proxies.
    pub client: IpAddr,
    /// Whether the peer is a proxy that is believed.
    pub trusted: bool,
    /// The scheme the client used, as far as trusted proxies tell.
    pub https: bool,
    /// What filters noted on the way in, for the way back.
    pub notes: Notes,
}

/// A line that the client is told beside the answer.
pub enum Back {
    Now(Name, Value),
    /// It is known when the answer leaves, or there is none then.
    Later(Box<dyn FnOnce() -> Option<(Name, Value)>>),
}

impl Back {
    /// The line, now that the answer leaves.
    pub fn told(self) -> Option<(Name, Value)> {
        match self {
            Self::Now(name, value) => Some((name, value)),
            Self::Later(make) => make(),
        }
    }
}

/// What the request side of a filter tells its response side.
#[derive(Default)]
pub struct Notes {
    /// Of the rate limit rule with the least left.
    pub limit: Option<LimitNote>,
    pub cors: Option<CorsNote>,
    /// The code of a refusal that was answered by somebody else's words.
    pub refused: Option<&'static str>,
    /// What whoever recognised the client tells it beside the answer.
    pub back: Vec<Back>,
    /// What the request is to suffer on purpose.
    pub injected: Option<Injected>,
    /// Whether a tunnel that the request opens ends when what it was opened with expires.
    pub ends_expired: bool,
    /// What upstreams see in place of the request's query; an empty one is none.
    pub query: Option<String>,
    /// Whether upstreams are not told of the client's certificate.
    pub withholds_certificate: bool,
}

impl Notes {
    /// The query that upstreams see.
    pub fn query<'a>(&'a self, head: &'a RequestHead) -> Option<&'a str> {
        match &self.query {
            Some(query) => Some(&**query).filter(|query| !query.is_empty()),
            None => head.query(),
        }
    }
}

/// A delay and an error on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    pub delay: Option<Duration>,
    /// The status that it is answered with.
    pub abort: Option<u16>,
}

/// A rate limit's verdict, to be told to the client.
pub struct LimitNote {
    /// Whether its rule counts after somebody was recognised, or before.
    pub after_auth: bool,
    /// The rule's place among those of its policy that count then.
    pub rule: usize,
    /// What was counted by in place of the rule's own.
    pub quota: Option<Arc<Quota>>,
    pub verdict: limit::Verdict,
}

/// What a rate limit counts by, ready to be told.
#[derive(Debug)]
pub struct Quota {
    pub meter: limit::Meter,
    /// `RateLimit-Policy`.
    pub policy: Value,
    /// What a shared store is asked with: the meter's form and arguments.
    pub form: Box<str>,
    pub arguments: Box<[u64]>,
}

/// What CORS lets the client's script see.
pub struct CorsNote {
    pub headers: Vec<(Name, Value)>,
    pub vary_origin: bool,
}

impl Exchange {
    /// The request's id.
    pub fn id(&self) -> &str {
        self.finish.trail.part(Part::Id)
    }

    /// The request's method.
    pub fn method(&self) -> &str {
        self.finish.trail.part(Part::Method)
    }

    /// The host asked for: lower case, no port; empty where none was named.
    pub fn host(&self) -> &str {
        self.finish.trail.part(Part::Host)
    }

    /// The normalised path; before routing, the path as it came.
    pub fn path(&self) -> &str {
        self.finish.trail.path()
    }

    /// The answer to a rejection of this request, which came with these headers.
    pub fn reject(&mut self, rejection: &Rejection, headers: &Headers) -> Response {
        self.finish.rejected(rejection);
        rejection.response(self.finish.trail.part(Part::Id), ErrorForm::of(headers))
    }
}
