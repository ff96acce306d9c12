//! The built programs, run as anybody runs them: as processes, with their output read and every wait bounded.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest any one command may take. Generous: it bounds a hang, it measures nothing.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A program of this workspace, beside the test that asks.
///
/// # Panics
/// It is not built.
pub fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test runs from a file");
    let dir = test.parent().expect("a file is in a directory");
    let dir =
        if dir.ends_with("deps") { dir.parent().expect("deps is in the profile's directory") } else { dir };
    let path = dir.join(name);
    assert!(
        path.exists(),
        "{} is not built; run `cargo build -p isoledger -p isoverify` first, with --release for a release test",
        path.display()
    );
    path
}

/// A command of a program, without what the surroundings might say to it.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(path(name));
    for variable in ["ISOLEDGER_CONFIG", "RUST_LOG", "RUST_BACKTRACE"] {
        command.env_remove(variable);
    }
    command
}

/// A command that ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Its standard output as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Itself, once its code is this one.
    ///
    /// # Panics
    /// The code is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Done {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// A process that is killed, by its own number, and reaped when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    out: Reader,
    err: Reader,
}

impl Process {
    /// Starts a command with nothing to read from.
    pub fn start(command: &mut Command) -> Process {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
        let out = Reader::start(child.stdout.take().expect("stdout is piped"));
        let err = Reader::start(child.stderr.take().expect("stderr is piped"));
        Process { child, out, err }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output so far.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_some()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        // The standard library sends SIGKILL only; every shell has a kill.
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.pid().to_string()]).status();
        assert!(sent.expect("there is a shell").success());
    }

    /// Sends SIGKILL, which no program can prepare for, and reaps it.
    pub fn kill(mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end within `limit`; it is then killed.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Done {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return self.done(status);
            }
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                panic!(
                    "a command did not end within {limit:?}; so far:\n{}\n{}",
                    self.out.text(),
                    self.err.text()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn done(&mut self, status: ExitStatus) -> Done {
        Done { code: status.code(), out: self.out.finish(), err: self.err.finish() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipe, read on a thread so that a process never waits for its reader.
#[derive(Debug)]
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(mut pipe: impl Read + Send + 'static) -> Reader {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(n @ 1..) = pipe.read(&mut chunk) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..n]);
            }
        });
        Reader { bytes, thread: Some(thread) }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    // The process has ended, so the pipe has an end too.
    fn finish(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.text()
    }
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Done {
    Process::start(command).wait(LIMIT)
}

/// A running `isoledger serve`.
#[derive(Debug)]
pub struct Service {
    process: Process,
    /// Host and port it serves on.
    pub address: String,
}

impl Service {
    /// Starts a service and waits until it says where it serves.
    ///
    /// # Errors
    /// It ended before that; how is returned.
    pub fn start(command: &mut Command) -> Result<Service, Done> {
        let mut process = Process::start(command);
        let deadline = Instant::now() + LIMIT;
        loop {
            let ended = process.has_ended();
            let out = process.out();
            // As words or, with --json, as an object.
            let said = out.lines().find_map(|l| {
                let (_, rest) = l.split_once("http://").filter(|(before, _)| before.contains("serving"))?;
                Some(rest.split(['"', ' ']).next()?.to_owned())
            });
            match said {
                Some(address) if out.contains('\n') => return Ok(Service { process, address }),
                _ if ended => return Err(process.wait(LIMIT)),
                _ => {}
            }
            assert!(Instant::now() < deadline, "the service does not start: {out}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// The service is gone, or went while it answered.
    pub fn get(&self, path: &str) -> io::Result<Answer> {
        request(&self.address, "GET", path)
    }

    /// Asks for a poll and waits until it is recorded.
    ///
    /// # Errors
    /// As [`Service::get`].
    pub fn try_poll(&self) -> io::Result<Answer> {
        request(&self.address, "POST", "/v1/polls")
    }

    /// Asks for a poll and gives what it found.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn poll(&self) -> Value {
        let answer = self.try_poll().expect("the service answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The row of a network, as the service shows it.
    ///
    /// # Panics
    /// The service does not show it.
    #[track_caller]
    pub fn network(&self, name: &str) -> Value {
        let answer = self.get(&format!("/v1/networks/{name}")).expect("the service answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Tells it to stop and waits until it has.
    #[track_caller]
    pub fn stop(self) -> Done {
        self.process.terminate();
        self.process.wait(LIMIT)
    }

    /// Ends it with SIGKILL.
    pub fn kill(self) {
        self.process.kill();
    }
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// One request over a connection of its own. An answer is given only when all of it came: what is half said is not
/// acknowledged.
///
/// # Errors
/// Nobody listens, or the answer broke off or took longer than [`LIMIT`].
pub fn request(address: &str, method: &str, path: &str) -> io::Result<Answer> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(|| broken("no end of the head"))?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| broken("no status"))?;
    let length: usize = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length:"))
        .and_then(|n| n.trim().parse().ok())
        .ok_or_else(|| broken("no length"))?;
    let body = bytes[end + 4..].to_vec();
    if body.len() != length {
        return Err(broken("the answer broke off"));
    }
    Ok(Answer { status, body })
}
