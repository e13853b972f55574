"""Which encoders read a medium: `--video frames-dct`, `--video jpeg@quality=90`, `--video A,B`.

    NAME                        an encoder by name, `auto` (the medium's default) or `none`
    NAME@KEY=VALUE,KEY=VALUE    with settings of its own
    NAME,NAME                   several: each track is decoded once, and encoded by all of them

The first encoder's tokens stand under the track's own name; those of a further one under
`TRACK_SLUG`, a track of the layout like any other, that says `of` which track it is. Two settings
are not the encoder's: `fps` (or `hz`), the rate at which it gets the track, and `as`, the slug.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import WrongUse
from ingest.names import LONGEST_TRACK_NAME
from ingest.timing import FASTEST_HZ, fraction_of

if TYPE_CHECKING:
    from encoders import Encoder, TokenSpec

OPTIONS = {"pictures": "--video", "depth": "--depth", "sound": "--audio", "signal": "--signals"}
LONGEST_SLUG = 20
_BETWEEN = re.compile(r",(?!\w+=)")
_SETTINGS = re.compile(r"@(\w+=[^,@]*(?:,\w+=[^,@]*)*)$")
_SLUG = re.compile(rf"[a-z0-9_]{{1,{LONGEST_SLUG}}}")


@dataclass(frozen=True)
class EncoderChoice:
    """One encoder that is wanted for a medium. Checked when made."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    rate: Fraction | None = None
    """Frames or rows per second that it gets; None: those of the medium."""
    slug: str = ""
    """What its tracks' names end in, where it is not the first; empty: from its name."""

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate <= FASTEST_HZ:
            raise WrongUse(
                f"encoder {self.name}: a rate must be more than 0 and at most {FASTEST_HZ}, got {self.rate}"
            )
        if self.slug and not _SLUG.fullmatch(self.slug):
            raise WrongUse(
                f"encoder {self.name}: as={self.slug!r} must be lower-case letters, digits and _, "
                f"at most {LONGEST_SLUG}"
            )

    @classmethod
    def parse(cls, text: str) -> EncoderChoice:
        """Read `NAME[@KEY=VALUE,...]`."""
        found = _SETTINGS.search(text)
        name = text[: found.start()] if found else text
        if not name.strip():
            raise WrongUse(f"{text!r} names no encoder; see: fifth encoders")
        pairs = dict(pair.split("=", 1) for pair in found[1].split(",")) if found else {}
        rate = pairs.pop("fps", None) or pairs.pop("hz", None)
        slug = pairs.pop("as", "")
        try:
            exact = fraction_of(rate) if rate else None
        except ValueError:
            raise WrongUse(f"{text!r}: {rate!r} is no rate such as 8 or 30000/1001") from None
        return cls(name.strip(), {key: _value(value) for key, value in pairs.items()}, exact, slug)


def parse_choices(text: str) -> tuple[EncoderChoice, ...]:
    """Read a list of encoders; empty for `none`.

    >>> [choice.name for choice in parse_choices("jpeg@quality=90,size=128,frames-dct")]
    ['jpeg', 'frames-dct']
    """
    if text == "none":
        return ()
    return tuple(EncoderChoice.parse(part) for part in _BETWEEN.split(text))


def _value(text: str) -> Any:
    """Return a setting's value: a number where it reads as one."""
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d*\.\d+", text) else text


def resolve_choices(
    text: str, medium: str, device: str, usual_size: int, further: bool = False
) -> list[dict[str, Any]]:
    """Load the encoders that are asked for, and return what the configuration stores of each.

    Args:
        text: what the option was given.
        medium: of the tracks.
        device: where they shall work.
        usual_size: edge of pictures for encoders that take any.
        further: whether there is a first one already, so that all of these have slugs.

    Returns:
        Per encoder `slug` ("" for the first), `rate` ("" for the medium's) and `spec`.

    Raises:
        WrongUse: an encoder that can't be used, or takes another medium.
    """
    found: list[dict[str, Any]] = []
    for choice in parse_choices(text):
        spec = _load(choice, medium, device, usual_size).spec
        size = spec.input.size
        if size and size[0] != size[1]:
            raise WrongUse(
                f"{OPTIONS[medium]} {choice.name}: a dataset's pictures are square, got size {list(size)}"
            )
        if choice.rate is not None and medium == "sound":
            raise WrongUse(f"--audio {choice.name}: its rate is {spec.input.rate} Hz and can't be chosen")
        taken = {entry["slug"] for entry in found}
        rate = "" if choice.rate is None else f"{choice.rate.numerator}/{choice.rate.denominator}"
        slug = _slug(choice, spec, taken) if found or further else ""
        found.append({"slug": slug, "rate": rate, "spec": spec.to_json()})
    return found


def model_places(texts: Sequence[str]) -> list[Path]:
    """Return where the pretrained models are that these options name: for workers, never stored."""
    from encoders import model_place

    choices = [choice for text in texts for choice in parse_choices(text)]
    places = [model_place(choice.name, str(choice.settings.get("revision", ""))) for choice in choices]
    return [place for place in places if place is not None]


@contextmanager
def models_within_reach(places: Sequence[Path]) -> Iterator[None]:
    """Let this process, and those that it starts, find the models in these places by their weights."""
    from encoders.registry import MODELS_VARIABLE

    before = os.environ.get(MODELS_VARIABLE)
    known = [*(str(place.resolve()) for place in places), *([before] if before else [])]
    if known:
        os.environ[MODELS_VARIABLE] = os.pathsep.join(known)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(MODELS_VARIABLE, None)
        else:
            os.environ[MODELS_VARIABLE] = before


def _load(choice: EncoderChoice, medium: str, device: str, usual_size: int) -> Encoder:
    from encoders import EncodersError, default_encoder, load_encoder, medium_of

    option = OPTIONS[medium]
    try:
        name = default_encoder(medium) if choice.name == "auto" else choice.name  # type: ignore[arg-type]
        if medium_of(name) != medium:
            raise WrongUse(f"{option}: encoder {name!r} takes {medium_of(name)}, not {medium}")
        return load_encoder(name, device, usual_size=usual_size, **choice.settings)
    except EncodersError as error:
        raise WrongUse(f"{option}: {error}") from error


def _slug(choice: EncoderChoice, spec: TokenSpec, taken: set[str]) -> str:
    """Return a short name for a further encoder's tracks, unlike the others'."""
    words = choice.slug or str(spec.settings.get("family", "")) or spec.encoder
    slug = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:LONGEST_SLUG].strip("_") or "encoder"
    if slug not in taken:
        return slug
    mark = hashlib.sha256(repr((spec.encoder, sorted(spec.settings.items()))).encode()).hexdigest()[:6]
    marked = f"{slug[: LONGEST_SLUG - 7]}_{mark}"
    if marked in taken:
        raise WrongUse(f"encoder {choice.name!r} is given twice with the same settings")
    return marked


def name_for(track: str, slug: str, taken: set[str]) -> str:
    """Return the name of a track as a further encoder's: `video_siglip`; at most 40 characters.

    >>> name_for("video", "siglip", set()), name_for("video", "", set())
    ('video_siglip', 'video')
    """
    if not slug:
        return track
    name = f"{track}_{slug}"
    if len(name) > LONGEST_TRACK_NAME or name in taken:
        mark = hashlib.sha256(name.encode()).hexdigest()[:6]
        name = f"{name[: LONGEST_TRACK_NAME - 7]}_{mark}"
    return name
