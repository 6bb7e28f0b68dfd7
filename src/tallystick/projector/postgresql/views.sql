-- What people query: ids as uuid, amounts as numbers, times as timestamptz (to the microsecond), flags and states by name.
-- Words in braces are filled in by schema.py.

create function {views}.whole(bytea) returns numeric
    language sql immutable strict parallel safe
    return ('x' || encode(substr($1, 1, 4), 'hex'))::bit(32)::bigint * 79228162514264337593543950336
         + ('x' || encode(substr($1, 5, 4), 'hex'))::bit(32)::bigint * 18446744073709551616
         + ('x' || encode(substr($1, 9, 4), 'hex'))::bit(32)::bigint * 4294967296
         + ('x' || encode(substr($1, 13, 4), 'hex'))::bit(32)::bigint;

create function {views}.unsigned(bigint) returns numeric
    language sql immutable strict parallel safe
    return case when $1 < 0 then $1 + 18446744073709551616 else $1 end;

create function {views}.instant(bigint) returns timestamptz
    language sql immutable strict parallel safe
    return timestamptz '1970-01-01 00:00:00+00' + ($1 / 1000) * interval '1 microsecond';

-- Where the tables are: all that the journal held before this position is in them.
create view {views}.progress as
select next_seq as position, {views}.instant(decided_at) as decided_at from {tables}.cursor;

create view {views}.accounts as
select seq as position,
       {views}.unsigned(tenant) as tenant,
       encode(id, 'hex')::uuid as id,
       ledger,
       code,
       {views}.whole(debits_pending)::numeric(39) as debits_pending,
       {views}.whole(debits_posted)::numeric(39) as debits_posted,
       {views}.whole(credits_pending)::numeric(39) as credits_pending,
       {views}.whole(credits_posted)::numeric(39) as credits_posted,
       ({views}.whole(credits_posted) - {views}.whole(debits_posted))::numeric(40) as balance,
       {views}.whole(credit_limit)::numeric(39) as credit_limit,
       {frozen} as frozen,
       {account_flags} as flags,
       encode(user_data_128, 'hex')::uuid as user_data_128,
       {views}.unsigned(user_data_64) as user_data_64,
       user_data_32,
       lines,
       {views}.instant(timestamp) as opened_at,
       timestamp as opened_at_ns
  from {tables}.accounts;

create view {views}.transfers as
select t.seq as position,
       {views}.unsigned(t.tenant) as tenant,
       encode(t.id, 'hex')::uuid as id,
       encode(d.id, 'hex')::uuid as debit_account_id,
       encode(c.id, 'hex')::uuid as credit_account_id,
       {views}.whole(t.amount)::numeric(39) as amount,
       t.ledger,
       t.code,
       {transfer_flags} as flags,
       {state} as state,
       encode(p.id, 'hex')::uuid as pending_id,
       t.timeout as timeout_s,
       encode(t.user_data_128, 'hex')::uuid as user_data_128,
       {views}.unsigned(t.user_data_64) as user_data_64,
       t.user_data_32,
       encode(t.metadata, 'hex') as metadata_commitment,
       t.debit_sequence,
       t.credit_sequence,
       {views}.whole(substr(t.balances, 17, 16))::numeric(39) as debit_account_debits_posted,
       {views}.whole(substr(t.balances, 49, 16))::numeric(39) as debit_account_credits_posted,
       {views}.whole(substr(t.balances, 81, 16))::numeric(39) as credit_account_debits_posted,
       {views}.whole(substr(t.balances, 113, 16))::numeric(39) as credit_account_credits_posted,
       {views}.instant(t.decided_at) as decided_at,
       {views}.instant(t.timestamp) as timestamp,
       t.timestamp as timestamp_ns
  from {tables}.transfers t
  join {tables}.accounts d on d.seq = t.debit
  join {tables}.accounts c on c.seq = t.credit
  left join {tables}.transfers p on p.seq = t.pending_seq;

create view {views}.totals as
select {views}.unsigned(tenant) as tenant,
       ledger,
       code,
       accounts,
       {debits_pending} as debits_pending,
       {debits_posted} as debits_posted,
       {credits_pending} as credits_pending,
       {credits_posted} as credits_posted
  from {tables}.totals;
