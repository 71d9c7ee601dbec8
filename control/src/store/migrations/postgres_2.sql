-- Run by the owner, on the first schema. `{service}` is the role of the service, quoted.
--
-- What changes too often for revisions and the feed: sessions, failed attempts. It is an organisation's own like the rest,
-- and goes with it.
INSERT INTO palisade.schema_version VALUES (2);

CREATE TABLE palisade.memos (
  organisation TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  about TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  expires BIGINT NOT NULL,
  sealed BYTEA NOT NULL,
  PRIMARY KEY (organisation, kind, id),
  FOREIGN KEY (organisation) REFERENCES palisade.heads (organisation)
);
CREATE INDEX memos_about ON palisade.memos (organisation, kind, about, id);
CREATE INDEX memos_expires ON palisade.memos (organisation, expires);
ALTER TABLE palisade.memos ALTER COLUMN sealed SET STORAGE EXTERNAL;
ALTER TABLE palisade.memos ENABLE ROW LEVEL SECURITY;
ALTER TABLE palisade.memos FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON palisade.memos
  USING (organisation = current_setting('palisade.org', true))
  WITH CHECK (organisation = current_setting('palisade.org', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON palisade.memos TO {service};

-- As it was, and memos.
CREATE OR REPLACE FUNCTION palisade_directory.delete_organisation(owner TEXT) RETURNS BIGINT
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
  DELETE FROM palisade.memos m WHERE m.organisation = owner;
  DELETE FROM palisade.resources r WHERE r.organisation = owner;
  DELETE FROM palisade.changes c WHERE c.organisation = owner;
  DELETE FROM palisade.heads h WHERE h.organisation = owner;
  PERFORM set_config('palisade.org', '', true);
  RETURN palisade_directory.log_next(owner, coalesce(last, 0), 'deleted');
END $$;
