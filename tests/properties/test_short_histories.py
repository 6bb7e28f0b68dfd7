"""Short histories that Hypothesis makes up and shortens: kernel and model agree, also after a restart.

`test_kernel_and_model` meets more; what fails here can be read, and run again with `agreeing.rerun`.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.records.commands import Kind, Opcode
from tests.properties import agreeing
from tests.properties.random_requests import NOW, SECOND

IDS = st.sampled_from([1, 2, 3, 2**64 + 1, 2**128 - 1, 0])
TRANSFER_IDS = st.integers(1, 6)
AMOUNTS = st.sampled_from([0, 1, 2, 2**63, 2**64 - 1, 2**64, 2**127, 2**128 - 1])
FLAGS = st.sampled_from([0, 0, 1, 2, 2, 3, 16, 32, 18, 34, 66, 130, 194, 256, 258])
TRANSFERS = st.fixed_dictionaries(
    {"id": TRANSFER_IDS, "debit_account_id": IDS, "credit_account_id": IDS, "amount": AMOUNTS, "flag_bits": FLAGS},
    optional={
        "user_data_64": st.just(7),
        "timeout": st.sampled_from([1, 1, 2, 2**32 - 1]),
        "timestamp": st.integers(1, 12),
    },
)
PLAIN = st.fixed_dictionaries(
    {
        "id": TRANSFER_IDS,
        "debit_account_id": st.sampled_from([1, 2]),
        "credit_account_id": st.sampled_from([1, 2, 3]),
        "amount": st.sampled_from([1, 2, 3, 2**127]),
        "flag_bits": st.sampled_from([0, 1, 2, 2, 3, 66]),
    },
    optional={"timeout": st.just(1)},
)
RESOLVING = st.fixed_dictionaries(
    {
        "id": TRANSFER_IDS,
        "pending_id": TRANSFER_IDS,
        "amount": st.sampled_from([0, 1, 2, 2**128 - 1]),
        "flag_bits": st.sampled_from([4, 4, 8, 8, 5, 9, 12, 260]),
    },
    optional={"debit_account_id": IDS, "user_data_64": st.just(7), "timestamp": st.integers(1, 12)},
)
ACCOUNTS = st.fixed_dictionaries(
    {"id": IDS, "flag_bits": st.sampled_from([0, 1, 2, 4, 6, 8, 16, 17, 32])},
    optional={"timestamp": st.integers(1, 12)},
)
CONTROLS = st.fixed_dictionaries(
    {"opcode": st.sampled_from(Opcode), "value": st.one_of(TRANSFER_IDS, AMOUNTS)},
    optional={"account_id": IDS, "flag_bits": st.just(1)},
)
EVENTS = st.one_of(
    st.tuples(st.just(kind), st.lists(events, min_size=1, max_size=5))
    for kind, events in (
        (Kind.TRANSFER, st.one_of(TRANSFERS, PLAIN, RESOLVING)),
        (Kind.TRANSFER, st.one_of(PLAIN, RESOLVING)),
        (Kind.ACCOUNT, ACCOUNTS),
        (Kind.CONTROL, CONTROLS),
    )
)
REQUESTS = st.tuples(EVENTS, st.integers(1, 6), st.integers(1, 2), st.sampled_from([0, 0, 0, 1]))
WAITS = st.one_of(st.just(1000), st.integers(SECOND - 30, SECOND + 1), st.just(3 * SECOND))
HISTORIES = st.lists(st.tuples(WAITS, st.lists(REQUESTS, max_size=4)), min_size=1, max_size=8)
OPENED = [(Kind.ACCOUNT, tenant, 100, 0, [{"id": at, "ledger": 1, "code": 1} for at in (1, 2)]) for tenant in (1, 2)]


def asked(request):
    """A request as `rerun` takes it."""
    (kind, events), number, tenant, expires_at = request
    fields = ("ledger", "code") if kind is not Kind.CONTROL else ()
    plain = dict.fromkeys(fields, 1)
    return (
        kind,
        tenant,
        number,
        expires_at,
        [{**plain, **event} if "pending_id" not in event else event for event in events],
    )


@settings(max_examples=120)
@given(HISTORIES, st.sampled_from([0, 0, 1, 2]))
def test_kernel_and_model_agree_on_histories_of_a_few_requests(history, restart_every):
    now, batches = NOW, [(NOW, OPENED)]
    for wait, requests in history:
        now += wait
        batches.append((now, [asked(request) for request in requests]))
    agreeing.rerun(batches, restart_every=restart_every)
