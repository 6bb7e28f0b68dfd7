-- The journal: blocks, one row each, and for each shard who may append, and where.

create table tallystick.writers (
    shard       integer primary key check (shard between 0 and 65535),
    journal     uuid not null default gen_random_uuid(),  -- names this journal: what is derived from it belongs to no other
    epoch       bigint not null default 0,      -- of the writer that may append; each new one raises it
    next_seq    bigint not null default 0,      -- where its next block must begin
    durable_seq bigint not null default 0,      -- no reader passes this: the append of all before it has returned
    holder      text not null default '',       -- who that writer is, for people
    session     integer not null default 0,     -- its backend's pid, and when that began
    began_at    timestamptz not null default '-infinity',
    beat_at     timestamptz not null default '-infinity'  -- when it last said that it lives
) with (fillfactor = 10);

create table tallystick.blocks (
    shard    integer not null references tallystick.writers,
    first    bigint not null,                   -- seq of the first entry
    next     bigint not null,                   -- seq after the last one
    lanes    integer not null,                  -- lane positions before the entries
    hash     bytea not null,
    body     bytea not null,                    -- the block as records/blocks.py makes it, header and all
    primary key (shard, first),
    check (first >= 0 and next > first and length(hash) = 32)
);
-- Entries hold ids and nonces: trying to compress them costs time and saves nothing. Uncompressed, a row of them can be
-- read without the rest.
alter table tallystick.blocks alter column body set storage external;
