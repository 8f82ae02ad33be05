-- Times are nanoseconds since 1970 in UTC, 0 for none. The types are those that SQLite and PostgreSQL have in common, but for
-- BLOB, which is BYTEA there.
CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    operation   TEXT   NOT NULL,
    environment TEXT   NOT NULL,
    generation  TEXT   NOT NULL,
    previous    TEXT   NOT NULL,
    who         TEXT   NOT NULL,
    state       TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    plan        TEXT   NOT NULL,
    started     BIGINT NOT NULL,
    ended       BIGINT NOT NULL
);
CREATE INDEX runs_by_environment ON runs (environment, started);

CREATE TABLE events (
    seq       BIGINT PRIMARY KEY,
    run       TEXT   NOT NULL REFERENCES runs (id),
    event_key TEXT   NOT NULL,
    step      TEXT   NOT NULL,
    kind      TEXT   NOT NULL,
    message   TEXT   NOT NULL,
    who       TEXT   NOT NULL,
    happened  BIGINT NOT NULL,
    detail    TEXT   NOT NULL,
    UNIQUE (run, event_key)
);
CREATE INDEX events_by_run ON events (run, seq);

CREATE TABLE generations (
    environment TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    phase       TEXT    NOT NULL,
    verified    BOOLEAN NOT NULL,
    run         TEXT    NOT NULL,
    created     BIGINT  NOT NULL,
    changed     BIGINT  NOT NULL,
    PRIMARY KEY (environment, name)
);

CREATE TABLE releases (
    environment TEXT    NOT NULL,
    generation  TEXT    NOT NULL,
    service     TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    manifests   TEXT    NOT NULL,
    good        BOOLEAN NOT NULL,
    run         TEXT    NOT NULL,
    released    BIGINT  NOT NULL,
    PRIMARY KEY (environment, generation, service, run)
);
CREATE INDEX releases_by_service ON releases (environment, service, released);

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    data   BLOB NOT NULL
);
