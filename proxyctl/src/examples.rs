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

pub(crate) const KEYS: &str = "\
Examples:
  proxyctl keys
  proxyctl keys create --name ci --scopes builds:read,builds:write --roles agent --expires 90d";

pub(crate) const KEYS_LIST: &str = "\
Examples:
  proxyctl keys list
  proxyctl keys list --output json";

pub(crate) const KEYS_CREATE: &str = "\
The key is shown this once; proxyd keeps only its hash. It is good at once, on every worker.

Examples:
  proxyctl keys create --name ci --scopes builds:read,builds:write --roles agent --expires 90d --limit 100/m
  proxyctl keys create --name dashboard --roles readonly --acts-for ada --output json";

pub(crate) const KEYS_REVOKE: &str = "\
Examples:
  proxyctl keys revoke ci
  proxyctl keys revoke pk_3f9a01bc";

pub(crate) const KEYS_ROTATE: &str = "\
Name, scopes, roles and id stay. Without --overlap the earlier secret is refused from this moment on.

Examples:
  proxyctl keys rotate ci
  proxyctl keys rotate ci --overlap 24h";

pub(crate) const TOKENS: &str = "\
Examples:
  proxyctl tokens
  proxyctl tokens revoke --jti 5f2b9c1e --provider jwt.main";

pub(crate) const TOKENS_LIST: &str = "\
Examples:
  proxyctl tokens list
  proxyctl tokens list --output json";

pub(crate) const TOKENS_REVOKE: &str = "\
Of a whole token `jti` and `exp` are read; nothing else of it is looked at or kept. A token without `jti` cannot be revoked.

Examples:
  proxyctl tokens revoke - < token.txt
  proxyctl tokens revoke --jti 5f2b9c1e --provider jwt.main --expires 12h";

pub(crate) const USERS: &str = "\
Examples:
  proxyctl users
  proxyctl users add ada --email ada@example.com --roles admin";

pub(crate) const USERS_LIST: &str = "\
Examples:
  proxyctl users list
  proxyctl users list --output json";

pub(crate) const USERS_ADD: &str = "\
Examples:
  proxyctl users add ada --email ada@example.com --roles admin,user --verified
  head -n 1 password.txt | proxyctl users add bob --password-stdin";

pub(crate) const USERS_SET: &str = "\
Examples:
  proxyctl users set ada --roles admin,user
  proxyctl users set ada@example.com --disable";

pub(crate) const USERS_PASSWORD: &str = "\
Examples:
  proxyctl users password ada
  head -n 1 password.txt | proxyctl users password ada --password-stdin";

pub(crate) const USERS_REMOVE: &str = "\
Examples:
  proxyctl users remove bob
  proxyctl users remove bob@example.com";

pub(crate) const BANS: &str = "\
Examples:
  proxyctl bans
  proxyctl bans add 203.0.113.7 --for 24h --reason 'probes for logins'";

pub(crate) const BANS_LIST: &str = "\
Examples:
  proxyctl bans list
  proxyctl bans list --output json";

pub(crate) const BANS_ADD: &str = "\
It holds over restarts. An address that is banned already is banned anew, for so long from now.

Examples:
  proxyctl bans add 203.0.113.7 --for 24h --reason 'probes for logins'
  proxyctl bans add 2001:db8::/48";

pub(crate) const BANS_LIFT: &str = "\
Examples:
  proxyctl bans lift 203.0.113.7
  proxyctl bans lift 2001:db8::/48";

pub(crate) const LIMITS: &str = "\
Examples:
  proxyctl limits
  proxyctl limits 10.1.2.3 --rule default";

pub(crate) const LIMITS_TOP: &str = "\
Examples:
  proxyctl limits top
  proxyctl limits top --rule default --last 5 --output json";

pub(crate) const LIMITS_SHOW: &str = "\
Examples:
  proxyctl limits show 10.1.2.3
  proxyctl limits show 10.1.2.3 --rule default";

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
