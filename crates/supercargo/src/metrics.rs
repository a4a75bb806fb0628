//! Metrics for Prometheus: of requests and connections, counted as they happen, and of the registry and its
//! jobs, read when somebody looks.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry as Prometheus, Unit};
use supercargo_eventlog::Log as _;
use supercargo_registry::Registry;
use supercargo_workers::JobState;

use crate::http::Ways;

/// The media type of the metrics page.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How many orphans are counted at most when somebody looks: a page of metrics must stay cheap.
const ORPHANS_COUNTED_MAX: u64 = 100_000;

/// What requests are counted by. Never by names, tags or digests: those are without number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: u16,
}

impl RequestLabels {
    pub(crate) fn new(method: &Method, route: &'static str, status: StatusCode) -> RequestLabels {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        RequestLabels { method, route, status: status.as_u16() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    job: &'static str,
    outcome: &'static str,
}

/// What kind of endpoint a path is, once the request was led to what it is for: a handful of words.
pub(crate) fn route_of(path: &str, ways: &Ways) -> &'static str {
    if let Some(below) = ways.below_context(path) {
        return artifactory_route_of(below);
    }
    match path {
        "/v2" | "/v2/" | "/_ping" => return "ping",
        "/healthz" | "/readyz" | "/metrics" => return "probe",
        _ if path.starts_with("/api/supercargo/") => return "admin",
        _ => {}
    }
    if let Some(below) = path.strip_prefix("/v1/") {
        return v1_route_of(below.strip_suffix('/').unwrap_or(below));
    }
    // Names hold slashes, so what an endpoint is stands at the end of its path.
    if path.contains("/blobs/uploads/") {
        "upload"
    } else if path.contains("/manifests/") {
        "manifest"
    } else if path.contains("/blobs/") {
        "blob"
    } else if path.ends_with("/tags/list") {
        "tags"
    } else if path.contains("/referrers/") {
        "referrers"
    } else if path.ends_with("/_catalog") {
        "catalog"
    } else {
        "other"
    }
}

/// The same for what is below the context.
fn artifactory_route_of(below: &str) -> &'static str {
    let Some(api) = below.strip_prefix("/api/") else { return "artifact" };
    match api.split('/').next().unwrap_or_default() {
        "storage" => "storage",
        "metadata" => "metadata",
        "search" => "search",
        "repositories" => "repositories",
        "security" => "security",
        "system" => "system",
        // The protocols have gone their way by now.
        "docker" => "docker",
        _ => "other",
    }
}

/// The same for what is below `/v1/`.
fn v1_route_of(below: &str) -> &'static str {
    match below {
        "_ping" => return "ping",
        "search" => return "search",
        _ => {}
    }
    let (noun, rest) = below.split_once('/').unwrap_or((below, ""));
    let end = rest.rsplit('/').next().unwrap_or_default();
    match (noun, end) {
        ("users", _) => "users",
        ("images", "json") => "image",
        ("images", "layer") => "layer",
        ("images", "checksum") => "checksum",
        ("images", "ancestry") => "ancestry",
        ("images", "files") => "files",
        ("repositories", _) if rest.contains("/tags") => "tags",
        ("repositories", _) => "repository",
        _ => "other",
    }
}

/// All metrics of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    prometheus: Prometheus,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
    received: Counter,
    sent: Counter,
    connections: Gauge,
}

impl Metrics {
    /// Nothing counted yet, over a registry and its jobs.
    pub(crate) fn new(registry: &Arc<Registry>, jobs: &[Arc<JobState>]) -> Metrics {
        let mut prometheus = Prometheus::with_prefix("supercargo");
        let requests = Family::default();
        let seconds = Family::new_with_constructor(seconds_histogram as fn() -> Histogram);
        let (received, sent, connections) = (Counter::default(), Counter::default(), Gauge::default());
        prometheus.register("http_requests", "Requests answered", requests.clone());
        prometheus.register_with_unit(
            "http_request_duration",
            "Time from a request's head to the last byte of its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        prometheus.register_with_unit(
            "http_received",
            "Bytes of request bodies",
            Unit::Bytes,
            received.clone(),
        );
        prometheus.register_with_unit("http_sent", "Bytes of answers' bodies", Unit::Bytes, sent.clone());
        prometheus.register("http_connections", "Open connections", connections.clone());
        prometheus.register_collector(Box::new(OfRegistry { registry: Arc::clone(registry) }));
        prometheus.register_collector(Box::new(OfJobs { jobs: jobs.to_vec() }));
        Metrics { prometheus, requests, seconds, received, sent, connections }
    }

    /// The page that Prometheus reads.
    ///
    /// # Errors
    /// Where a collector fails.
    pub(crate) fn render(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.prometheus)?;
        Ok(page)
    }

    /// A request is answered.
    pub(crate) fn answered(&self, labels: &RequestLabels, sent: u64, took: Duration) {
        self.requests.get_or_create(labels).inc();
        self.seconds.get_or_create(&RouteLabels { route: labels.route }).observe(took.as_secs_f64());
        self.sent.inc_by(sent);
    }

    /// Counts a connection for as long as what it returns lives.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// A request's body, counted as it is read.
    pub(crate) fn counted(&self, body: Incoming) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Counted { body, received: self.received.clone() })
    }
}

fn seconds_histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0])
}

/// See [`Metrics::connection`].
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// See [`Metrics::counted`].
struct Counted {
    body: Incoming,
    received: Counter,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.received.inc_by(data.len() as u64);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the registry knows of itself.
#[derive(Debug)]
struct OfRegistry {
    registry: Arc<Registry>,
}

impl Collector for OfRegistry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = self.registry.stats();
        // What can't be read now is left out of the page rather than shown as 0.
        if let Ok(size) = self.registry.log().size() {
            gauge(&mut encoder, "log_size", "Records in the log", None, size)?;
            // One commit holds both, so they can't differ; said because people ask.
            gauge(&mut encoder, "projections_position", "Records folded into the tables", None, size)?;
        }
        if let Ok(orphans) = self.registry.orphans(ORPHANS_COUNTED_MAX) {
            let help = "Contents and blobs that wait to be collected (counted up to 100000)";
            gauge(&mut encoder, "orphans", help, None, orphans)?;
        }
        let (hits, misses) = self.registry.hot_hits_and_misses();
        for (name, help, value) in [
            ("log_records", "Records appended since the start", stats.records.load(Relaxed)),
            ("commands_refused", "Commands refused", stats.refused.load(Relaxed)),
            ("commit_failures", "Groups of commands that did not commit", stats.failed_groups.load(Relaxed)),
            ("collected_blobs", "Blobs whose bytes were collected", stats.collected_blobs.load(Relaxed)),
            ("pruned_folders", "Empty folders pruned", stats.pruned_folders.load(Relaxed)),
            ("scrubbed_blobs", "Blobs that a scrub read", stats.scrubbed_blobs.load(Relaxed)),
            ("rotten_blobs", "Blobs that a scrub found rotten", stats.rotten_blobs.load(Relaxed)),
            ("cache_hits", "Manifests and listings found in memory", hits),
            ("cache_misses", "Manifests and listings read from the tables", misses),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let freed = ConstCounter::new(stats.collected_bytes.load(Relaxed));
        let help = "Bytes freed by collections";
        freed.encode(encoder.encode_descriptor(
            "collected",
            help,
            Some(&Unit::Bytes),
            freed.metric_type(),
        )?)?;
        let queued = self.registry.queued_commands() as u64;
        gauge(&mut encoder, "commands_queued", "Commands that wait for the writer", None, queued)?;
        gauge(&mut encoder, "leases", "Leases held", None, self.registry.leases_held() as u64)?;
        let help = "Time from the begin of a group's transaction to its commit";
        histogram(&mut encoder, "commit_duration", help, Some(&Unit::Seconds), stats.commit_seconds.read())?;
        let help = "Commands that shared a commit";
        histogram(&mut encoder, "commit_group_commands", help, None, stats.group_commands.read())
    }
}

/// What became of the jobs' runs.
#[derive(Debug)]
struct OfJobs {
    jobs: Vec<Arc<JobState>>,
}

impl Collector for OfJobs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Runs of a job by what became of them; passed_over: a tick while one was still under way";
        let mut runs = encoder.encode_descriptor("job_runs", help, None, MetricType::Counter)?;
        for job in &self.jobs {
            let failed = job.failures();
            for (outcome, count) in [
                ("succeeded", job.runs().saturating_sub(failed)),
                ("failed", failed),
                ("passed_over", job.passed_over()),
            ] {
                let labels = OutcomeLabels { job: job.name, outcome };
                ConstCounter::new(count).encode(runs.encode_family(&labels)?)?;
            }
        }
        let mut running = encoder.encode_descriptor(
            "job_running",
            "Whether a run is under way",
            None,
            MetricType::Gauge,
        )?;
        for job in &self.jobs {
            ConstGauge::new(i64::from(job.running()))
                .encode(running.encode_family(&JobLabels { job: job.name })?)?;
        }
        let help = "How long the last run took";
        let mut took =
            encoder.encode_descriptor("job_last_run", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for job in &self.jobs {
            let seconds = job.last_took().as_secs_f64();
            ConstGauge::new(seconds).encode(took.encode_family(&JobLabels { job: job.name })?)?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    (buckets, sum): (Vec<(f64, u64)>, f64),
) -> Result<(), std::fmt::Error> {
    let count = buckets.iter().map(|(_, count)| count).sum();
    let mut histogram = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    histogram.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn routes_are_told_from_the_end_of_their_paths() {
        let ways = Config::default().ways();
        for (path, route) in [
            ("/artifactory/api/storage/r/a", "storage"),
            ("/artifactory/api/docker/r/v2/promote", "docker"),
            ("/artifactory/api/x", "other"),
            ("/artifactory/r/a/b/manifests/manifest.json", "artifact"),
            ("/artifactory", "artifact"),
            ("/artifactoryx/v2/", "other"),
            ("/v2/", "ping"),
            ("/v2/_catalog", "catalog"),
            ("/v2/a/b/manifests/latest", "manifest"),
            ("/v2/a/blobs/sha256:00", "blob"),
            ("/v2/a/blobs/uploads/", "upload"),
            ("/v2/a/blobs/uploads/0-1", "upload"),
            ("/v2/a/tags/list", "tags"),
            ("/v2/a/referrers/sha256:00", "referrers"),
            ("/_ping", "ping"),
            ("/v1/_ping", "ping"),
            ("/v1/search", "search"),
            ("/v1/users/", "users"),
            ("/v1/images/0f/json", "image"),
            ("/v1/images/0f/layer", "layer"),
            ("/v1/images/0f/checksum", "checksum"),
            ("/v1/images/0f/ancestry/", "ancestry"),
            ("/v1/images/0f/files", "files"),
            ("/v1/images/0f/else", "other"),
            ("/v1/repositories/a/b/", "repository"),
            ("/v1/repositories/a/b/images", "repository"),
            ("/v1/repositories/a/b/tags/latest", "tags"),
            ("/v1/", "other"),
            ("/api/supercargo/v1/log", "admin"),
            ("/artifactory/api/system/ping", "system"),
            ("/artifactory/docker-local/v2/tags/list", "artifact"),
            ("/metrics", "probe"),
            ("/", "other"),
        ] {
            assert_eq!(route_of(path, &ways), route, "{path}");
        }
    }
}
