"""The keyed table of open pending transfers."""

import numpy as np

from tallystick.ledger.compiled import U64, records
from tallystick.ledger.pendings import NO_ROW, PENDING, enter, find_pending, leave, slots_for

HASH = U64(0xABCD_0000_1234)


def test_two_tenants_whose_ids_share_a_hash_find_each_its_own():
    pendings, slots = records(np.zeros(4, PENDING)), np.zeros(slots_for(4), "<u8")
    pendings["id_lo"], pendings["tenant"] = 7, [1, 2, 3, 4]
    enter(slots, HASH, 0)
    enter(slots, HASH, 1)

    def found(tenant, number=7):
        return find_pending(slots, pendings, HASH, U64(tenant), U64(number), U64(0))

    assert [found(1), found(2), found(3)] == [0, 1, NO_ROW]
    assert found(1, 8) == NO_ROW
    leave(slots, HASH, 0)
    assert [found(1), found(2)] == [NO_ROW, 1]
