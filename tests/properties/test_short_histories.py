"""Short histories that Hypothesis makes up and shortens: kernel and model agree, also after a restart.

`test_kernel_and_model` meets more; what fails here can be read.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.lab.model import Model
from tallystick.lab.shard import Shard
from tallystick.records.commands import Kind, Opcode
from tests.properties.random_requests import NOW
from tests.properties.test_kernel_and_model import compare_books, compare_entries, compare_results
from tests.unit.ledger.test_boundaries import request

IDS = st.sampled_from([1, 2, 3, 2**64 + 1, 2**128 - 1, 0])
AMOUNTS = st.sampled_from([0, 1, 2, 2**63, 2**64 - 1, 2**64, 2**127, 2**128 - 1])
TRANSFERS = st.fixed_dictionaries(
    {"id": st.integers(1, 5), "debit_account_id": IDS, "credit_account_id": IDS, "amount": AMOUNTS},
    optional={"user_data_64": st.just(7), "timeout": st.just(1), "flag_bits": st.sampled_from([1, 2])},
)
ACCOUNTS = st.fixed_dictionaries({"id": IDS, "flag_bits": st.sampled_from([0, 2, 4, 6, 8, 32])})
CONTROLS = st.fixed_dictionaries({"account_id": IDS, "opcode": st.sampled_from(Opcode), "value": AMOUNTS})
EVENTS = st.one_of(
    st.tuples(st.just(kind), st.lists(events, min_size=1, max_size=3))
    for kind, events in ((Kind.TRANSFER, TRANSFERS), (Kind.ACCOUNT, ACCOUNTS), (Kind.CONTROL, CONTROLS))
)
REQUESTS = st.tuples(EVENTS, st.integers(1, 6), st.integers(1, 2), st.sampled_from([0, 0, 0, 1]))
HISTORIES = st.lists(st.lists(REQUESTS, min_size=1, max_size=4), min_size=1, max_size=8)


def commands(asked):
    (kind, events), number, tenant, expires_at = asked
    defaults = {} if kind is Kind.CONTROL else {"ledger": 1, "code": 1}
    return request(kind, [{**defaults, **event} for event in events], number, tenant, expires_at)


@settings(max_examples=60)
@given(HISTORIES, st.integers(0, 8))
def test_kernel_and_model_agree_on_histories_of_a_few_requests(history, restart_before):
    shard, model = Shard(), Model()
    opened = [request(Kind.ACCOUNT, [{"id": at, "ledger": 1, "code": 1} for at in (1, 2)], 100, t) for t in (1, 2)]
    for number, batch in enumerate([opened, *([commands(asked) for asked in batch] for batch in history)]):
        if number == restart_before:
            shard.restart()
        now = NOW + number * 1000
        compare_results(batch, shard.decide(batch, now), model.decide(batch, now))
        compare_entries(shard, model)
    compare_books(shard, model)
