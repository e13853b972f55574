"""The process that encodes for all workers: the same tokens, whoever shares it, whoever dies."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_runs import hashes
from test_pipeline import SETTINGS, videos  # noqa: F401

from encoders import ClipEncoder, Encoder, TokenSpec, encode_clip, encoder_for, load_encoder
from ingest.encoder_client import SLOTS, EncoderLink, abstract
from ingest.encoder_process import EncoderProcess
from ingest.encoder_slots import SlotRing, slot_rows
from ingest.errors import EncoderLost, IngestError, WrongUse
from ingest.pipeline import Listener, shard_recordings

BUDGET_BYTES = 4 << 20


@pytest.fixture(scope="module")
def process() -> Any:
    with EncoderProcess("cpu") as process:
        yield process


def frames_encoder() -> Encoder:
    return load_encoder("frames-dct", size=64)


def frames(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)


def test_slots_do_not_overlap() -> None:
    """What is written to one part of one slot is read there, by another mapping too, and nowhere else."""
    spec = frames_encoder().spec
    ours = SlotRing(spec, rows=2, count=3)
    theirs = SlotRing(spec, rows=2, count=3, descriptor=os.dup(ours.descriptor))
    for slot in range(3):
        ours.batch(slot)[:] = slot + 1
        ours.tokens(slot)[:] = slot + 11
        ours.saturated(slot)[:] = slot + 21
    for slot in range(3):
        assert np.unique(theirs.batch(slot).numpy()).tolist() == [slot + 1]
        assert np.unique(theirs.tokens(slot)).tolist() == [slot + 11]
        assert theirs.saturated(slot).tolist() == [slot + 21] * 2


def test_slots_refuse_what_has_no_fixed_length_and_other_memory() -> None:
    """Bytes have no slots; memory of another size than described is refused before it is touched."""
    with pytest.raises(ValueError, match="jpeg makes bytes of any length"):
        SlotRing(load_encoder("jpeg", size=64).spec, 1, 1)
    spec = frames_encoder().spec
    ours = SlotRing(spec, rows=2, count=3)
    with pytest.raises(ValueError, match=r"shared memory of .* bytes: not 4 slots of 2 rows"):
        SlotRing(spec, rows=2, count=4, descriptor=ours.descriptor)


@pytest.mark.parametrize(("budget_bytes", "rows"), [(0, 1), (3 * 3 * 64 * 64 * 5, 5), (1 << 40, 512)])
def test_slots_keep_to_the_budget(budget_bytes: int, rows: int) -> None:
    """As many rows as the budget has room for in all slots, at most a launch, at least one."""
    assert slot_rows(frames_encoder().spec, budget_bytes, SLOTS) == rows


def test_tokens_are_those_of_an_encoder_here(process: EncoderProcess) -> None:
    """Clips of any length, through slots smaller and larger than they are, come back as if encoded here."""
    encoder = frames_encoder()
    for budget_bytes in (0, BUDGET_BYTES):
        with EncoderLink(process.address, budget_bytes) as link:
            launches: ClipEncoder[int] = ClipEncoder(link.encoder(encoder.spec))
            clips = [frames(count, count) for count in (3, 0, 1, 17, 8)]
            done = [item for tag, clip in enumerate(clips) for item in launches.add(tag, clip)]
            done += launches.flush()
        assert [tag for tag, _ in done] == [0, 1, 2, 3, 4]
        for (_, tokens), clip in zip(done, clips, strict=True):
            assert np.array_equal(tokens.tokens, encode_clip(encoder, clip).tokens)
            assert tokens.valid == len(clip)


def test_workers_that_share_it_do_not_meet(process: EncoderProcess) -> None:
    """Several workers at once, each with sound and pictures, get their own tokens."""
    pictures, sound = frames_encoder(), load_encoder("sound-mdct")
    problems: list[str] = []

    def work(seed: int) -> None:
        clip = frames(9, seed)
        noise = torch.rand((1, 20_000), generator=torch.Generator().manual_seed(seed)) - 0.5
        with EncoderLink(process.address, BUDGET_BYTES) as link:
            for encoder, media in ((pictures, clip), (sound, noise)) * 2:
                launches: ClipEncoder[int] = ClipEncoder(link.encoder(encoder.spec))
                got = [*launches.add(0, media), *launches.flush()][0][1]
                if not np.array_equal(got.tokens, encode_clip(encoder, media).tokens):
                    problems.append(f"{seed}: {encoder.spec.encoder}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    figures = process.figures()
    assert figures["launches"] > 0
    assert figures["rows"] >= 4 * 2 * 9


def test_what_saturates_comes_back(process: EncoderProcess) -> None:
    """Counts of saturated values cross the border too."""
    encoder = load_encoder("mulaw-256")
    loud = torch.full((1, 20_000), 3.0)
    with EncoderLink(process.address, BUDGET_BYTES) as link:
        launches: ClipEncoder[int] = ClipEncoder(link.encoder(encoder.spec))
        got = [*launches.add(0, loud), *launches.flush()][0][1]
    assert got.saturated == encode_clip(encoder, loud).saturated == 20_000


def test_a_worker_that_dies_leaves_the_others_alone(process: EncoderProcess) -> None:
    """A worker that goes away in the middle of its rows costs nobody else's."""
    encoder = frames_encoder()
    with EncoderLink(process.address, BUDGET_BYTES) as gone:
        launcher = gone.encoder(encoder.spec)
        launcher.start(launcher.buffer(torch.device("cpu")), 4)
    with EncoderLink(process.address, BUDGET_BYTES) as link:
        launches: ClipEncoder[int] = ClipEncoder(link.encoder(encoder.spec))
        got = [*launches.add(0, frames(5, 5)), *launches.flush()][0][1]
    assert np.array_equal(got.tokens, encode_clip(encoder, frames(5, 5)).tokens)


def test_what_it_cannot_build_is_said(process: EncoderProcess) -> None:
    """An encoder of another revision is refused there as here, in the same words, and the process goes on."""
    data = frames_encoder().spec.to_json() | {"revision": 99}
    with (
        EncoderLink(process.address, BUDGET_BYTES) as link,
        pytest.raises(IngestError, match=r"the encoder process: frames-dct: .* revision 99"),
    ):
        link.encoder(TokenSpec.from_json(data))
    with EncoderLink(process.address, BUDGET_BYTES) as link:
        link.encoder(frames_encoder().spec)


def test_a_lost_process_is_said_and_can_be_started_anew() -> None:
    """Whoever waits for a process that was killed hears of it; its parent starts another one."""
    with EncoderProcess("cpu") as process:
        encoder = frames_encoder()
        with EncoderLink(process.address, BUDGET_BYTES) as link:
            launches: ClipEncoder[int] = ClipEncoder(link.encoder(encoder.spec))
            process.close()
            with pytest.raises(EncoderLost, match="the encoder process has ended"):
                [*launches.add(0, frames(5, 5)), *launches.flush()]
        with pytest.raises(EncoderLost, match="can't be reached"):
            EncoderLink(process.address, BUDGET_BYTES)
        assert process.ensure()
        assert not process.ensure()
        with EncoderLink(process.address, BUDGET_BYTES) as link:
            link.encoder(encoder.spec)


def test_nothing_but_json_is_believed(process: EncoderProcess) -> None:
    """What is no message ends that connection, and no other."""
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(abstract(process.address))
        stranger.sendall(b"\x00\x00\x00\x04\x80\x04N.")
        stranger.settimeout(30)
        assert stranger.recv(1) == b""
    assert process.figures()["device"] == "cpu"


def test_a_dataset_has_the_same_bytes(videos: Path, tmp_path: Path) -> None:  # noqa: F811
    """Wherever the encoding happens, the dataset is the same."""
    shard_recordings([videos], tmp_path / "here", SETTINGS, workers=0)
    run = shard_recordings([videos], tmp_path / "there", SETTINGS, workers=1, encode_in="process")
    assert hashes(tmp_path / "here") == hashes(tmp_path / "there")
    (figures,) = run.encoder_processes
    assert figures["device"] == "cpu"
    assert figures["launches"] > 0


def test_a_lost_process_costs_a_run_nothing(
    videos: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tasks whose encoder process was killed are tried again with a new one: the same bytes."""
    shard_recordings([videos], tmp_path / "whole", SETTINGS, workers=0)
    ensure = EncoderProcess.ensure
    killed: list[EncoderProcess] = []

    def ensure_and_kill(process: EncoderProcess) -> bool:
        started = ensure(process)
        if not killed:
            killed.append(process)
            process.close()
        return started

    monkeypatch.setattr(EncoderProcess, "ensure", ensure_and_kill)
    heard: list[str] = []

    class Ear(Listener):
        def say(self, line: str) -> None:
            heard.append(line)

    run = shard_recordings(
        [videos], tmp_path / "killed", SETTINGS, workers=1, encode_in="process", listener=Ear()
    )
    assert run.unfinished == []
    assert any("the encoder process can't be reached" in line and "tried again" in line for line in heard)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")


def test_frames_of_the_gpus_decoder_stay_in_their_worker() -> None:
    """Nvdec and a process of its own don't go together, and it is said."""
    from ingest.configuration import Configuration
    from ingest.encoder_process import devices_for

    nvdec = Configuration({"decoder": "nvdec"})
    assert devices_for("auto", "cuda", nvdec) == []
    assert devices_for("auto", "cpu", Configuration({"decoder": "av"})) == []
    assert devices_for("process", "cpu", Configuration({"decoder": "av"})) == ["cpu"]
    with pytest.raises(WrongUse, match="--decoder nvdec encodes in its workers"):
        devices_for("process", "cuda", nvdec)


def test_encoders_are_rebuilt_from_their_spec() -> None:
    """What the border carries is enough to build the encoder again."""
    spec = frames_encoder().spec
    assert encoder_for(TokenSpec.from_json(spec.to_json())).spec == spec
