"""The batch plan: each item once per epoch, little padding, equal in all processes."""

from hypothesis import given
from hypothesis import strategies as st

from tagalong.training.loop.batch_plan import plan_epoch_batches

LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=300)


@given(lengths=LENGTHS, budget=st.integers(100, 2000), epoch=st.integers(0, 5))
def test_epoch_has_every_item_once(lengths, budget, epoch):
    batches = plan_epoch_batches(lengths, max_batch_tokens=budget, seed=1, epoch=epoch)
    assert sorted(item for batch in batches for item in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[item] for item in batch) <= budget


@given(lengths=LENGTHS, processes=st.integers(1, 5))
def test_processes_have_equally_many_steps(lengths, processes):
    batches = plan_epoch_batches(
        lengths, max_batch_tokens=800, seed=1, epoch=0, num_processes=processes
    )
    assert len(batches) % processes == 0
    assert {item for batch in batches for item in batch} == set(range(len(lengths)))


def test_order_depends_on_epoch_and_seed():
    lengths = [10 + item % 37 for item in range(500)]
    plans = [
        plan_epoch_batches(lengths, max_batch_tokens=512, seed=seed, epoch=epoch)
        for seed in (1, 2)
        for epoch in (0, 1)
    ]
    assert len({str(plan) for plan in plans}) == 4
    assert plans[0] == plan_epoch_batches(lengths, max_batch_tokens=512, seed=1, epoch=0)


def test_batches_have_little_padding():
    lengths = [5 + (item * 7919) % 200 for item in range(3000)]
    batches = plan_epoch_batches(lengths, max_batch_tokens=1024, seed=0, epoch=0)
    padded = sum(len(batch) * max(lengths[item] for item in batch) for batch in batches)
    assert sum(lengths) / padded > 0.95  # random batches waste almost half
