-- The outbound ledger: a chain of records for each org and node. The serving role reads these tables and changes them
-- by the functions below alone: it adds records at the end of a chain, and drops them from its beginning up to an anchor.

-- A number for each process that writes: the lower part of its positions.
CREATE SEQUENCE writers;

CREATE TABLE ledger_records (
    org text COLLATE "C" NOT NULL,
    -- Microseconds since 1970 when it was written, times 2048, and the writer's number: grows along each chain.
    pos bigint NOT NULL,
    node text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    -- The record as it is exported.
    line text NOT NULL,
    PRIMARY KEY (org, pos)
) PARTITION BY RANGE (pos);
-- For records of months that have no partition.
CREATE TABLE ledger_records_rest PARTITION OF ledger_records DEFAULT;

-- Where each chain ends.
CREATE TABLE ledger_heads (
    org text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    -- The last record.
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    pos bigint NOT NULL,
    -- The segment that is written to: its number from 1, its length, and its earliest and latest time.
    segment bigint NOT NULL,
    bytes bigint NOT NULL,
    oldest_at text COLLATE "C" NOT NULL,
    newest_at text COLLATE "C" NOT NULL,
    -- Over the names and the last record; empty without an integrity key.
    seal bytea NOT NULL,
    PRIMARY KEY (org, node)
) WITH (fillfactor = 50);

-- The segments that were closed, each with its last record: the places where a chain may be cut.
CREATE TABLE ledger_segments (
    org text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    pos bigint NOT NULL,
    bytes bigint NOT NULL,
    newest_at text COLLATE "C" NOT NULL,
    PRIMARY KEY (org, node, number)
);

-- Where each chain that was cut begins: the last record that was dropped.
CREATE TABLE ledger_anchors (
    org text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    pos bigint NOT NULL,
    seal bytea NOT NULL,
    PRIMARY KEY (org, node)
);

-- Adds records to the chains of a node, and moves their heads. Returns the orgs whose head is not where the node thought:
-- nothing of theirs is written.
CREATE FUNCTION ledger_append(
    of_node text,
    -- One element for each org: the head as it must be, and as it becomes.
    orgs text[], from_seqs bigint[], from_hashes bytea[], from_segments bigint[],
    to_seqs bigint[], to_hashes bytea[], to_positions bigint[], to_segments bigint[], to_bytes bigint[],
    to_oldest text[], to_newest text[], to_seals bytea[],
    -- One for each segment that is closed.
    closed_orgs text[], closed_numbers bigint[], closed_seqs bigint[], closed_hashes bytea[], closed_positions bigint[],
    closed_bytes bigint[], closed_newest text[],
    -- One for each record.
    record_orgs text[], record_positions bigint[], record_seqs bigint[], record_lines text[]
) RETURNS text[] LANGUAGE plpgsql SECURITY DEFINER SET search_path = portcullis, pg_temp AS $$
DECLARE
    moved text[];
BEGIN
    INSERT INTO ledger_heads
        SELECT a.org, of_node, 0, a.hash, 0, 1, 0, '', '', ''
        FROM unnest(orgs, from_seqs, from_hashes) AS a (org, seq, hash) WHERE a.seq = 0 ORDER BY a.org
        ON CONFLICT DO NOTHING;
    -- In one order everywhere, so that nobody waits in a circle.
    PERFORM 1 FROM ledger_heads h WHERE h.node = of_node AND h.org = ANY (orgs) ORDER BY h.org FOR UPDATE;
    WITH asked AS (
        SELECT * FROM unnest(orgs, from_seqs, from_hashes, from_segments, to_seqs, to_hashes, to_positions, to_segments,
                             to_bytes, to_oldest, to_newest, to_seals)
            AS a (org, from_seq, from_hash, from_segment, seq, hash, pos, segment, bytes, oldest_at, newest_at, seal)
    ), updated AS (
        UPDATE ledger_heads h
        SET seq = a.seq, hash = a.hash, pos = a.pos, segment = a.segment, bytes = a.bytes, oldest_at = a.oldest_at,
            newest_at = a.newest_at, seal = a.seal
        FROM asked a
        WHERE h.org = a.org AND h.node = of_node AND h.seq = a.from_seq AND h.hash = a.from_hash
            AND h.segment = a.from_segment AND a.seq > h.seq AND a.pos > h.pos
        RETURNING h.org
    )
    SELECT coalesce(array_agg(org), '{}') INTO moved FROM updated;
    INSERT INTO ledger_segments
        SELECT c.org, of_node, c.number, c.seq, c.hash, c.pos, c.bytes, c.newest_at
        FROM unnest(closed_orgs, closed_numbers, closed_seqs, closed_hashes, closed_positions, closed_bytes, closed_newest)
            AS c (org, number, seq, hash, pos, bytes, newest_at)
        WHERE c.org = ANY (moved);
    IF cardinality(moved) = cardinality(orgs) THEN
        INSERT INTO ledger_records
            SELECT r.org, r.pos, of_node, r.seq, r.line
            FROM unnest(record_orgs, record_positions, record_seqs, record_lines) AS r (org, pos, seq, line);
        RETURN '{}';
    END IF;
    INSERT INTO ledger_records
        SELECT r.org, r.pos, of_node, r.seq, r.line
        FROM unnest(record_orgs, record_positions, record_seqs, record_lines) AS r (org, pos, seq, line)
        WHERE r.org = ANY (moved);
    RETURN ARRAY(SELECT org FROM unnest(orgs) AS o (org) WHERE org <> ALL (moved));
END $$;

-- Closes the segment that a chain is written to, if its last record is still this one, so that it can be dropped.
CREATE FUNCTION ledger_close(of_org text, of_node text, at_seq bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = portcullis, pg_temp AS $$
BEGIN
    INSERT INTO ledger_segments
        SELECT org, node, segment, seq, hash, pos, bytes, newest_at FROM ledger_heads
        WHERE org = of_org AND node = of_node AND seq = at_seq AND bytes > 0 FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE ledger_heads SET segment = segment + 1, bytes = 0, oldest_at = '', newest_at = ''
        WHERE org = of_org AND node = of_node;
    RETURN true;
END $$;

-- Drops the records of a chain up to the end of one of its closed segments, whose last record becomes the anchor. Refuses
-- any other place, and a chain that is not whole up to there. Returns the number of dropped records.
CREATE FUNCTION ledger_cut(of_org text, of_node text, to_segment bigint, anchor_seal bytea) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = portcullis, pg_temp AS $$
DECLARE
    ending ledger_segments;
    anchored bigint;
    gone bigint;
BEGIN
    PERFORM 1 FROM ledger_heads WHERE org = of_org AND node = of_node FOR UPDATE;
    SELECT * INTO ending FROM ledger_segments WHERE org = of_org AND node = of_node AND number = to_segment;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no closed segment of the chain ends there';
    END IF;
    IF NOT EXISTS (
        SELECT 1 FROM ledger_records WHERE org = of_org AND pos = ending.pos AND node = of_node AND seq = ending.seq
            AND right(line, 66) = encode(ending.hash, 'hex') || '"}'
    ) THEN
        RAISE EXCEPTION 'the record at the cut is not the one that the segment ended with';
    END IF;
    SELECT coalesce(max(seq), 0) INTO anchored FROM ledger_anchors WHERE org = of_org AND node = of_node;
    DELETE FROM ledger_records WHERE org = of_org AND pos <= ending.pos AND node = of_node;
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone <> ending.seq - anchored THEN
        RAISE EXCEPTION 'the chain has % records before the cut and should have %', gone, ending.seq - anchored;
    END IF;
    INSERT INTO ledger_anchors VALUES (of_org, of_node, ending.seq, ending.hash, ending.pos, anchor_seal)
        ON CONFLICT (org, node) DO UPDATE
        SET seq = EXCLUDED.seq, hash = EXCLUDED.hash, pos = EXCLUDED.pos, seal = EXCLUDED.seal;
    DELETE FROM ledger_segments WHERE org = of_org AND node = of_node AND number <= to_segment;
    RETURN gone;
END $$;

-- Makes the partitions of this month and the next two, and drops those of past months that have no record any more.
CREATE FUNCTION ledger_partitions() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = portcullis, pg_temp AS $$
DECLARE
    month timestamp;
    name text;
    used boolean;
BEGIN
    -- Nodes do this at the same time.
    PERFORM pg_advisory_xact_lock(hashtext('portcullis ledger_partitions'));
    FOR ahead IN 0..2 LOOP
        month := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead);
        name := 'ledger_records_' || to_char(month, 'YYYYMM');
        IF to_regclass(name) IS NULL THEN
            BEGIN
                -- Attached and not created in place, which would lock out readers of all partitions.
                EXECUTE format('CREATE TABLE %I (LIKE ledger_records INCLUDING ALL)', name);
                EXECUTE format('ALTER TABLE ledger_records ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', name,
                    (extract(epoch FROM month) * 1000000)::bigint << 11,
                    (extract(epoch FROM month + interval '1 month') * 1000000)::bigint << 11);
            EXCEPTION WHEN check_violation THEN
                -- Records of that month are in the rest already, where they stay.
                NULL;
            END;
        END IF;
    END LOOP;
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'ledger_records'::regclass AND c.relname ~ '^ledger_records_[0-9]{6}$'
            AND c.relname < 'ledger_records_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')
    LOOP
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', name);
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', name) INTO used;
        IF NOT used THEN
            EXECUTE format('DROP TABLE %I', name);
        END IF;
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION ledger_append, ledger_close, ledger_cut, ledger_partitions FROM PUBLIC;
SELECT ledger_partitions();
