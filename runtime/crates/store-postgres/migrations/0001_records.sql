-- Records, the head that orders their commits, and the log of what commits changed.

CREATE TABLE records (
    key text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL,
    -- The sequence of the commit that wrote the row.
    revision bigint NOT NULL,
    -- Over key, revision and value.
    seal bytea NOT NULL
);
-- Values are sealed or short: compressing them costs time and saves nothing.
ALTER TABLE records ALTER COLUMN value SET STORAGE EXTERNAL;

-- One row. Each commit holds its lock until it has ended, so that commits are seen in the order of their sequences.
CREATE TABLE store_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq bigint NOT NULL,
    -- The change log reaches back to the commits after this one.
    floor bigint NOT NULL,
    -- Number of records.
    records bigint NOT NULL,
    -- Over the seals of all records, blinded with the nonce.
    digest bytea NOT NULL,
    nonce bytea NOT NULL,
    -- Over this row.
    seal bytea NOT NULL
) WITH (fillfactor = 10);

-- One row for each commit, without a gap, so that one that is taken out is missed.
CREATE TABLE change_log (
    seq bigint PRIMARY KEY,
    committed_at timestamptz NOT NULL DEFAULT now(),
    -- A line for each key: + and the key if it was written, - and the key if it was deleted.
    changes text NOT NULL,
    -- Over sequence and changes.
    seal bytea NOT NULL
);

-- Keys of the store, wrapped by the master key, which the database never sees.
CREATE TABLE wrapped_keys (
    name text PRIMARY KEY,
    wrapped text NOT NULL
);
