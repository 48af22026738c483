-- The serving role can drop no record that is younger than the owner of the schema says, by the server's own clock; and
-- partitions are made and dropped without anybody waiting for it.

-- When the server took the record. `ledger_append` does not name the column, so nobody but the owner can say another time.
-- Null in records of before, whose position says when they were written.
ALTER TABLE ledger_records ADD COLUMN written_at timestamptz;
ALTER TABLE ledger_records ALTER COLUMN written_at SET DEFAULT clock_timestamp();

-- How long each record is kept at least, whatever a node asks for. The owner alone changes it.
CREATE TABLE ledger_retention (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    least_days integer NOT NULL CHECK (least_days BETWEEN 0 AND 36500)
);
INSERT INTO ledger_retention (least_days) VALUES (30);

-- The moment before which a record must have been written to be dropped. Without the row it is as the row was made.
CREATE FUNCTION ledger_cut_before() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = portcullis, pg_temp AS $$
    SELECT now() - make_interval(hours => 24 * coalesce((SELECT least_days FROM ledger_retention), 30))
$$;

-- As before, and refuses where one of the records is too young.
CREATE OR REPLACE FUNCTION ledger_cut(of_org text, of_node text, to_segment bigint, anchor_seal bytea) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = portcullis, pg_temp AS $$
DECLARE
    ending ledger_segments;
    anchored bigint;
    gone bigint;
    youngest timestamptz;
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
    WITH dropped AS (
        DELETE FROM ledger_records WHERE org = of_org AND pos <= ending.pos AND node = of_node
        RETURNING coalesce(written_at, to_timestamp((pos >> 11) / 1000000.0)) AS taken_at
    )
    SELECT count(*), max(taken_at) INTO gone, youngest FROM dropped;
    IF gone <> ending.seq - anchored THEN
        RAISE EXCEPTION 'the chain has % records before the cut and should have %', gone, ending.seq - anchored;
    END IF;
    -- Of what is dropped and not of what the segment says: segments are written down by the serving role.
    IF youngest >= ledger_cut_before() THEN
        RAISE EXCEPTION 'a record before the cut is younger than ledger_retention.least_days';
    END IF;
    INSERT INTO ledger_anchors VALUES (of_org, of_node, ending.seq, ending.hash, ending.pos, anchor_seal)
        ON CONFLICT (org, node) DO UPDATE
        SET seq = EXCLUDED.seq, hash = EXCLUDED.hash, pos = EXCLUDED.pos, seal = EXCLUDED.seal;
    DELETE FROM ledger_segments WHERE org = of_org AND node = of_node AND number <= to_segment;
    RETURN gone;
END $$;

-- As before. A lock is waited for only as long as nobody notices who queues behind it: with readers of whole ledgers on the
-- way, what is left to do is left for the next time.
CREATE OR REPLACE FUNCTION ledger_partitions() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = portcullis, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    month timestamp;
    name text;
    used boolean;
BEGIN
    -- Nodes do this at the same time, and one of them is enough.
    IF NOT pg_try_advisory_xact_lock(hashtext('portcullis ledger_partitions')) THEN
        RETURN;
    END IF;
    FOR ahead IN 0..2 LOOP
        month := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead);
        name := 'ledger_records_' || to_char(month, 'YYYYMM');
        IF to_regclass(name) IS NULL THEN
            BEGIN
                -- Attached and not created in place, which would lock out readers of all partitions. The rest is locked.
                EXECUTE format('CREATE TABLE %I (LIKE ledger_records INCLUDING ALL)', name);
                EXECUTE format('ALTER TABLE ledger_records ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', name,
                    (extract(epoch FROM month) * 1000000)::bigint << 11,
                    (extract(epoch FROM month + interval '1 month') * 1000000)::bigint << 11);
            EXCEPTION
                WHEN check_violation THEN
                    -- Records of that month are in the rest already, where they stay.
                    NULL;
                WHEN lock_not_available THEN
                    RETURN;
            END;
        END IF;
    END LOOP;
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'ledger_records'::regclass AND c.relname ~ '^ledger_records_[0-9]{6}$'
            AND c.relname < 'ledger_records_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')
    LOOP
        -- Before anything is locked: most have records.
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', name) INTO used;
        CONTINUE WHEN used;
        BEGIN
            -- In the order of readers, who lock the parent first: nobody waits in a circle.
            LOCK TABLE ONLY ledger_records IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', name);
            EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', name) INTO used;
            IF NOT used THEN
                EXECUTE format('DROP TABLE %I', name);
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            RETURN;
        END;
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION ledger_cut_before FROM PUBLIC;
