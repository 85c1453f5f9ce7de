-- Joins are counted for ever and remembered for a while.

ALTER TABLE shares ADD COLUMN join_count BIGINT NOT NULL DEFAULT 0;
UPDATE shares SET join_count = (SELECT COUNT(*) FROM joins WHERE joins.share_id = shares.id);

-- Ended shares are counted by workspace, newest first.
CREATE INDEX shares_by_workspace_end ON shares (workspace_id, ended_at);

-- Each workspace has all tunnel ports to itself. The old column cannot be taken away, for it is unique over the whole hub; it
-- stays empty.
ALTER TABLE services ADD COLUMN workspace_port BIGINT;
UPDATE services SET workspace_port = tunnel_port;
UPDATE services SET tunnel_port = NULL;
CREATE UNIQUE INDEX services_by_workspace_port ON services (workspace_id, workspace_port);
