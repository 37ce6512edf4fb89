//! Whole files, in both formats: what they become, and what is said about those that cannot be used.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::{
    Backend, HaSettings, MarathonAuth, MarathonSettings, S3Credentials, S3Settings, TlsSettings,
};

const SANDBOX: &str = "/mnt/mesos/sandbox";

fn parse_in(
    text: &str,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<RunSettings, Vec<String>> {
    let name = SnapshotPath::from("c".to_owned());
    parse(&name, Path::new("/etc/dcos"), text, environment, overrides)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn nothing() -> Environment {
    Environment::fixed([])
}

fn good(text: &str) -> RunSettings {
    parse_in(text, &nothing(), &Overrides::default()).unwrap()
}

fn faults(text: &str) -> Vec<String> {
    parse_in(text, &nothing(), &Overrides::default()).map(|_| ()).unwrap_err()
}

/// The only fault.
fn fault(text: &str) -> String {
    let mut faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.remove(0)
}

/// The only fault of a file with a good storage on its first line.
fn fault_of(lines: &str) -> String {
    fault(&format!("storage: {{local: {{path: /s}}}}\n{lines}"))
}

fn under_mesos() -> Environment {
    Environment::fixed([
        ("MESOS_SANDBOX", SANDBOX),
        ("HOST", "agent-7.example"),
        ("PORT0", "31005"),
        ("MARATHON_APP_ID", "/dcos-registry"),
    ])
}

fn options(text: &str) -> RunSettings {
    parse_in(text, &under_mesos(), &Overrides::default()).unwrap()
}

fn options_fault(text: &str) -> String {
    let faults = parse_in(text, &under_mesos(), &Overrides::default()).map(|_| ()).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.into_iter().next().unwrap()
}

fn s3(settings: RunSettings) -> S3Settings {
    let Backend::S3(s3) = settings.storage.backend else { panic!() };
    s3
}

fn local(path: &str) -> Backend {
    Backend::Local { path: path.into() }
}

// Our own format.

#[test]
fn the_least_is_a_storage() {
    let settings = good("storage: {local: {path: data}}");
    assert_eq!(settings.storage.backend, local("/etc/dcos/data"));
    assert_eq!(settings.storage.spool, Path::new("/etc/dcos/data/spool"));
    assert!(!settings.storage.unsafe_single_writer);
    assert_eq!(settings.name.as_str(), "/dcos-registry");
    assert_eq!(settings.listen, "127.0.0.1:5080".parse().unwrap());
    assert_eq!(settings.public_url(), "http://127.0.0.1:5080");
    assert_eq!(settings.ha, HaSettings::default());
    assert!(settings.marathon.is_none() && settings.sources.is_empty() && settings.tokens.is_none());
    assert_eq!(settings.warnings, []);
}

#[test]
fn everything_can_be_said() {
    let settings = good(
        "name: /tools/dcos-registry\naliases: [registry, /old/registry]\nlisten: 0.0.0.0:8443\n\
         tls: {certificate: tls.pem, key: /keys/tls.key}\nauth: {tokens: {file: tokens}}\n\
         storage:\n  s3: {bucket: b, path: /p/, endpoint: 'http://minio:9000', region: r, pathStyle: false, \
         credentials: {file: keys, profile: p1}, ca: ca.pem}\n  unsafeSingleWriter: true\n  spool: /spool\n\
         marathon: {url: 'http://marathon.mesos:8080/', ca: ca.pem}\n\
         sources:\n- name: platform\n  directory: {path: manifests}\n  interval: 5s\n  prune: true\n  \
         allowEmpty: true\n  limits: {maxDeletions: 3, maxDeletionsPercent: 50}\n  allow: {appIds: [/platform/]}\n\
         - {name: other, directory: /o}\nha: {ttl: 1.2s}\n",
    );
    assert_eq!(
        settings.aliases.iter().map(crate::model::AppId::as_str).collect::<Vec<_>>(),
        ["/registry", "/old/registry"]
    );
    assert_eq!(settings.public_url(), "https://toolsdcos-registry.marathon.l4lb.thisdcos.directory");
    let tls = TlsSettings { certificate: "/etc/dcos/tls.pem".into(), key: "/keys/tls.key".into() };
    assert_eq!(settings.tls, Some(tls));
    assert_eq!(settings.tokens, Some(PathBuf::from("/etc/dcos/tokens")));
    assert_eq!(
        (&*settings.storage.spool, settings.storage.unsafe_single_writer),
        (Path::new("/spool"), true)
    );
    let marathon = settings.marathon.clone().unwrap();
    let urls = vec!["http://marathon.mesos:8080".to_owned()];
    let expected = MarathonSettings {
        urls,
        admin_router: None,
        ca: Some("/etc/dcos/ca.pem".into()),
        auth: MarathonAuth::None,
    };
    assert_eq!(marathon, expected);
    let [platform, other] = &settings.sources[..] else { panic!() };
    assert_eq!(
        (&*platform.directory, platform.interval),
        (Path::new("/etc/dcos/manifests"), Duration::from_secs(5))
    );
    let limits = &platform.limits;
    assert!(limits.prune && limits.allow_empty);
    assert_eq!((limits.max_deletions, limits.max_deletions_percent), (3, 50));
    assert_eq!(limits.allow_app_ids, ["/platform/"]);
    assert_eq!(other.limits, crate::controller::guard::Limits::default());
    assert_eq!(settings.ha.deadline, Duration::from_millis(800));
    let expected = S3Settings {
        bucket: "b".into(),
        path: "p".into(),
        endpoint: Some("http://minio:9000".into()),
        region: "r".into(),
        path_style: false,
        credentials: S3Credentials::File { path: "/etc/dcos/keys".into(), profile: "p1".into() },
        ca: Some("/etc/dcos/ca.pem".into()),
        allow_http: true,
    };
    assert_eq!(s3(settings), expected);
}

#[test]
fn json_is_read_as_yaml_is() {
    let settings =
        good("{\n\t\"storage\": {\"local\": {\"path\": \"/s\"}},\n\t\"ha\": {\"ttl\": \"24s\"}\n}");
    assert_eq!((settings.storage.backend, settings.ha.renew), (local("/s"), Duration::from_secs(8)));
}

#[test]
fn keys_of_a_bucket_come_from_where_it_says() {
    let of = |credentials: &str| {
        s3(good(&format!("storage: {{s3: {{bucket: b, credentials: {credentials}}}}}"))).credentials
    };
    assert_eq!(of("environment"), S3Credentials::Environment);
    assert_eq!(of("instanceRole"), S3Credentials::InstanceRole);
    let file = S3Credentials::File { path: "/k".into(), profile: "default".into() };
    assert_eq!(of("{file: /k}"), file);
    let text = fault("storage: {s3: {bucket: b, credentials: AKIAHUNTER2}}");
    assert!(!text.contains("HUNTER2") && text.contains("instanceRole"), "{text}");
}

#[test]
fn any_value_may_stand_in_a_file_or_in_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bucket"), "my-bucket\n").unwrap();
    let text = "storage:\n  s3: {bucket: {file: bucket}, pathStyle: {env: STYLE}, credentials: {file: {env: KEYS}}}\n\
                aliases: [{env: ALIAS}]\nha: {ttl: {env: TTL}}\nauth: {tokens: {file: {env: TOKENS}}}\n";
    let environment = Environment::fixed([
        ("STYLE", "true"),
        ("KEYS", "/keys"),
        ("ALIAS", "registry"),
        ("TTL", "24s"),
        ("TOKENS", "/tokens"),
    ]);
    let name = SnapshotPath::from("c".to_owned());
    let settings = parse(&name, folder.path(), text, &environment, &Overrides::default()).unwrap();
    assert_eq!((settings.aliases[0].as_str(), settings.ha.deadline), ("/registry", Duration::from_secs(16)));
    assert_eq!(settings.tokens, Some("/tokens".into()));
    let s3 = s3(settings);
    assert_eq!((&*s3.bucket, s3.path_style), ("my-bucket", true));
    assert_eq!(s3.credentials, S3Credentials::File { path: "/keys".into(), profile: "default".into() });
}

#[test]
fn a_value_that_is_not_there_is_one_fault() {
    let text = fault("storage:\n  local: {path: {env: NOWHERE}}");
    assert_eq!(
        text,
        "c:2: storage.local.path: the environment variable NOWHERE is not set (set it, or write the value)"
    );
    let text = fault("storage:\n  local: {path: {file: nowhere}}");
    assert!(text.starts_with("c:2: storage.local.path: cannot read /etc/dcos/nowhere: "), "{text}");
}

#[test]
fn all_faults_come_together_with_their_places() {
    let text = "nmae: x\nlisten: here\nallowPlain: 5\nstorage:\n  s3: {buket: b, endpoint: s3.example.com}\n\
                marathon: {url: 'ftp://m', auth: {basic: x}}\n\
                sources:\n- {name: P, git: {url: x}, interval: 5, limits: {maxDeletionsPercent: 101}}\n\
                ha: {ttl: soon}\nnotify: []\nspool: /x\n";
    insta::assert_snapshot!(faults(text).join("\n"), @r#"
    c:1: nmae: unknown key (did you mean name?)
    c:2: listen: "here" is not an address with a port (write an IP address and a port, such as 127.0.0.1:5080)
    c:3: allowPlain: expected true or false, found a number (write true or false without quotes)
    c:5: storage.s3.buket: unknown key (did you mean bucket?)
    c:5: storage.s3.endpoint: the URL has no scheme (write https://s3.example.com)
    c:6: marathon.auth.basic: expected a mapping, found text (keys: user, password)
    c:6: marathon.url: is not the URL of an HTTP server (write https://marathon.mesos:8443)
    c:8: sources[0].git: is not supported yet (write directory: /path/to/manifests)
    c:8: sources[0].interval: a duration needs a unit (write 5s)
    c:8: sources[0].limits.maxDeletionsPercent: more than everything (write a number from 0 to 100)
    c:8: sources[0].name: "P" is not a valid source name (one to 128 lower-case letters, digits, '-' and '.', a letter or digit first and last)
    c:9: ha.ttl: not a duration (write a duration such as 90s, 1m30s or 800ms)
    c:10: notify: is not supported yet (remove it)
    c:11: spool: stands at the top (move it below storage:)
    "#);
}

#[test]
fn a_storage_is_exactly_one_place() {
    assert_eq!(
        fault("name: x"),
        "c:1: storage: is missing (write storage: {local: {path: /var/lib/dcos-registry}})"
    );
    assert_eq!(fault("storage: {}"), "c:1: storage: names no back end (write one of local, mountVolume, s3)");
    let both = fault("storage: {local: {path: /a}, mountVolume: {containerPath: b}}");
    assert!(both.contains("local and mountVolume are given"), "{both}");
    let slip = fault("storage: {mountvolume: {containerPath: b}}");
    assert!(slip.ends_with("unknown key (did you mean mountVolume?)"), "{slip}");
    assert!(fault("s3: {bucket: b}\nstorage: {local: {path: /a}}").ends_with("(move it below storage:)"));
}

#[test]
fn nothing_listens_beyond_loopback_without_tls_or_a_word() {
    for open in ["0.0.0.0:80", "'[::]:80'", "10.1.2.3:80"] {
        let text = fault_of(&format!("listen: {open}"));
        assert!(text.starts_with("c:2: listen: ") && text.contains("reachable from outside"), "{text}");
        assert!(text.contains("tls:") && text.contains("allowPlain: true") && text.contains("127.0.0.1"));
        assert_eq!(
            faults(&format!("storage: {{local: {{path: /s}}}}\nallowPlain: false\nlisten: {open}")).len(),
            1
        );
    }
    for fine in ["listen: 0.0.0.0:80\nallowPlain: true", "listen: '[::1]:80'", "listen: 127.0.0.2:80"] {
        good(&format!("storage: {{local: {{path: /s}}}}\n{fine}"));
    }
    let half = fault_of("listen: 0.0.0.0:80\ntls: {certificate: c}");
    assert_eq!(half, "c:3: tls.key: is missing (write key: /path/to/key.pem)");
}

#[test]
fn marathon_may_be_several_urls_and_ask_who_we_are() {
    let marathon = |lines: &str| {
        let text = format!("storage: {{local: {{path: /s}}}}\nmarathon: {lines}");
        let settings = good(&text);
        (settings.marathon.unwrap(), settings.warnings)
    };
    let (two, warnings) = marathon("{url: ['https://m1/', 'https://m2/service/marathon/'], auth: none}");
    assert_eq!(two.urls, ["https://m1", "https://m2/service/marathon"]);
    assert_eq!((two.auth, two.admin_router, warnings.len()), (MarathonAuth::None, None, 0));
    let (routed, _) = marathon("{url: 'https://m', adminRouter: 'https://leader/'}");
    assert_eq!(routed.admin_router.as_deref(), Some("https://leader"));
    let table = [
        (
            "basic: {user: u, password: {file: p}}",
            MarathonAuth::Basic { user: "u".into(), password: "/etc/dcos/p".into() },
        ),
        ("token: {file: /run/token}", MarathonAuth::Token("/run/token".into())),
        ("serviceAccount: {file: sa}", MarathonAuth::ServiceAccount("/etc/dcos/sa".into())),
    ];
    for (auth, expected) in table {
        let (settings, warnings) = marathon(&format!("{{url: 'https://m', auth: {{{auth}}}}}"));
        assert_eq!((settings.auth, warnings.len()), (expected, 0), "{auth}");
    }
    for open in ["url: ['https://m', 'http://n']", "url: 'https://m', adminRouter: 'http://n'"] {
        let (_, warnings) = marathon(&format!("{{{open}, auth: {{token: {{file: t}}}}}}"));
        assert!(warnings[0].to_string().contains("everybody on the way can read it"), "{warnings:?}");
    }
}

#[test]
fn faults_of_marathon_name_their_place_and_no_secret() {
    let table = [
        ("url: []", "c:2: marathon.url: 0 URLs (write 1 to 16, such as https://marathon.mesos:8443)"),
        ("url: [https://m, https://m/]", "c:2: marathon.url[1]: is there twice (leave it out)"),
        (
            "url: https://m, adminRouter: leader.mesos",
            "c:2: marathon.adminRouter: the URL has no scheme (write https://leader.mesos)",
        ),
        ("url: [https://m, m2]", "c:2: marathon.url[1]: the URL has no scheme (write https://m2)"),
        (
            "url: https://m, auth: {token: hunter2}",
            "c:2: marathon.auth.token: comes from a file, which may change while we run (write {file: /path/to/file})",
        ),
        (
            "url: https://m, auth: {basic: {user: u, password: hunter2}}",
            "c:2: marathon.auth.basic.password: comes from a file, which may change while we run (write {file: \
             /path/to/file})",
        ),
        (
            "url: https://m, auth: {basic: {user: 'u:v', password: {file: p}}}",
            "c:2: marathon.auth.basic.user: holds a colon or a control character (write the user's name alone)",
        ),
        (
            "url: https://m, auth: {serviceacount: 5}",
            "c:2: marathon.auth.serviceacount: unknown key (did you mean serviceAccount?)",
        ),
        (
            "url: https://m, auth: {token: {file: t}, serviceAccount: {file: s}}",
            "c:2: marathon.auth: 2 ways to log in, and one is needed (write one of basic: {user: NAME, password: \
             {file: FILE}}, token: {file: FILE} and serviceAccount: {file: FILE})",
        ),
    ];
    for (marathon, expected) in table {
        assert_eq!(fault_of(&format!("marathon: {{{marathon}}}")), expected, "{marathon}");
    }
}

#[test]
fn the_port_comes_from_marathon_and_is_open_only_with_tls_or_a_word() {
    let listen = |lines: &str, overrides: &Overrides| {
        let text = format!("storage: {{local: {{path: /s}}}}\n{lines}");
        let settings = parse_in(&text, &under_mesos(), overrides).unwrap();
        (settings.listen.to_string(), settings.public_url())
    };
    let none = Overrides::default();
    assert_eq!(listen("", &none).0, "127.0.0.1:31005");
    let (address, url) = listen("allowPlain: true", &none);
    assert_eq!(address, "0.0.0.0:31005");
    assert_eq!(url, "http://dcos-registry.marathon.l4lb.thisdcos.directory");
    assert_eq!(listen("tls: {certificate: c, key: k}", &none).0, "0.0.0.0:31005");
    assert_eq!(listen("", &Overrides { allow_plain: true, ..none.clone() }).0, "0.0.0.0:31005");
    let elsewhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    assert_eq!(
        listen("listen: 127.0.0.1:8", &Overrides { listen: Some(elsewhere), ..none.clone() }).0,
        "127.0.0.1:9"
    );
    let certificate = TlsSettings { certificate: "c".into(), key: "k".into() };
    let tls = Overrides { tls: Some(certificate), ..none.clone() };
    let (address, url) = listen("", &tls);
    assert!(address.starts_with("0.0.0.0:") && url.starts_with("https://"), "{address} {url}");
    let open = Overrides { listen: "0.0.0.0:9".parse().ok(), ..none };
    let faults = parse_in("storage: {local: {path: /s}}", &nothing(), &open).unwrap_err();
    assert!(faults[0].starts_with("c: --listen 0.0.0.0:9 is reachable"), "{faults:?}");
}

#[test]
fn the_times_of_the_lease_are_checked_together() {
    let text = fault_of("ha:\n  ttl: 12s\n  renew: 6s\n  marathonWriteTimeout: 1s");
    assert!(text.starts_with("c:2: ha: the deadline of 8s is shorter than renew"), "{text}");
    assert!(text.ends_with("(write at least 10s, or lower renew or leaseCallTimeout)"), "{text}");
    assert_eq!(fault_of("ha: {renew: 4}"), "c:2: ha.renew: a duration needs a unit (write 4s)");
    assert!(fault_of("ha: {renew: 0s}").contains("out of range"));
    assert!(fault_of("ha: {deadline: 12s}").contains("not longer than the deadline"));
    let slow = good("storage: {local: {path: /s}}\nha: {ttl: 35s, deadline: 30s, renew: 5s}");
    assert_eq!(slow.warnings.len(), 1);
    let warning = slow.warnings[0].to_string();
    assert!(warning.starts_with("c:2: ha.ttl: the ttl of 35s is less than 1.4 x the deadline"), "{warning}");
    let tenth = good(
        "storage: {local: {path: /s}}\nha: {ttl: 1.2s, deadline: 800ms, renew: 400ms, poll: 200ms, \
         leaseCallTimeout: 150ms, marathonWriteTimeout: 0.3s, margin: 100ms}",
    );
    assert_eq!(tenth.ha, HaSettings::of_ttl(Duration::from_millis(1200)));
    assert_eq!(tenth.warnings, []);
}

#[test]
fn tokens_stand_in_a_file_of_their_own() {
    for inline in ["hunter2-hunter2-hunter2", "[hunter2-hunter2-hunter2]", "{env: HUNTER2}", "{file: [x]}"] {
        let faults = parse_in(
            &format!("storage: {{local: {{path: /s}}}}\nauth: {{tokens: {inline}}}"),
            &Environment::fixed([("HUNTER2", "hunter2-hunter2")]),
            &Overrides::default(),
        );
        let faults = faults.map(|_| ()).unwrap_err();
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].contains("{file: /path/to/tokens}") && !faults[0].contains("hunter2"),
            "{faults:?}"
        );
    }
}

#[test]
fn sources_need_a_marathon_and_names_of_their_own() {
    assert!(fault_of("sources: [{name: a, directory: /a}]").contains("no Marathon"));
    let twice = fault_of(
        "marathon: {url: 'http://m'}\nsources: [{name: a, directory: /a}, {name: a, directory: /b}]",
    );
    assert!(twice.contains("two sources are called a"), "{twice}");
    let bucket = fault_of("marathon: {url: 'http://m'}\nsources: [{name: a, bucket: {prefix: x}}]");
    assert!(bucket.contains("sources[0].bucket: is not supported yet (write directory: "), "{bucket}");
}

#[test]
fn a_volume_elsewhere_is_no_storage() {
    let text = "storage: {mountVolume: {containerPath: vol, pinnedHostname: AGENT-7.example}}";
    let here = options(text).storage.backend;
    assert_eq!(here.to_string(), "mount volume /mnt/mesos/sandbox/vol on AGENT-7.example");
    let other = options_fault("storage: {mountVolume: {containerPath: vol, pinnedHostname: agent-8}}");
    assert!(other.contains("the volume is on agent-8, and this instance runs on agent-7.example"), "{other}");
    assert!(
        good("storage: {mountVolume: {containerPath: /vol, pinnedHostname: agent-8}}").warnings.is_empty()
    );
}

#[test]
fn what_is_no_single_document_is_refused() {
    assert!(fault("").contains("holds no settings"));
    assert!(fault("storage: {local: {path: /s}}\n---\nname: x").starts_with("c:3: a second document"));
    assert!(fault("[1]").contains("expected a mapping"));
    assert!(fault("storage: {local: {path: /s}\n").contains("syntax error"));
}

#[test]
fn faults_name_the_file_and_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.yaml");
    std::fs::write(&path, "name: x\nstorge: y\n").unwrap();
    let error = load(&path, &nothing(), &Overrides::default()).unwrap_err();
    let expected = format!(
        "{} cannot be used:\n  run.yaml:2: storge: unknown key (did you mean storage?)",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert_eq!(load(&path, &nothing(), &Overrides::default()).unwrap_err().label(), "NotText");
    std::fs::write(&path, vec![b' '; 2 << 20]).unwrap();
    assert_eq!(load(&path, &nothing(), &Overrides::default()).unwrap_err().label(), "TooLarge");
    let missing = load(&folder.path().join("x"), &nothing(), &Overrides::default()).unwrap_err();
    assert_eq!(missing.label(), "Read");
}

// The install options of the documents, in words of our own.

const S3_OPTIONS: &str = r#"{"registry": {"s3": {
  "credential-secret-path": "s3-keys", "credential-profile-name": "ops",
  "bucket": "packages", "path": "cluster-a", "endpoint": "https://s3.us-east-1.amazonaws.com"
}}}"#;

#[test]
fn the_options_for_s3_are_taken_as_they_stand() {
    let s3 = s3(options(S3_OPTIONS));
    assert_eq!(s3.to_string(), "s3://packages/cluster-a at https://s3.us-east-1.amazonaws.com");
    let keys = PathBuf::from(format!("{SANDBOX}/s3-keys"));
    assert_eq!(s3.credentials, S3Credentials::File { path: keys, profile: "ops".into() });
    assert_eq!((&*s3.region, s3.path_style, s3.allow_http), ("us-east-1", false, false));
}

#[test]
fn the_options_for_several_instances_are_taken_as_they_stand() {
    let text = r#"{
        "registry": {
            "s3": {"bucket": "packages", "endpoint": "https://minio.example:9000"},
            "service-account-secret-path": "registry-private-key"
        },
        "service": {"name": "/my/custom/dcos-registry", "mem": 2048, "cpus": 0.5, "disk": 10, "instances": 2}
    }"#;
    let settings = options(text);
    assert_eq!(settings.name.l4lb_host(), "mycustomdcos-registry.marathon.l4lb.thisdcos.directory");
    assert_eq!(settings.service_account, Some(format!("{SANDBOX}/registry-private-key").into()));
    assert_eq!(settings.listen.to_string(), "127.0.0.1:31005");
    let warnings: Vec<String> = settings.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings[0].contains("the service account is not used yet"), "{warnings:?}");
    assert!(warnings[1].contains("only this machine reaches"), "{warnings:?}");
    assert!(s3(settings).path_style);
    let open = Overrides { allow_plain: true, ..Overrides::default() };
    assert_eq!(parse_in(text, &under_mesos(), &open).unwrap().listen.to_string(), "0.0.0.0:31005");
}

#[test]
fn the_options_for_a_mount_volume_are_taken_as_they_stand() {
    let text = r#"{"registry": {"mount-volume": {"container-path": "package-registry", "pinned-hostname": "agent-7.example"}}}"#;
    let path = PathBuf::from(format!("{SANDBOX}/package-registry"));
    let pinned_hostname = Some("agent-7.example".into());
    assert_eq!(options(text).storage.backend, Backend::MountVolume { path, pinned_hostname });
}

#[test]
fn the_options_that_keep_an_old_name_mean_a_local_volume() {
    let text = r#"{
        "service": {"name": "registry"},
        "registry": {"service-account-secret-path": "dcos-registry-secret"}
    }"#;
    let settings = options(text);
    assert_eq!(settings.name.l4lb_host(), "registry.marathon.l4lb.thisdcos.directory");
    assert_eq!(settings.storage.backend, local("/mnt/mesos/sandbox/package-registry"));
    assert_eq!(options("{\"registry\": {}}").storage.backend, settings.storage.backend);
    assert_eq!(options("{\"service\": {\"instances\": 1}}").storage.backend, settings.storage.backend);
}

#[test]
fn mistakes_in_options_are_told_what_to_write() {
    let cases = [
        r#"{"registry": {"s3": {"bucket": "b"},
            "mount-volume": {"container-path": "p", "pinned-hostname": "agent-7.example"}}}"#,
        r#"{"registry": {"s3": {"bucket": "b"},
            "service": {"instances": 2}}}"#,
        r#"{"registry": {"s3": {"bucket": "b", "path": "p",
            "endpoint": ""}}}"#,
        r#"{"registry": {"mount-volume": {"container-path": "package-registry",
            "pinned-hostname": ""}}}"#,
        r#"{"registry": {"s3": {"bucket": "b",
            "endpoint": "s3.example.com"}}}"#,
        r#"{"registry": {"s3": {"bucket": "b",
            "credentialSecretPath": "x"}}}"#,
        r#"{"registry": {
            "mount_volume": {}}, "service": {"instances": 2}}"#,
        r#"{"service": {
            "instances": 3}}"#,
        r#"{"registry": {},
            "storage": {"local": {"path": "/x"}}}"#,
        // A quotation mark that stands alone, as in a sample of the documents.
        "{\"registry\": {\"service-account-secret-path\": \"x\"},\n \"service\": {\"mem\": 1}\n \"\n}",
        // Braces that were lost, as in a printed page.
        "\"registry\": {\n  \"mount-volume\": {\n  \"container-path\": \"p\",\n  \"pinned-hostname\": \"h\"\n",
        "{\n  \"service\": {\n    \"name\": \"registry\"\n  \"registry\": {\n    \"service-account-secret-path\": \"x\"\n  }\n}",
    ];
    insta::assert_snapshot!(cases.map(options_fault).join("\n"), @r#"
    c:2: registry.mount-volume: s3 and mount-volume are both given, and packages lie in one place (remove one of them)
    c:2: registry.service: stands inside registry (close registry before it: service stands beside registry)
    c:2: registry.s3.endpoint: is empty (write the URL of the S3 server, such as https://s3.us-east-1.amazonaws.com, or leave the key out for Amazon S3)
    c:2: registry.mount-volume.pinned-hostname: is empty (write the host name of the agent that has the volume, as `dcos node` shows it)
    c:2: registry.s3.endpoint: the URL has no scheme (write https://s3.example.com)
    c:2: registry.s3.credentialSecretPath: unknown key (did you mean credential-secret-path?)
    c:2: registry.mount_volume: unknown key (did you mean mount-volume?)
    c:2: service.instances: 3 instances cannot share a directory or volume (write 1, or keep packages in S3)
    c:2: storage: stands beside the install options of DC/OS (registry, service), which are a format of their own (write all of the file in one of the two formats)
    c:3: not valid JSON: expected `,` or `}` in column 2 (a quotation mark on this line has no partner; remove it)
    c:1: not valid JSON: trailing characters in column 11 (write { before the first key, and }}} after the last)
    c:4: not valid JSON: expected `,` or `}` in column 3 (a comma or a closing } is missing before this place)
    "#);
}
