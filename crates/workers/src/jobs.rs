//! The jobs, each with its own state: a tick while a run is still under way is counted and passed over, so
//! runs never overlap and never pile up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use supercargo_registry::{Caller, Collected, Error, Registry, ScrubOptions};
use tokio::sync::watch;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::Schedule;

/// When the jobs run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Collection of orphans, and expiry of upload sessions (`gc.schedule`).
    pub gc: Schedule,
    /// Pruning of empty folders (`prune.schedule`).
    pub prune: Schedule,
    /// Sweep of files that no record mentions (`sweep.schedule`). It also runs once after each start.
    pub sweep: Schedule,
    /// Scrub of stored blobs (`scrub.schedule`).
    pub scrub: Schedule,
    /// How fast a scrub reads, in bytes per second; `None` as fast as it can (`scrub.rate`).
    pub scrub_rate: Option<u64>,
}

/// Why the workers can't start.
#[derive(Debug, thiserror::Error)]
#[error("the scheduler: {0}")]
pub struct WorkersError(#[from] JobSchedulerError);

/// What became of a job's runs.
#[derive(Debug)]
pub struct JobState {
    /// The job's name.
    pub name: &'static str,
    running: AtomicBool,
    runs: AtomicU64,
    failures: AtomicU64,
    passed_over: AtomicU64,
    last_micros: AtomicU64,
}

impl JobState {
    fn new(name: &'static str) -> Arc<JobState> {
        Arc::new(JobState {
            name,
            running: AtomicBool::new(false),
            runs: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            passed_over: AtomicU64::new(0),
            last_micros: AtomicU64::new(0),
        })
    }

    /// Whether a run is under way.
    pub fn running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// Runs that ended.
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Runs that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Ticks that came while a run was under way.
    pub fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    /// How long the last run took.
    pub fn last_took(&self) -> Duration {
        Duration::from_micros(self.last_micros.load(Ordering::Relaxed))
    }
}

type Work = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> + Send + Sync>;

/// The workers of a server.
pub struct Workers {
    scheduler: JobScheduler,
    states: Vec<Arc<JobState>>,
    stopping: watch::Sender<bool>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("states", &self.states).finish_non_exhaustive()
    }
}

impl Workers {
    /// Starts the schedule, and a sweep of what the last end may have left behind.
    ///
    /// # Errors
    /// [`WorkersError`] where the scheduler can't start.
    pub async fn start(registry: &Arc<Registry>, settings: &Settings) -> Result<Workers, WorkersError> {
        let scheduler = JobScheduler::new().await?;
        let stopping = watch::Sender::new(false);
        let mut workers = Workers { scheduler, states: Vec::new(), stopping };
        let rate = settings.scrub_rate;
        workers
            .add("gc", &settings.gc, work(registry, |registry| async move { collect(&registry).await }))
            .await?;
        workers
            .add("prune", &settings.prune, work(registry, |registry| async move { prune(&registry).await }))
            .await?;
        let sweep_work = work(registry, |registry| async move { sweep(&registry).await });
        let sweep_state = workers.add("sweep", &settings.sweep, Arc::clone(&sweep_work)).await?;
        workers
            .add(
                "scrub",
                &settings.scrub,
                work(registry, move |registry| async move { scrub(&registry, rate).await }),
            )
            .await?;
        workers.scheduler.start().await?;
        tokio::spawn(run(sweep_state, sweep_work, workers.stopping.subscribe()));
        Ok(workers)
    }

    async fn add(
        &mut self,
        name: &'static str,
        schedule: &Schedule,
        work: Work,
    ) -> Result<Arc<JobState>, WorkersError> {
        let state = JobState::new(name);
        self.states.push(Arc::clone(&state));
        let stopping = self.stopping.clone();
        let ticked = Arc::clone(&state);
        let tick = move |_, _| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(run(Arc::clone(&ticked), Arc::clone(&work), stopping.subscribe()))
        };
        let job = match schedule {
            Schedule::Never => return Ok(state),
            Schedule::Every(interval) => Job::new_repeated_async(*interval, tick)?,
            Schedule::Cron(cron) => Job::new_async(cron.as_str(), tick)?,
        };
        self.scheduler.add(job).await?;
        Ok(state)
    }

    /// What became of each job's runs.
    pub fn states(&self) -> &[Arc<JobState>] {
        &self.states
    }

    /// Ends the schedule, and runs that are under way at their next step: what they leave is found by the
    /// next run.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        if let Err(e) = self.scheduler.shutdown().await {
            tracing::warn!(error = %e, "the scheduler did not shut down");
        }
    }
}

fn work<F, W>(registry: &Arc<Registry>, job: F) -> Work
where
    F: Fn(Arc<Registry>) -> W + Send + Sync + 'static,
    W: Future<Output = Result<(), Error>> + Send + 'static,
{
    let registry = Arc::clone(registry);
    Arc::new(move || Box::pin(job(Arc::clone(&registry))))
}

/// One run, unless one is under way.
async fn run(state: Arc<JobState>, work: Work, mut stopping: watch::Receiver<bool>) {
    if state.running.swap(true, Ordering::AcqRel) {
        state.passed_over.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(job = state.name, "still running; this tick is passed over");
        return;
    }
    let began = Instant::now();
    // Every await of a job is a boundary that it may be left at.
    let ended = tokio::select! {
        ended = work() => Some(ended),
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    state
        .last_micros
        .store(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            state.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(job = state.name, error = %error, "a job failed; it is tried again at its next time");
        }
        None => tracing::debug!(job = state.name, "left off; the next start goes on"),
    }
    state.runs.fetch_add(1, Ordering::Relaxed);
    state.running.store(false, Ordering::Release);
}

fn caller() -> Caller {
    Caller::system(supercargo_registry::Api::Worker)
}

async fn collect(registry: &Registry) -> Result<(), Error> {
    let (mut contents, mut blobs, mut bytes) = (0, 0, 0);
    let count = |step: Collected| {
        contents += step.contents_count();
        blobs += step.blobs.len();
        bytes += step.bytes();
    };
    registry.collect(&caller(), None, count).await?;
    let swept = registry.sweep_sessions().await?;
    if contents > 0 || blobs > 0 || swept.sessions > 0 {
        tracing::info!(contents, blobs, bytes, sessions = swept.sessions, "collected");
    }
    Ok(())
}

async fn prune(registry: &Registry) -> Result<(), Error> {
    let folders = registry.prune(&caller()).await?;
    if !folders.is_empty() {
        tracing::info!(folders = folders.len(), "pruned empty folders");
    }
    Ok(())
}

async fn sweep(registry: &Registry) -> Result<(), Error> {
    let swept = registry.sweep().await?;
    if swept.files + swept.sessions > 0 {
        tracing::info!(files = swept.files, sessions = swept.sessions, "swept what no record mentions");
    }
    Ok(())
}

async fn scrub(registry: &Registry, rate: Option<u64>) -> Result<(), Error> {
    let options = ScrubOptions { bytes_per_second: rate, after: None };
    let scrubbed = registry.scrub(&caller(), options, |_| {}).await?;
    tracing::info!(
        blobs = scrubbed.blobs,
        bytes = scrubbed.bytes,
        rotten = scrubbed.rotten.len(),
        "scrubbed"
    );
    Ok(())
}
