//! Named places where a test may kill the process, to see what a crash there leaves behind.
//!
//! `SUPERCARGO_CRASH_AT=blob.written` kills at the first passage, `blob.written:3` at the third. Builds
//! without debug assertions hold none of it.

/// Dies by SIGKILL where the environment names this point; else does nothing.
#[cfg(debug_assertions)]
pub fn crash_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("SUPERCARGO_CRASH_AT").ok()?;
        Some(match text.rsplit_once(':').and_then(|(name, n)| Some((name.to_owned(), n.parse().ok()?))) {
            Some(plan) => plan,
            None => (text, 1),
        })
    });
    if let Some((at, nth)) = plan
        && at == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    {
        // If the signal could not be sent the test that waits for this death fails, as it should.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Nothing, in this build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn crash_point(_name: &str) {}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// The test runs itself again, with a crash planned.
    #[test]
    fn dies_at_the_passage_that_was_named() {
        const PASSED: &str = "SUPERCARGO_TEST_CRASH_PASSAGES";
        if let Ok(passages) = std::env::var(PASSED) {
            for _ in 0..passages.parse().unwrap() {
                crash_point("here");
                crash_point("there");
            }
            return;
        }
        for (plan, passages, dies) in [
            ("here", 1, true),
            ("here:1", 1, true),
            ("there:3", 3, true),
            ("there:3", 2, false),
            ("elsewhere", 3, false),
            ("", 3, false),
        ] {
            let outcome = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "crash::tests::dies_at_the_passage_that_was_named"])
                .env("SUPERCARGO_CRASH_AT", plan)
                .env(PASSED, passages.to_string())
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(outcome.signal(), dies.then_some(9), "{plan}");
            assert_eq!(outcome.success(), !dies, "{plan}");
        }
    }
}
