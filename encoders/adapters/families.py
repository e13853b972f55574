"""The families of pretrained models: which class reads which, by what the model's own files say.

`config.json` names its model: `model_type` where transformers wrote it, `_class_name` where diffusers
did. Weight files without one are recognised by their names.
"""

from __future__ import annotations

from dataclasses import dataclass

from encoders.spec import Medium


@dataclass(frozen=True)
class Family:
    """Models that one adapter reads."""

    name: str
    medium: Medium
    adapter: str
    """A class of the module `encoders.adapters.NAME`, or of `MODULE:CLASS`."""
    kinds: tuple[str, ...]
    """What models of it call themselves."""
    gives: str
    """For people: what comes out, by default."""

    @property
    def place(self) -> tuple[str, str]:
        """Module and class."""
        module, _, name = self.adapter.rpartition(":")
        return f"encoders.adapters.{module or self.name}", name


FAMILIES = (
    Family("encodec", "sound", "Encodec", ("encodec",), "75 x 8 codes of 1,024 per second (24 kHz)"),
    Family("dac", "sound", "Dac", ("dac",), "50 to 86 x 9 to 32 codes of 1,024 per second"),
    Family("mimi", "sound", "Mimi", ("mimi",), "12.5 x 8 codes of 2,048 per second"),
    Family("xcodec2", "sound", "Xcodec2", ("xcodec2",), "50 codes of 65,536 per second (16 kHz speech)"),
    Family("whisper", "sound", "Whisper", ("whisper",), "a mean vector per second; output=steps: 50"),
    Family("silero_vad", "sound", "SileroVad", ("silero-vad",), "how likely speech is, 31.25 per second"),
    Family("emu3", "pictures", "Emu3", ("emu3_vqgan",), "codes of 32,768, 8 x 8 pixels x 4 frames"),
    Family("vidtok", "pictures", "VidTok", ("AutoencoderVidTok",), "codes, 8 x 8 pixels x 4 frames"),
    Family("cosmos_jit", "pictures", "CosmosJit", ("cosmos-jit",), "codes of 64,000 (DV: TorchScript)"),
    Family("vq_model", "pictures", "Vq", ("VQModel",), "codes of each frame"),
    Family("cosmos", "pictures", "causal_video:Cosmos", ("AutoencoderKLCosmos",), "latents, 16 channels"),
    Family("wan", "pictures", "causal_video:Wan", ("AutoencoderKLWan",), "latents, 16 or 48 channels"),
    Family("ltx", "pictures", "causal_video:Ltx", ("AutoencoderKLLTXVideo",), "latents, 128 channels"),
    Family("taesd", "pictures", "image_latents:Tiny", ("AutoencoderTiny",), "latents of each frame"),
    Family("dc_ae", "pictures", "image_latents:DeepCompression", ("AutoencoderDC",), "latents of each frame"),
    Family("taesd_file", "pictures", "TaesdFile", ("taesd-file",), "latents of each frame"),
    Family("taehv_file", "pictures", "TaehvFile", ("taehv-file",), "latents of 4 frames"),
    Family(
        "siglip", "pictures", "image_embeddings:Siglip", ("siglip", "siglip_vision_model"),
        "a vector per frame; output=patches: all",
    ),
    Family(
        "siglip2", "pictures", "image_embeddings:Siglip2", ("siglip2", "siglip2_vision_model"),
        "a vector per frame; output=patches: all",
    ),
    Family("dinov2", "pictures", "image_embeddings:DinoV2", ("dinov2",), "a vector per frame"),
    Family("dinov3", "pictures", "image_embeddings:DinoV3", ("dinov3_vit",), "a vector per frame"),
    Family("vjepa2", "pictures", "VJepa2", ("vjepa2",), "a vector per 2 frames; output=patches: all"),
)  # fmt: skip


def family_of(kind: str) -> Family | None:
    """Return the family of a model that calls itself so."""
    return next((family for family in FAMILIES if kind in family.kinds), None)
