"""Draws are dealt to rows evenly, completely, and by the weights."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shards.streaming.dealing import Dealer, Shares, lane_position

COUNTS = st.integers(1, 200)
BATCHES = st.integers(1, 17)
WEIGHTS = st.lists(st.integers(0, 9).map(Fraction), min_size=2, max_size=5).filter(any)


@given(COUNTS, BATCHES)
def test_lanes_cover_an_order_once(count: int, lanes: int) -> None:
    """Each place is met once, and the draws of one lane follow each other."""
    draws = np.arange(count)
    places = lane_position(draws, count, lanes)
    assert sorted(places.tolist()) == list(range(count))
    for lane in range(min(lanes, count)):
        assert (np.diff(places[lane::lanes]) == 1).all()


@given(COUNTS, BATCHES, st.booleans(), st.integers(1, 3))
def test_an_epoch_deals_every_item_once(count: int, batch: int, drop_last: bool, epochs: int) -> None:
    """Without drop_last every item comes once per epoch, and only an epoch's last batch has empty rows."""
    dealer = Dealer((count,), batch, 0, None, True, drop_last)
    per_epoch = dealer.steps_per_epoch
    if not per_epoch:
        assert drop_last
        assert count < batch
        return
    draws, after = dealer.deal(0, per_epoch * epochs, 1, [0])
    for epoch in range(epochs):
        mine = draws.position[epoch * per_epoch : (epoch + 1) * per_epoch]
        dealt = count // batch * batch if drop_last else count
        assert sorted(mine[mine >= 0].tolist()) == list(range(dealt))
        assert (mine[:-1] >= 0).all()
        assert draws.epoch[epoch * per_epoch :][:per_epoch][mine >= 0].tolist() == [epoch] * dealt
    assert after[:, 0].tolist() == [dealer.taken_before(step + 1)[0] for step in range(len(after))]
    assert after[:, 0].tolist() == (draws.dataset == 0).sum(1).cumsum().tolist()


@given(COUNTS, BATCHES, st.integers(1, 40))
def test_endless_epochs_follow_each_other_without_a_gap(count: int, batch: int, steps: int) -> None:
    """No row is empty, and every item has come k times before one comes k + 1 times."""
    draws, after = Dealer((count,), batch, 0, None, False).deal(0, steps, 1, [0])
    flat = [*zip(draws.epoch.reshape(-1).tolist(), draws.position.reshape(-1).tolist(), strict=True)]
    assert len(set(flat)) == len(flat)
    assert [epoch for epoch, _ in flat] == [number // count for number in range(len(flat))]
    assert after[-1, 0] == len(flat)


@given(WEIGHTS, BATCHES, st.integers(1, 30))
def test_a_mix_never_strays_from_its_weights(weights: list[Fraction], batch: int, steps: int) -> None:
    """After every step each dataset has its share of all draws, to within one draw per other dataset."""
    shares = Shares([(0, weights)], batch)
    taken = [0] * len(weights)
    for step in range(steps):
        counts = shares.counts(step, taken)
        assert sum(counts) == batch
        taken = [before + count for before, count in zip(taken, counts, strict=True)]
        for count, weight in zip(taken, weights, strict=True):
            wanted = weight / sum(weights) * batch * (step + 1)
            assert abs(count - wanted) < len(weights)
            assert not (weight == 0 and count)


@given(WEIGHTS, st.data())
def test_a_schedule_holds_from_its_step_on(weights: list[Fraction], data: st.DataObject) -> None:
    """What is drawn follows the sum of what was owed in every step, over the change."""
    other = data.draw(st.permutations(weights))
    change, batch, steps = data.draw(st.integers(1, 9)), 8, 20
    shares = Shares([(0, weights), (change, other)], batch)
    taken = [0] * len(weights)
    for step in range(steps):
        counts = shares.counts(step, taken)
        now = weights if step < change else other
        assert not any(count for count, weight in zip(counts, now, strict=True) if not weight)
        taken = [before + count for before, count in zip(taken, counts, strict=True)]
    assert sum(taken) == batch * steps


@given(st.lists(st.integers(1, 50), min_size=2, max_size=4), BATCHES, st.integers(0, 12), st.integers(1, 4))
def test_a_mix_can_begin_anywhere(counts: list[int], batch: int, start: int, every: int) -> None:
    """Dealing from a later step, or only every n-th, gives what dealing all from the start gives."""
    weights = [Fraction(number + 1) for number in range(len(counts))]
    dealer = Dealer(tuple(counts), batch, 3, Shares([(0, weights)], batch), by_epoch=False)
    whole, after = dealer.deal(0, start + 3 * every, 1, [0] * len(counts))
    some, later = dealer.deal(start, 3, every, dealer.taken_before(start))
    chosen = slice(start, start + 3 * every, every)
    assert some.dataset.tolist() == whole.dataset[chosen].tolist()
    assert some.position.tolist() == whole.position[chosen].tolist()
    assert some.epoch.tolist() == whole.epoch[chosen].tolist()
    assert later.tolist() == after[chosen].tolist()
    for number, count in enumerate(counts):  # each dataset is gone through in whole passes
        mine = whole.dataset == number
        pairs = [*zip(whole.epoch[mine].tolist(), whole.position[mine].tolist(), strict=True)]
        assert len(set(pairs)) == len(pairs)
        assert sorted(epoch for epoch, _ in pairs) == [k // count for k in range(len(pairs))]
