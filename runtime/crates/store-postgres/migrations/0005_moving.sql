-- Where everything in this database is being moved from, until that has ended. Nothing is served meanwhile.
CREATE TABLE moving (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    source text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now()
);
