//! The last lines of every `--help`: two examples that work as they stand.

pub(crate) const PROXYCTL: &str = "\
Exit codes: 0 done, 1 refused or invalid, 2 wrong usage, 3 daemon not reachable, 4 not permitted

Examples:
  proxyctl status
  proxyctl --url http://127.0.0.1:9900 audit --last 20 --status 5xx";

pub(crate) const STATUS: &str = "\
Examples:
  proxyctl status
  proxyctl status --output json";

pub(crate) const ROUTES: &str = "\
Examples:
  proxyctl routes
  proxyctl routes api --output json";

pub(crate) const EXPLAIN: &str = "\
With --config the question goes to that config instead, and no daemon is needed; --env or --set alone mean ./config.yaml.

Examples:
  proxyctl explain GET http://api.example.com/api/users -H 'x-version: 2' --from 10.1.2.3
  proxyctl explain POST /api/users --config config.yaml --env production";

pub(crate) const RELOAD: &str = "\
Examples:
  proxyctl reload --dry-run
  proxyctl reload --config /etc/proxyd/config.yaml";

pub(crate) const VALIDATE: &str = "\
Examples:
  proxyctl validate
  proxyctl validate /etc/proxyd/config.yaml --env production --check-files";

pub(crate) const CONFIG: &str = "\
Examples:
  proxyctl config show --origin
  proxyctl config schema > proxyd.schema.json";

pub(crate) const CONFIG_SHOW: &str = "\
Examples:
  proxyctl config show --origin
  proxyctl config show --config config.yaml --set server.workers=2";

pub(crate) const CONFIG_SCHEMA: &str = "\
Examples:
  proxyctl config schema
  proxyctl config schema > proxyd.schema.json";

pub(crate) const HISTORY: &str = "\
Examples:
  proxyctl history
  proxyctl history 3 > config-of-generation-3.yaml";

pub(crate) const ROLLBACK: &str = "\
Examples:
  proxyctl rollback 3
  proxyctl rollback 3 --write";

pub(crate) const AUDIT: &str = "\
Examples:
  proxyctl audit --last 20 --since 15m --status 5xx
  proxyctl audit --requests --client 10.0.0.0/8 --output csv > requests.csv";

pub(crate) const AUDIT_TAIL: &str = "\
Examples:
  proxyctl audit tail
  proxyctl audit tail --route users --status 400-599";

pub(crate) const AUDIT_HEAD: &str = "\
Examples:
  proxyctl audit head
  proxyctl audit head --output json";

pub(crate) const AUDIT_VERIFY: &str = "\
Examples:
  proxyctl audit verify
  proxyctl audit verify --path ./data/audit --head 1042:0f1e2d3c4b5a69788796a5b4c3d2e1f0";

pub(crate) const UPSTREAMS: &str = "\
Examples:
  proxyctl upstreams
  proxyctl upstreams users --output json";

pub(crate) const UPSTREAMS_REGISTER: &str = "\
With --ttl the endpoint goes when it was not registered again for that long: an instance repeats this, say,
three times in that time. It stays over restarts of the daemon and is no part of the config.

Examples:
  proxyctl upstreams register users 10.0.0.7:8001 --ttl 30s
  proxyctl upstreams register users http://[::1]:8002 --weight 2 --backup";

pub(crate) const UPSTREAMS_DEREGISTER: &str = "\
Endpoints of the config cannot be deregistered; drain or down takes them out.

Examples:
  proxyctl upstreams deregister users 10.0.0.7:8001
  proxyctl upstreams deregister users http://[::1]:8002";

pub(crate) const UPSTREAMS_DRAIN: &str = "\
Examples:
  proxyctl upstreams drain users 127.0.0.1:8001
  proxyctl upstreams drain users http://[::1]:8002 --output json";

pub(crate) const UPSTREAMS_READY: &str = "\
A weight that was set stays.

Examples:
  proxyctl upstreams ready users 127.0.0.1:8001
  proxyctl upstreams ready users http://[::1]:8002";

pub(crate) const UPSTREAMS_DOWN: &str = "\
Examples:
  proxyctl upstreams down users 127.0.0.1:8001
  proxyctl upstreams down users http://[::1]:8002";

pub(crate) const UPSTREAMS_WEIGHT: &str = "\
The weight stays, whatever the config says, until another is set.

Examples:
  proxyctl upstreams weight users 127.0.0.1:8001 5
  proxyctl upstreams weight users http://[::1]:8002 0";

pub(crate) const LIMITS: &str = "\
Examples:
  proxyctl limits
  proxyctl limits 10.1.2.3 --rule default";

pub(crate) const LIMITS_RESET: &str = "\
Examples:
  proxyctl limits reset 10.1.2.3
  proxyctl limits reset 10.1.2.3 --rule default";

pub(crate) const LOG_LEVEL: &str = "\
Examples:
  proxyctl log-level debug
  proxyctl log-level info";

pub(crate) const UPGRADE: &str = "\
The new process gets every listener and takes over when it is ready; the old one finishes what is under way. When the new
one does not start, the old one goes on, and this says why.

Examples:
  proxyctl upgrade
  proxyctl upgrade --output json";

pub(crate) const SHUTDOWN: &str = "\
Examples:
  proxyctl shutdown
  proxyctl --socket /run/proxyd/proxyd.sock shutdown";

pub(crate) const INIT: &str = "\
Examples:
  proxyctl init
  proxyctl init /etc/proxyd/config.yaml --force";

pub(crate) const DOCTOR: &str = "\
Exit code 1 when anything failed; warnings alone leave it 0.

Examples:
  proxyctl doctor
  proxyctl doctor --config /etc/proxyd/config.yaml --output json";

pub(crate) const HASH_PASSWORD: &str = "\
Examples:
  proxyctl hash-password
  head -n 1 password.txt | proxyctl hash-password";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  source <(proxyctl completions bash)
  proxyctl completions fish > ~/.config/fish/completions/proxyctl.fish";

pub(crate) const VERSION: &str = "\
Examples:
  proxyctl version
  proxyctl version --output json";
