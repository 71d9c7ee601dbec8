CREATE TABLE memos (
  organisation TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  about TEXT NOT NULL,
  version BIGINT NOT NULL,
  expires BIGINT NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (organisation, kind, id),
  FOREIGN KEY (organisation) REFERENCES heads (organisation)
);
CREATE INDEX memos_about ON memos (organisation, kind, about, id);
CREATE INDEX memos_expires ON memos (organisation, expires);
