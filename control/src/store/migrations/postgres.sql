-- Run by the owner. `{service}` and `{directory}` are the two roles of the service, quoted.
--
-- `palisade`: what organisations own, by rows. The service's role works here, and sees the rows of one organisation at
-- a time. `palisade_directory`: which organisations there are, and the feed. `palisade_keys`: their wrapped keys, kept
-- out of backups of the rest (pg_dump --exclude-schema=palisade_keys). Both only through the functions below.
CREATE SCHEMA palisade;
CREATE SCHEMA palisade_directory;
CREATE SCHEMA palisade_keys;
REVOKE ALL ON SCHEMA palisade, palisade_directory, palisade_keys FROM PUBLIC;

CREATE TABLE palisade.schema_version (version BIGINT NOT NULL PRIMARY KEY);
INSERT INTO palisade.schema_version VALUES (1);

CREATE TABLE palisade.heads (
  organisation TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (organisation <> ''),
  revision BIGINT NOT NULL CHECK (revision >= 0),
  key_id BYTEA NOT NULL
);
CREATE TABLE palisade.resources (
  organisation TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  revision BIGINT NOT NULL CHECK (revision > 0),
  sealed BYTEA NOT NULL,
  PRIMARY KEY (organisation, kind, id),
  FOREIGN KEY (organisation) REFERENCES palisade.heads (organisation)
);
-- Sealed bytes do not compress.
ALTER TABLE palisade.resources ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE TABLE palisade.changes (
  organisation TEXT COLLATE "C" NOT NULL,
  revision BIGINT NOT NULL CHECK (revision > 0),
  place BIGINT NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  deleted BIGINT NOT NULL CHECK (deleted IN (0, 1)),
  PRIMARY KEY (organisation, revision, place),
  UNIQUE (organisation, kind, id, version),
  FOREIGN KEY (organisation) REFERENCES palisade.heads (organisation)
);

-- Unset, the setting is null or empty: equal to no organisation, so there are no rows.
ALTER TABLE palisade.heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE palisade.heads FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON palisade.heads
  USING (organisation = current_setting('palisade.org', true))
  WITH CHECK (organisation = current_setting('palisade.org', true));
ALTER TABLE palisade.resources ENABLE ROW LEVEL SECURITY;
ALTER TABLE palisade.resources FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON palisade.resources
  USING (organisation = current_setting('palisade.org', true))
  WITH CHECK (organisation = current_setting('palisade.org', true));
ALTER TABLE palisade.changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE palisade.changes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON palisade.changes
  USING (organisation = current_setting('palisade.org', true))
  WITH CHECK (organisation = current_setting('palisade.org', true));

CREATE TABLE palisade_directory.organisations (
  organisation TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (organisation <> '')
);
-- The one row that every accepted write locks until it is committed: so positions are given in commit order.
CREATE TABLE palisade_directory.feed_end (
  one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
  position BIGINT NOT NULL
);
INSERT INTO palisade_directory.feed_end VALUES (1, 0);
CREATE TABLE palisade_directory.log (
  position BIGINT NOT NULL PRIMARY KEY,
  organisation TEXT COLLATE "C" NOT NULL,
  revision BIGINT NOT NULL,
  event TEXT NOT NULL CHECK (event IN ('created', 'changed', 'deleted', 'restored'))
);
CREATE TABLE palisade_keys.keys (
  organisation TEXT COLLATE "C" NOT NULL,
  key_id BYTEA NOT NULL,
  wrapped BYTEA NOT NULL,
  PRIMARY KEY (organisation, key_id)
);

CREATE FUNCTION palisade_directory.log_next(owner TEXT, written BIGINT, what TEXT) RETURNS BIGINT
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place BIGINT;
BEGIN
  UPDATE palisade_directory.feed_end e SET position = e.position + 1 WHERE e.one = 1
    RETURNING e.position INTO STRICT place;
  INSERT INTO palisade_directory.log VALUES (place, log_next.owner, log_next.written, log_next.what);
  RETURN place;
END $$;

-- The appender. Whose change it is, the row-level setting says, and the revision must be the one that stands there: a
-- statement that got into a tenant's query cannot speak for another tenant.
CREATE FUNCTION palisade.append(written BIGINT) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tenant CONSTANT TEXT := current_setting('palisade.org', true);
BEGIN
  PERFORM 1 FROM palisade.heads h WHERE h.organisation = tenant AND h.revision = written;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'nothing was written' USING ERRCODE = 'PA001';
  END IF;
  RETURN palisade_directory.log_next(tenant, written, 'changed');
END $$;

-- All at once or nothing: the organisation, its key, its head, its place in the feed.
CREATE FUNCTION palisade_directory.create_organisation(owner TEXT, key BYTEA, sealed BYTEA) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO palisade_directory.organisations VALUES (owner) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is one already' USING ERRCODE = 'PA002';
  END IF;
  INSERT INTO palisade_keys.keys VALUES (owner, key, sealed);
  PERFORM set_config('palisade.org', owner, true);
  INSERT INTO palisade.heads VALUES (owner, 0, key);
  PERFORM set_config('palisade.org', '', true);
  RETURN palisade_directory.log_next(owner, 0, 'created');
END $$;

-- The head is locked first, as every write does: nobody writes any more, and what waits finds no head.
CREATE FUNCTION palisade_directory.delete_organisation(owner TEXT) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  last BIGINT;
BEGIN
  DELETE FROM palisade_directory.organisations o WHERE o.organisation = owner AND owner <> '@platform';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is none' USING ERRCODE = 'PA001';
  END IF;
  PERFORM set_config('palisade.org', owner, true);
  SELECT h.revision INTO last FROM palisade.heads h WHERE h.organisation = owner FOR UPDATE;
  DELETE FROM palisade_keys.keys k WHERE k.organisation = owner;
  DELETE FROM palisade.resources r WHERE r.organisation = owner;
  DELETE FROM palisade.changes c WHERE c.organisation = owner;
  DELETE FROM palisade.heads h WHERE h.organisation = owner;
  PERFORM set_config('palisade.org', '', true);
  RETURN palisade_directory.log_next(owner, coalesce(last, 0), 'deleted');
END $$;

CREATE FUNCTION palisade_directory.organisations(after TEXT, most BIGINT)
RETURNS TABLE (organisation TEXT)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT o.organisation FROM palisade_directory.organisations o
  WHERE o.organisation > after AND o.organisation <> '@platform' ORDER BY o.organisation LIMIT most
$$;

CREATE FUNCTION palisade_directory.wrapped_key(owner TEXT, key BYTEA) RETURNS SETOF BYTEA
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT k.wrapped FROM palisade_keys.keys k WHERE k.organisation = owner AND k.key_id = key
$$;

CREATE FUNCTION palisade_directory.feed(after BIGINT, most BIGINT)
RETURNS TABLE (at BIGINT, organisation TEXT, revision BIGINT, event TEXT)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT l.position, l.organisation, l.revision, l.event FROM palisade_directory.log l
  WHERE l.position > after ORDER BY l.position LIMIT most
$$;

CREATE FUNCTION palisade_directory.feed_end() RETURNS BIGINT
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT e.position FROM palisade_directory.feed_end e
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA palisade, palisade_directory, palisade_keys FROM PUBLIC;
GRANT USAGE ON SCHEMA palisade TO {service};
GRANT SELECT ON palisade.schema_version TO {service};
GRANT SELECT, UPDATE (revision) ON palisade.heads TO {service};
GRANT SELECT, INSERT, UPDATE, DELETE ON palisade.resources TO {service};
GRANT SELECT, INSERT ON palisade.changes TO {service};
GRANT EXECUTE ON FUNCTION palisade.append(BIGINT) TO {service};
GRANT USAGE ON SCHEMA palisade_directory TO {directory};
GRANT EXECUTE ON FUNCTION
  palisade_directory.create_organisation(TEXT, BYTEA, BYTEA), palisade_directory.delete_organisation(TEXT),
  palisade_directory.organisations(TEXT, BIGINT), palisade_directory.wrapped_key(TEXT, BYTEA),
  palisade_directory.feed(BIGINT, BIGINT), palisade_directory.feed_end() TO {directory};
