//! Users from the htpasswd file of another registry, which Debian's `htpasswd` makes: over the API, on a data folder,
//! and what they can do then.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use supercargo_tests::Server;
use supercargo_tests::http::Request;
use supercargo_tests::program::{require, run};
use supercargo_tests::server::Outcome;

use crate::accounts::{Guarded, PASSWORD, basic};

/// Adds a user to a file, kept as the option of `htpasswd` says.
fn add(file: &Path, option: &str, user: &str, password: &str) {
    let create = if file.exists() { "-b" } else { "-bc" };
    run(require("htpasswd").args([create, option]).arg(file).args([user, password]));
}

/// What a command printed, and how it ended.
fn ended(outcome: &Outcome) -> (Value, Option<i32>) {
    (outcome.json(), outcome.status.code())
}

/// A server with accounts, and a folder for files.
struct Importing {
    guarded: Guarded,
    folder: tempfile::TempDir,
}

impl Importing {
    fn start() -> Importing {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("login"), format!("admin:{PASSWORD}\n")).unwrap();
        Importing { guarded: Guarded::start_with(Server::settings()), folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn import(&self, file: &Path, options: &[&str]) -> Outcome {
        let login = self.file("login");
        let file = ["user", "import", file.to_str().unwrap(), "--login-file", login.to_str().unwrap()];
        self.guarded.server.cli(&[&file, options].concat())
    }

    fn logs_in(&self, user: &str, password: &str) -> bool {
        let status = self.guarded.ask("GET", "/v2/", Some(&basic(user, password))).status;
        assert!(status == 200 || status == 401, "{status}");
        status == 200
    }

    /// The kinds of hashes that a user had, oldest first.
    fn hashes(&self, user: &str) -> Vec<String> {
        let log = self.guarded.admin("GET", "/log?oldest_first=true&limit=1000", "", 200);
        let events = log["records"].as_array().unwrap().iter().map(|record| record["event"].clone());
        let hashes = events.filter_map(|event| {
            let event = event
                .get("UserCreated")
                .or(event.get("PasswordSet"))
                .filter(|of| of["user"] == user)?
                .clone();
            Some(event["password"].as_str()?.split('$').nth(1)?.to_owned())
        });
        hashes.collect()
    }

    /// The whole hash that a user was made with.
    fn first_hash(&self, user: &str) -> String {
        let log = self.guarded.admin("GET", "/log?kind=UserCreated", "", 200);
        let mut events =
            log["records"].as_array().unwrap().iter().map(|record| &record["event"]["UserCreated"]);
        events.find(|event| event["user"] == user).unwrap()["password"].as_str().unwrap().to_owned()
    }
}

#[test]
fn users_come_with_the_passwords_that_they_have() {
    let importing = Importing::start();
    let file = importing.file("htpasswd");
    add(&file, "-B", "ann", "old password");
    for (option, user) in
        [("-m", "md5"), ("-s", "sha1"), ("-d", "des"), ("-p", "plain"), ("-2", "sha256"), ("-5", "sha512")]
    {
        add(&file, option, user, "hunter2");
    }
    add(&file, "-B", "bob", "another old one");
    // A hash of ours, as another Supercargo would have it; and a user who is there.
    let argon2 = importing.first_hash("reader");
    let more = format!("cy:{argon2}\nr\u{e9}my:{argon2}\nwriter:{argon2}\n# nobody\nnothing\n");
    let text = std::fs::read_to_string(&file).unwrap() + &more;
    // As somebody saved it long ago: Latin-1.
    std::fs::write(&file, text.chars().map(|c| c as u8).collect::<Vec<_>>()).unwrap();

    let weak = |line: usize, user: &str, kind: &str| {
        let reason = format!(
            "the password of {user} is kept as {kind}, which is too weak; set it anew with htpasswd -B"
        );
        json!({ "line": line, "reason": reason })
    };
    let (plan, code) = ended(&importing.import(&file, &["--dry-run"]));
    assert_eq!(code, Some(1));
    assert_eq!((&plan["refused"][6]["line"], &plan["refused"][7]["line"]), (&json!(10), &json!(13)));
    let mut expected = json!({
        "dry_run": true,
        "created": ["ann", "bob", "cy"],
        "replaced": [],
        "skipped": ["writer"],
        "refused": [
            weak(2, "md5", "MD5"),
            weak(3, "sha1", "SHA-1"),
            weak(4, "des", "plain text or crypt"),
            weak(5, "plain", "plain text or crypt"),
            weak(6, "sha256", "SHA-crypt"),
            weak(7, "sha512", "SHA-crypt"),
            plan["refused"][6],
            plan["refused"][7],
        ],
    });
    assert_eq!(plan, expected);
    assert!(!plan.to_string().contains("hunter2") && !plan.to_string().contains('$'), "{plan}");
    assert!(!importing.logs_in("ann", "old password"));

    let (report, code) = ended(&importing.import(&file, &[]));
    expected["dry_run"] = json!(false);
    assert_eq!((report, code), (expected, Some(1)));

    // Each with the old password, which is then kept as everybody's.
    assert_eq!(importing.hashes("ann"), ["2y"]);
    assert!(!importing.logs_in("ann", "another old one"));
    for _ in 0..2 {
        assert!(importing.logs_in("ann", "old password"));
        assert_eq!(importing.hashes("ann"), ["2y", "argon2id"]);
    }
    // The administration API keeps it, too, whatever it lets them do.
    let bob = basic("bob", "another old one");
    importing.guarded.ask("GET", "/api/supercargo/v1/users", Some(&bob)).expect(403);
    assert_eq!(importing.hashes("bob"), ["2y", "argon2id"]);
    assert!(importing.logs_in("bob", "another old one"));
    assert!(importing.logs_in("cy", PASSWORD) && importing.logs_in("writer", PASSWORD));
    assert_eq!(importing.hashes("cy"), ["argon2id"]);
    let ann = importing.guarded.admin("GET", "/users/ann", "", 200);
    assert_eq!((&ann["administrator"], &ann["service"]), (&json!(false), &json!(false)));
    importing.guarded.server.stop().verify();
}

#[test]
fn users_that_are_there_stay_unless_they_are_to_be_replaced() {
    let importing = Importing::start();
    let guarded = &importing.guarded;
    guarded.admin("PUT", "/users/robot", r#"{"service":true}"#, 201);
    let file = importing.file("htpasswd");
    add(&file, "-B", "reader", "the file's password");
    add(&file, "-B", "ann", "old password");
    let expected = |dry_run, created: &[&str], replaced: &[&str], skipped: &[&str]| {
        let report = json!({
            "dry_run": dry_run, "created": created, "replaced": replaced, "skipped": skipped, "refused": [],
        });
        (report, Some(0))
    };

    assert_eq!(ended(&importing.import(&file, &[])), expected(false, &["ann"], &[], &["reader"]));
    assert!(importing.logs_in("reader", PASSWORD));
    let records = guarded.server_log_size();
    let both = &["--replace", "--dry-run"];
    assert_eq!(ended(&importing.import(&file, both)), expected(true, &[], &["reader"], &["ann"]));
    assert_eq!(guarded.server_log_size(), records);

    assert_eq!(ended(&importing.import(&file, &["--replace"])), expected(false, &[], &["reader"], &["ann"]));
    assert!(!importing.logs_in("reader", PASSWORD));
    assert!(importing.logs_in("reader", "the file's password"));
    // And what the user may do stays.
    let login = basic("reader", "the file's password");
    guarded.ask("GET", "/v2/team/web/tags/list", Some(&login)).expect(200);

    // A service account has no password, whatever a file says.
    let robot = importing.file("robot");
    add(&robot, "-B", "robot", "old password");
    assert_eq!(ended(&importing.import(&robot, &[])), expected(false, &[], &[], &["robot"]));
    for options in [both as &[&str], &["--replace"]] {
        let (report, code) = ended(&importing.import(&robot, options));
        assert_eq!(code, Some(1));
        assert_eq!(report["refused"][0]["line"], 1, "{report}");
        assert!(report["refused"][0]["reason"].as_str().unwrap().contains("service account"), "{report}");
    }
    assert!(!importing.logs_in("robot", "old password"));

    let outcome = importing.import(&importing.file("nowhere"), &[]);
    assert_eq!(outcome.status.code(), Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("nowhere"), "{outcome:?}");
}

#[test]
fn a_file_is_taken_from_administrators_of_a_server_with_accounts() {
    let import = |query: &str, login: Option<&str>| {
        let request = Request::new("POST", &format!("/api/supercargo/v1/users{query}")).body("a:b\n");
        match login {
            Some(login) => request.header("Authorization", login),
            None => request,
        }
    };
    let admin = basic("admin", PASSWORD);
    let guarded = Guarded::start_with(Server::settings());
    let send = |request: &Request| guarded.server.client().send(request).unwrap();
    let records = guarded.server_log_size();
    send(&import("", None)).expect(401);
    send(&import("", Some(&basic("reader", PASSWORD)))).expect(403);
    for query in ["?dryrun=true", "?replace=perhaps"] {
        send(&import(query, Some(&admin))).expect(400);
    }
    send(&import("", Some(&admin)).header("Origin", "https://page.example")).expect(403);
    let report = send(&import("", Some(&admin))).expect(200).json();
    assert_eq!(report["refused"][0]["line"], 1, "{report}");
    send(&import("", Some(&admin)).body(vec![b'#'; 3 << 20])).expect(400);
    assert_eq!(guarded.server_log_size(), records);

    let open = Server::start();
    open.client().send(&import("", None)).unwrap().expect(409);
}

/// From another registry to this one: the folder first, then accounts.
#[test]
fn users_on_a_data_folder_get_an_administrator_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    add(&at("htpasswd"), "-B", "ann", "old password");
    let import = |file: &Path| ["user", "import", file.to_str().unwrap()].map(str::to_owned);
    let stopped = Server::start().stop();
    let outcome = stopped.cli(&import(&at("htpasswd")).each_ref().map(String::as_str));
    assert_eq!(ended(&outcome).0["created"], json!(["ann"]));

    let with_accounts = stopped.into_settings().argument("--accounts");
    let server = with_accounts.start();
    let asked = |server: &Server, user: &str, password: &str| {
        let request = Request::new("GET", "/v2/").header("Authorization", &basic(user, password));
        server.client().send(&request).unwrap().status
    };
    assert_eq!(asked(&server, "ann", "old password"), 200);
    let stopped = server.stop();
    let admin = stopped.cli(&["user", "show", "admin"]).expect_success().json();
    assert_eq!(admin["administrator"], true);
    stopped.verify();

    // A user who happens to be called so is no administrator by that.
    add(&at("admin"), "-B", "admin", "old password");
    let stopped = Server::start().stop();
    stopped.cli(&import(&at("admin")).each_ref().map(String::as_str)).expect_success();
    let (status, stopped) = stopped.into_settings().argument("--accounts").start_to_fail();
    assert_eq!(status.code(), Some(2));
    assert!(stopped.log().contains("--administrator true"), "{}", stopped.log());
    stopped.cli(&["user", "configure", "admin", "--administrator", "true"]).expect_success();
    let server = stopped.start();
    assert_eq!(asked(&server, "admin", "old password"), 200);
}
