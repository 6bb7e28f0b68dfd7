import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.simulated import Fault, SimulatedDisk
from tallystick.engine import idprobes
from tallystick.engine.idindex import IdIndex
from tallystick.errors import Unavailable
from tallystick.ledger import compiled, windows
from tallystick.ledger.compiled import U64
from tests.unit.engine.id_model import KEY, TENANT, Model, columns, digest, ordered_ids, random_ids

FOLDER = Path("/data/ids")
ROOT = Path(__file__).parents[3]
interpreted = bool(compiled.config.DISABLE_JIT)


def model_in_files(tmp_path, **changes):
    return Model(SystemDisk(), tmp_path / "ids", **changes)


@pytest.mark.parametrize("window_ids", [16, 33, 64])
@pytest.mark.parametrize("steps", [0, 3, None], ids=["background late", "background slow", "background idle"])
def test_every_id_ever_put_is_found_for_ever_at_its_position(window_ids, steps):
    random = Random(window_ids)
    model = Model(window_ids=window_ids)
    while model.rotations < 75:
        model.put(random_ids(random, random.randrange(1, 40)))
        model.step(steps)
    model.check()
    model.step()
    model.check()
    assert max(model.levels()) == 2
    assert all(model.levels().count(level) < 8 for level in range(3))


def test_an_id_that_was_never_put_is_found_nowhere():
    random = Random(1)
    model = Model()
    for _ in range(60):
        model.put(random_ids(random, 16))
    model.step()
    assert model.found(random_ids(random, 2_000)) == set()


def test_an_id_put_twice_is_found_at_both_positions():
    random = Random(2)
    model = Model()
    twice = random_ids(random, 3)
    for _ in range(20):
        model.put([*twice, *random_ids(random, 13)])
    model.step()
    model.check()


def test_more_candidates_than_ids_are_all_given():
    number = 5
    model = Model()
    for _ in range(1_100):
        model.put([number] * 8)
        model.step(2)
    model.step()
    assert model.found([number]) == {(number, position) for position in range(8_800)}


def test_only_masked_ids_are_looked_for():
    model = Model()
    ids = random_ids(Random(3), 40)
    for begin in range(0, 40, 8):
        model.put(ids[begin : begin + 8])
    model.step()
    lo, hi = columns(ids)
    mask = np.arange(40) % 4 == 0
    which, positions = model.index.candidates(model.index.hashes(TENANT, lo, hi), lo, hi, mask)
    assert set(which.tolist()) == set(range(0, 40, 4))
    assert set(positions.tolist()) == set(range(0, 40, 4))


def test_columns_that_are_strided_or_read_only_are_taken():
    model = Model()
    ids = random_ids(Random(4), 16)
    model.put(ids)
    pairs = np.stack(columns(ids), axis=1)
    pairs.setflags(write=False)
    lo, hi = pairs[:, 0], pairs[:, 1]
    which, _ = model.index.candidates(model.index.hashes(TENANT, lo, hi), lo, hi, np.ones(16, bool))
    assert sorted(which.tolist()) == list(range(16))


def test_new_time_ordered_ids_reach_no_run():
    random = Random(5)
    model = Model()
    for block in range(60):
        model.put(ordered_ids(random, 16, block * 16))
    model.step()
    bounds = np.array([label.bounds for label in model.index.runs])
    lo, hi = columns(ordered_ids(random, 100, 10_000))
    reached = np.zeros(len(bounds), bool)
    assert len(bounds) >= 8
    assert idprobes.reach(bounds, lo, hi, np.ones(100, bool), reached) == 0
    assert not reached.any()


def test_a_range_that_too_few_ids_were_noted_for_is_not_believed():
    index = IdIndex(KEY, 16)
    ids = random_ids(Random(6), 20)
    lo, hi = columns(ids)
    hashes = index.hashes(TENANT, lo, hi)
    for position, hashed in enumerate(hashes):
        windows.put(index.current, hashed, U64(position))
    index.note(lo, hi, np.arange(20) < 2)
    for upto in (20, 21, 22):
        index.rotate(upto)
    which, _ = index.candidates(hashes, lo, hi, np.ones(20, bool))
    assert sorted(which.tolist()) == list(range(20))


def test_an_index_starts_with_the_runs_of_its_folder(tmp_path):
    random = Random(7)
    model = model_in_files(tmp_path)
    for _ in range(50):
        model.put(random_ids(random, 16))
        model.step(4)
    model.step()
    before = model.index.covered
    assert model.reopen() == before > 0
    model.check()


def test_a_replay_from_far_below_what_the_runs_cover_loses_and_doubles_nothing(tmp_path):
    random = Random(8)
    model = model_in_files(tmp_path)
    for _ in range(50):
        model.put(random_ids(random, 16))
    model.step()
    covered = model.start()
    model.replay(0)
    model.check()
    for _ in range(6):
        model.put(random_ids(random, 16))
    model.step()
    model.check()
    labels = model.index.runs
    assert [label.stop for label in labels[:-1]] == [label.first for label in labels[1:]]
    assert sum(label.count for label in labels) == labels[-1].stop > covered


@settings(max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("random"), st.integers(1, 30)),
            st.tuples(st.just("ordered"), st.integers(1, 30)),
            st.tuples(st.just("backdated"), st.integers(1, 30)),
            st.tuples(st.just("again"), st.integers(1, 5)),
            st.tuples(st.just("step"), st.integers(1, 12)),
            st.tuples(st.just("kill"), st.just(0)),
            st.tuples(st.just("cut"), st.just(0)),
        ),
        min_size=20,
        max_size=120,
    ),
    st.integers(16, 40),
    st.integers(0, 2**32),
)
def test_an_index_agrees_with_a_dict_whatever_happens(actions, window_ids, seed):
    random = Random(seed)
    model = Model(SimulatedDisk(seed), FOLDER, window_ids=window_ids)
    for action, count in actions:
        if action == "random":
            model.put(random_ids(random, count))
        elif action == "ordered":
            model.put(ordered_ids(random, count, 1_000_000 + len(model.put_at)))
        elif action == "backdated":
            model.put(ordered_ids(random, count, random.randrange(1_000_000)))
        elif action == "again" and model.put_at:
            model.put(random.choices(model.put_at, k=count))
        elif action == "step":
            model.step(count)
        elif action == "kill":
            model.reopen(model.disk.kill())
        elif action == "cut":
            model.reopen(model.disk.cut())
    model.check()


@pytest.mark.parametrize("fault", [Fault.CREATE_FULL, Fault.WRITE_FULL])
def test_a_full_disk_in_the_background_leaves_the_work_to_be_done(fault):
    model = Model(SimulatedDisk(1), FOLDER)
    random = Random(9)
    model.put(random_ids(random, 20))
    model.put(random_ids(random, 20))
    model.disk.inject(fault)
    with pytest.raises(Unavailable):
        model.step()
    model.check()
    model.step()
    assert model.index.covered == 20
    model.check()


def test_a_rotation_that_fails_can_be_tried_again():
    model = Model(SimulatedDisk(1), FOLDER)
    random = Random(10)
    model.put(random_ids(random, 20))
    model.rotate(20)
    model.put(random_ids(random, 20))
    model.disk.inject(Fault.WRITE_FULL)
    with pytest.raises(Unavailable):
        model.rotate(40)
    model.check()
    model.rotate(40)
    model.check()
    assert model.index.covered == 20


def test_a_thread_may_step_while_the_loop_puts_and_asks(tmp_path):
    random = Random(11)
    model = model_in_files(tmp_path)
    stop = threading.Event()
    failed = []

    def background():
        try:
            while not stop.is_set():
                model.index.step()
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=background)
    thread.start()
    try:
        for block in range(300):
            model.put(random_ids(random, 16))
            if block % 20 == 0:
                model.check()
    finally:
        stop.set()
        thread.join()
    assert not failed
    model.step()
    model.check()
    assert max(model.levels()) >= 1


@pytest.mark.skipif(interpreted, reason="nothing is compiled")
def test_a_warmed_engine_has_compiled_all_that_an_index_in_files_ever_calls():
    """In a process of its own: where tests have run, more is compiled."""
    life = """
        from pathlib import Path
        from random import Random
        from tallystick.blockfile.simulated import SimulatedDisk
        from tallystick.compose.warm import warm
        from tallystick.engine import bloom, idprobes, idsorting
        from tests.unit.engine.id_model import Model, ordered_ids, random_ids

        def signatures():
            functions = [f for module in (bloom, idprobes, idsorting) for f in vars(module).values()]
            return {f: len(f.signatures) for f in functions if hasattr(f, "signatures")}

        warm()
        warmed = signatures()
        random = Random(12)
        model = Model(SimulatedDisk(1), Path("/data/ids"))
        for block in range(40):
            model.put(random_ids(random, 16) if block % 2 else ordered_ids(random, 16, block))
            model.step(5)
        model.step()
        model.reopen()
        model.check()
        assert signatures() == warmed
        """
    answer = subprocess.run([sys.executable, "-c", textwrap.dedent(life)], cwd=ROOT, capture_output=True)
    assert answer.returncode == 0, answer.stderr.decode()


def test_compiled_and_interpreted_code_agree():
    script = "from tests.unit.engine.id_model import digest; print(digest())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    answer = subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, check=True)
    assert answer.stdout.decode().strip() == digest()
