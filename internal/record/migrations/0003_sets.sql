-- When a release was verified, and which versions were verified together in an environment: a JSON object, version by service.
ALTER TABLE releases ADD COLUMN verified BIGINT NOT NULL DEFAULT 0;
UPDATE releases SET verified = released WHERE good;

CREATE TABLE sets (
    environment TEXT   NOT NULL,
    generation  TEXT   NOT NULL,
    run         TEXT   NOT NULL,
    versions    TEXT   NOT NULL,
    verified    BIGINT NOT NULL,
    PRIMARY KEY (environment, run)
);
