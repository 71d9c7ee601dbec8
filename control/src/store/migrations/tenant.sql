CREATE TABLE heads (
  organisation TEXT NOT NULL PRIMARY KEY CHECK (organisation <> ''),
  revision BIGINT NOT NULL CHECK (revision >= 0),
  key_id BLOB NOT NULL
);
CREATE TABLE resources (
  organisation TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  revision BIGINT NOT NULL CHECK (revision > 0),
  sealed BLOB NOT NULL,
  PRIMARY KEY (organisation, kind, id),
  FOREIGN KEY (organisation) REFERENCES heads (organisation)
);
CREATE TABLE changes (
  organisation TEXT NOT NULL,
  revision BIGINT NOT NULL CHECK (revision > 0),
  place BIGINT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  version BIGINT NOT NULL,
  deleted BIGINT NOT NULL CHECK (deleted IN (0, 1)),
  PRIMARY KEY (organisation, revision, place),
  UNIQUE (organisation, kind, id, version),
  FOREIGN KEY (organisation) REFERENCES heads (organisation)
);
