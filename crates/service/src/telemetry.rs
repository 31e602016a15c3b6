//! Logs and spans.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::str::FromStr;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::log_writer::{EscapedStderr, escaped_fields};

const TRACEPARENT: &str = "traceparent";

/// Settings of logs and spans.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The format of log lines.
    pub format: Format,
    /// An OTLP endpoint (HTTP).
    pub otlp_endpoint: Option<String>,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// For machines: one object a line.
    Json,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            _ => Err("must be auto, pretty or json"),
        }
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The exporter of spans.
    #[error("spans cannot be exported: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Set up before.
    #[error("logging was set up before: {0}")]
    Logging(#[from] tracing_subscriber::util::TryInitError),
}

/// Flushes spans on shutdown; keep it until then.
#[derive(Debug)]
pub struct Telemetry(SdkTracerProvider);

impl Telemetry {
    /// Sets up logs on standard error (filter `RUST_LOG`, by default `info`) and spans.
    ///
    /// # Errors
    /// The OTLP endpoint is no URL, or this was called before.
    pub fn init(service: &'static str, settings: &Settings) -> Result<Self, TelemetryError> {
        let mut provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_service_name(service).build());
        if let Some(endpoint) = &settings.otlp_endpoint {
            let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
            let exporter =
                opentelemetry_otlp::SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
            provider = provider.with_batch_exporter(exporter);
        }
        let provider = provider.build();
        // RUST_LOG filters only log lines, not spans.
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer(service));
        let spans = spans.with_filter(Targets::new().with_target("wpclone", LevelFilter::INFO));
        let pretty = match settings.format {
            Format::Auto => std::io::stderr().is_terminal(),
            format => format == Format::Pretty,
        };
        let lines = tracing_subscriber::fmt::layer().with_writer(EscapedStderr);
        let lines = if pretty {
            lines.compact().fmt_fields(escaped_fields()).boxed()
        } else {
            lines.json().flatten_event(true).with_current_span(false).boxed()
        };
        let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::registry().with(spans).with(lines.with_filter(wanted)).try_init()?;
        Ok(Self(provider))
    }

    /// Sends the remaining spans. Takes a few seconds at most.
    pub async fn shutdown(self) {
        let _ = tokio::task::spawn_blocking(move || self.0.shutdown()).await;
    }
}

/// The W3C trace context of a span, for another program; `None` when spans are off.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes a span part of the trace of a `traceparent`. An invalid one is ignored.
pub fn continue_trace(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent else { return };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    if context.span().span_context().is_valid() {
        let _ = span.set_parent(context);
    }
}

/// The trace id of a span as 32 hex digits, for logs and answers.
#[must_use]
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let id = context.span().span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then(|| id.to_string())
}
