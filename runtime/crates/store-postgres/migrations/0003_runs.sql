-- Runs: one row for each, linked to the row before of the same workspace and node.

CREATE TABLE runs (
    -- Microseconds since 1970 when it ended, times 2048, and the writer's number; after all that its writer wrote before.
    pos bigint PRIMARY KEY,
    org text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    ended_us bigint NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    -- The beginnings of what stands at the top of the record, for lists.
    status text COLLATE "C",
    class text COLLATE "C",
    code text COLLATE "C",
    connector_id text COLLATE "C",
    connection text COLLATE "C",
    action_id text COLLATE "C",
    automation_id text COLLATE "C",
    event_id text COLLATE "C",
    record text NOT NULL,
    -- Of the row before, and of this one: over the names, the places, the row before and the record.
    prev bytea NOT NULL,
    hash bytea NOT NULL
);
CREATE INDEX runs_workspace ON runs (org, workspace, pos);
CREATE INDEX runs_org ON runs (org, pos);
CREATE INDEX runs_id ON runs (org, workspace, run_id);
CREATE INDEX runs_connector ON runs (org, connector_id, pos);
-- What few runs have.
CREATE INDEX runs_status ON runs (org, status, pos) WHERE status <> 'succeeded';
CREATE INDEX runs_class ON runs (org, class, pos) WHERE class IS NOT NULL;
CREATE INDEX runs_code ON runs (org, code, pos) WHERE code IS NOT NULL;
CREATE INDEX runs_automation ON runs (org, automation_id, pos) WHERE automation_id IS NOT NULL;
CREATE INDEX runs_event ON runs (org, event_id, pos) WHERE event_id IS NOT NULL;

CREATE TABLE run_heads (
    org text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    -- The last row.
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    pos bigint NOT NULL,
    -- Position of the first row that this chain ever had: a workspace that was removed may begin again.
    born bigint NOT NULL,
    -- The last row that was dropped.
    anchor_seq bigint NOT NULL,
    anchor_hash bytea NOT NULL,
    -- Bytes of the records that are kept.
    bytes bigint NOT NULL,
    -- How far positions are ahead of the ends of their runs, at most: little, unless a clock was wrong.
    shift_us bigint NOT NULL,
    seal bytea NOT NULL,
    PRIMARY KEY (org, workspace, node)
) WITH (fillfactor = 50);

-- Adds rows to the chains of a node, and moves their heads. Returns the numbers of the chains, from 1, whose head is not
-- where the node thought: nothing of theirs is written.
CREATE FUNCTION runs_append(
    of_node text,
    -- One element for each chain.
    chain_orgs text[], chain_workspaces text[], from_seqs bigint[], from_hashes bytea[],
    to_seqs bigint[], to_hashes bytea[], to_positions bigint[], births bigint[], added bigint[], shifts bigint[],
    seals bytea[],
    -- One for each row; the first is the number of its chain.
    chains integer[], positions bigint[], seqs bigint[], ends bigint[], ids text[], statuses text[], classes text[],
    codes text[], connectors text[], connections text[], actions text[], automations text[], events text[],
    records text[], prevs bytea[], hashes bytea[]
) RETURNS integer[] LANGUAGE plpgsql SET search_path = portcullis, pg_temp AS $$
DECLARE
    moved integer[];
BEGIN
    INSERT INTO run_heads
        SELECT a.org, a.workspace, of_node, 0, a.hash, 0, a.born, 0, a.hash, 0, 0, ''
        FROM unnest(chain_orgs, chain_workspaces, from_seqs, from_hashes, births) AS a (org, workspace, seq, hash, born)
        WHERE a.seq = 0 ORDER BY a.org, a.workspace
        ON CONFLICT DO NOTHING;
    PERFORM 1 FROM run_heads h JOIN unnest(chain_orgs, chain_workspaces) AS a (org, workspace)
        ON h.org = a.org AND h.workspace = a.workspace
        WHERE h.node = of_node ORDER BY h.org, h.workspace FOR UPDATE OF h;
    WITH asked AS (
        SELECT * FROM unnest(chain_orgs, chain_workspaces, from_seqs, from_hashes, to_seqs, to_hashes, to_positions, births,
                             added, shifts, seals)
            WITH ORDINALITY
            AS a (org, workspace, from_seq, from_hash, seq, hash, pos, born, bytes, shift_us, seal, number)
    ), updated AS (
        UPDATE run_heads h
        SET seq = a.seq, hash = a.hash, pos = a.pos, bytes = h.bytes + a.bytes,
            shift_us = greatest(h.shift_us, a.shift_us), seal = a.seal
        FROM asked a
        WHERE h.org = a.org AND h.workspace = a.workspace AND h.node = of_node AND h.seq = a.from_seq
            AND h.hash = a.from_hash AND h.born = a.born
        RETURNING a.number
    )
    SELECT coalesce(array_agg(number::integer), '{}') INTO moved FROM updated;
    INSERT INTO runs
        SELECT r.pos, chain_orgs[r.chain], chain_workspaces[r.chain], of_node, r.seq, r.ended_us, r.run_id, r.status,
            r.class, r.code, r.connector_id, r.connection, r.action_id, r.automation_id, r.event_id, r.record, r.prev,
            r.hash
        FROM unnest(chains, positions, seqs, ends, ids, statuses, classes, codes, connectors, connections, actions,
                    automations, events, records, prevs, hashes)
            AS r (chain, pos, seq, ended_us, run_id, status, class, code, connector_id, connection, action_id,
                  automation_id, event_id, record, prev, hash)
        WHERE cardinality(moved) = cardinality(chain_orgs) OR r.chain = ANY (moved);
    RETURN ARRAY(SELECT n FROM generate_subscripts(chain_orgs, 1) AS g (n) WHERE n <> ALL (moved));
END $$;

REVOKE ALL ON FUNCTION runs_append FROM PUBLIC;
