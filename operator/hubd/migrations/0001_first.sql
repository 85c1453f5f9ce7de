-- Everything the hub remembers. TEXT and BIGINT only, so that PostgreSQL takes the same file;
-- times are milliseconds since 1970, truths are 0 or 1.

CREATE TABLE workspaces (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id            TEXT   NOT NULL PRIMARY KEY,
    workspace_id  TEXT   NOT NULL REFERENCES workspaces (id),
    label         TEXT   NOT NULL,
    prefix        TEXT   NOT NULL,
    key_hash      TEXT   NOT NULL UNIQUE,
    created_at    BIGINT NOT NULL,
    revoked_at    BIGINT
);

-- An agent without a workspace joined by a code alone and lives as long as what it was granted.
CREATE TABLE agents (
    id                TEXT   NOT NULL PRIMARY KEY,
    workspace_id      TEXT   REFERENCES workspaces (id),
    label             TEXT   NOT NULL,
    name              TEXT,
    token_hash        TEXT   NOT NULL,
    token_expires_at  BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    last_seen_at      BIGINT NOT NULL,
    connected_at      BIGINT NOT NULL
);
CREATE INDEX agents_by_workspace ON agents (workspace_id);

CREATE TABLE services (
    id               TEXT   NOT NULL PRIMARY KEY,
    workspace_id     TEXT   NOT NULL REFERENCES workspaces (id),
    agent_id         TEXT   REFERENCES agents (id),
    name             TEXT   NOT NULL,
    target_host      TEXT   NOT NULL,
    target_port      BIGINT NOT NULL,
    tunnel_port      BIGINT UNIQUE,
    protocol         TEXT   NOT NULL,
    reach            TEXT   NOT NULL,
    status           TEXT   NOT NULL,
    last_checked_at  BIGINT,
    created_at       BIGINT NOT NULL,
    UNIQUE (workspace_id, name)
);

-- What a check of a service said, as it was answered.
CREATE TABLE diagnostics (
    id          TEXT   NOT NULL PRIMARY KEY,
    service_id  TEXT   NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    body        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX diagnostics_by_service ON diagnostics (service_id, created_at);

CREATE TABLE shares (
    id               TEXT   NOT NULL PRIMARY KEY,
    code             TEXT   NOT NULL UNIQUE,
    workspace_id     TEXT   NOT NULL REFERENCES workspaces (id),
    agent_id         TEXT   NOT NULL REFERENCES agents (id),
    name             TEXT,
    expires_at       BIGINT NOT NULL,
    max_joins        BIGINT,
    idempotency_key  TEXT,
    created_at       BIGINT NOT NULL,
    ended_at         BIGINT,
    end_reason       TEXT,
    UNIQUE (agent_id, idempotency_key)
);
CREATE INDEX shares_by_end ON shares (ended_at, expires_at);

-- A snapshot: a route keeps naming its service when that is renamed or gone.
CREATE TABLE share_routes (
    share_id      TEXT   NOT NULL REFERENCES shares (id) ON DELETE CASCADE,
    position      BIGINT NOT NULL,
    service_name  TEXT   NOT NULL,
    service_id    TEXT,
    target_host   TEXT   NOT NULL,
    target_port   BIGINT NOT NULL,
    local_port    BIGINT,
    protocol      TEXT   NOT NULL,
    PRIMARY KEY (share_id, position)
);
CREATE INDEX share_routes_by_service ON share_routes (service_id);

-- Every call of join, so that a share can say who came and when.
CREATE TABLE joins (
    id           TEXT   NOT NULL PRIMARY KEY,
    share_id     TEXT   NOT NULL REFERENCES shares (id) ON DELETE CASCADE,
    agent_id     TEXT   NOT NULL,
    agent_label  TEXT   NOT NULL,
    joined_at    BIGINT NOT NULL
);
CREATE INDEX joins_by_share ON joins (share_id, joined_at);

-- Who may reach what a share routes to: one row for each agent that joined, however often.
CREATE TABLE grants (
    share_id   TEXT NOT NULL REFERENCES shares (id) ON DELETE CASCADE,
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    PRIMARY KEY (share_id, agent_id)
);
CREATE INDEX grants_by_agent ON grants (agent_id);
