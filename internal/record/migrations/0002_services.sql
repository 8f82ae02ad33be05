-- Runs about one service, and the tag by which a release was asked for.
ALTER TABLE runs ADD COLUMN service TEXT NOT NULL DEFAULT '';
ALTER TABLE releases ADD COLUMN tag TEXT NOT NULL DEFAULT '';
