-- The bytes of custom modules, by their SHA-256.

CREATE TABLE modules (
    digest text COLLATE "C" PRIMARY KEY,
    bytes bytea NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
);
-- Components are hardly smaller compressed, and are read as a whole.
ALTER TABLE modules ALTER COLUMN bytes SET STORAGE EXTERNAL;
