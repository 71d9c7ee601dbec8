-- Which organisations there are, and up to which of its revisions the log has heard of each.
CREATE TABLE organisations (
  organisation TEXT NOT NULL PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('creating', 'active', 'deleting')),
  key_id BLOB NOT NULL,
  logged BIGINT NOT NULL CHECK (logged >= 0)
);
CREATE TABLE feed_end (one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1), position BIGINT NOT NULL);
INSERT INTO feed_end (one, position) VALUES (1, 0);
CREATE TABLE log (
  position BIGINT NOT NULL PRIMARY KEY,
  organisation TEXT NOT NULL,
  revision BIGINT NOT NULL,
  event TEXT NOT NULL CHECK (event IN ('created', 'changed', 'deleted', 'restored'))
);
