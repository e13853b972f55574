"""Tiny models with random weights, saved as their libraries save real ones: a folder per family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SEED = 5


def transformers() -> Any:
    return pytest.importorskip("transformers", reason="pip install 'fifth[hf]'")


def diffusers() -> Any:
    return pytest.importorskip("diffusers", reason="pip install 'fifth[hf]'")


def _random_codebooks(model: torch.nn.Module) -> torch.nn.Module:
    """Spread out the codebooks that a library begins with zeros: else every code is the same."""
    for name, buffer in model.named_buffers():
        if name.endswith(("codebook.embed", "codebook.embed_sum")):
            buffer.normal_()
    return model


def encodec(folder: Path) -> None:
    t = transformers()
    config = t.EncodecConfig(num_filters=4, hidden_size=16, codebook_size=16, num_lstm_layers=1)
    _random_codebooks(t.EncodecModel(config)).save_pretrained(folder)  # type: ignore[operator]


def dac(folder: Path) -> None:
    t = transformers()
    config = t.DacConfig(
        encoder_hidden_size=4, decoder_hidden_size=32, downsampling_ratios=[2, 4, 5, 8], n_codebooks=4,
        codebook_size=16,
    )  # fmt: skip
    t.DacModel(config).save_pretrained(folder)


def mimi(folder: Path) -> None:
    t = transformers()
    config = t.MimiConfig(
        num_filters=4, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, codebook_size=16, codebook_dim=16, vector_quantization_hidden_dimension=16,
        upsample_groups=32, num_quantizers=8,
    )  # fmt: skip
    _random_codebooks(t.MimiModel(config)).save_pretrained(folder)  # type: ignore[operator]


def xcodec2(folder: Path) -> None:
    t = transformers()
    semantic = t.Wav2Vec2BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        feature_projection_input_dim=160,
    )  # fmt: skip
    config = t.Xcodec2Config(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, encoder_hidden_size=4, quantization_dim=64,
        semantic_model_config=semantic.to_dict(),
    )  # fmt: skip
    t.Xcodec2Model(config).save_pretrained(folder)


def whisper(folder: Path) -> None:
    t = transformers()
    config = t.WhisperConfig(
        d_model=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=64, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    t.WhisperModel(config).save_pretrained(folder)


def emu3(folder: Path) -> None:
    t = transformers()
    config = t.Emu3VQVAEConfig(
        base_channels=32, channel_multiplier=(1, 1, 1, 1), num_res_blocks=1, codebook_size=64, hidden_size=32
    )
    t.Emu3VQVAE(config).save_pretrained(folder)


def siglip(folder: Path) -> None:
    t = transformers()
    config = t.SiglipVisionConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64,
        patch_size=16,
    )  # fmt: skip
    t.SiglipVisionModel(config).save_pretrained(folder)


def siglip2(folder: Path) -> None:
    t = transformers()
    config = t.Siglip2VisionConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, patch_size=16,
        num_patches=16,
    )  # fmt: skip
    t.Siglip2VisionModel(config).save_pretrained(folder)


def dinov2(folder: Path) -> None:
    t = transformers()
    config = t.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    t.Dinov2Model(config).save_pretrained(folder)


def dinov3(folder: Path) -> None:
    t = transformers()
    config = t.DINOv3ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64,
        patch_size=16, num_register_tokens=4,
    )  # fmt: skip
    t.DINOv3ViTModel(config).save_pretrained(folder)


def vjepa2(folder: Path) -> None:
    t = transformers()
    config = t.VJEPA2Config(
        hidden_size=96, num_hidden_layers=2, num_attention_heads=2, crop_size=64, frames_per_clip=8,
        pred_hidden_size=48, pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    t.VJEPA2Model(config).save_pretrained(folder)


def vidtok(folder: Path) -> None:
    model = diffusers().AutoencoderVidTok(
        ch=16, ch_mult=[1, 2, 2, 2], z_channels=5, double_z=False, num_res_blocks=1, regularizer="fsq",
        codebook_size=32768,
    )  # fmt: skip
    model.save_pretrained(folder)


def vq_model(folder: Path) -> None:
    model = diffusers().VQModel(
        block_out_channels=(16, 16), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, num_vq_embeddings=32, latent_channels=3,
    )  # fmt: skip
    model.save_pretrained(folder)


def cosmos(folder: Path) -> None:
    model = diffusers().AutoencoderKLCosmos(
        encoder_block_out_channels=(16,) * 4, decode_block_out_channels=(16,) * 4, num_layers=1,
        latent_channels=4, latents_mean=None, latents_std=None,
    )  # fmt: skip
    model.save_pretrained(folder)


def wan(folder: Path) -> None:
    model = diffusers().AutoencoderKLWan(
        base_dim=8, z_dim=4, num_res_blocks=1, latents_mean=[0.5] * 4, latents_std=[2.0] * 4
    )
    model.save_pretrained(folder)


def wan22(folder: Path) -> None:
    model = diffusers().AutoencoderKLWan(
        base_dim=8, decoder_base_dim=8, z_dim=4, num_res_blocks=1, latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4, is_residual=True, patch_size=2, in_channels=12, out_channels=12,
        scale_factor_spatial=16,
    )  # fmt: skip
    model.save_pretrained(folder)


def ltx(folder: Path) -> None:
    model = diffusers().AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 5,
    )  # fmt: skip
    model.save_pretrained(folder)


def taesd(folder: Path) -> None:
    model = diffusers().AutoencoderTiny(
        encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4
    )
    model.save_pretrained(folder)


def dc_ae(folder: Path) -> None:
    model = diffusers().AutoencoderDC(
        in_channels=3, latent_channels=8, attention_head_dim=8, encoder_block_out_channels=(16, 16, 16),
        decoder_block_out_channels=(16, 16, 16), encoder_layers_per_block=(1, 1, 1),
        decoder_layers_per_block=(1, 1, 1), encoder_qkv_multiscales=((), (), (5,)),
        decoder_qkv_multiscales=((), (), (5,)), encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
    )  # fmt: skip
    model.save_pretrained(folder)


def taesd_file(folder: Path) -> Path:
    from encoders.adapters.taesd_file import decoder_of, encoder_of

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(encoder_of(4, pooled=False).state_dict(), folder / "taetest_encoder.pth")
    torch.save(decoder_of(4, pooled=False).state_dict(), folder / "taetest_decoder.pth")
    return folder / "taetest_encoder.pth"


def taehv_file(folder: Path) -> Path:
    from encoders.adapters.taehv_file import Network

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(Network(1, 4, [2, 2, 1], [1, 2, 2]).state_dict(), folder / "taetest.pth")
    return folder / "taetest.pth"


def silero_vad(folder: Path) -> Path:
    from safetensors.torch import save_file

    shapes = {
        "stft_conv.weight": (258, 1, 256), "conv1.weight": (128, 129, 3), "conv1.bias": (128,),
        "conv2.weight": (64, 128, 3), "conv2.bias": (64,), "conv3.weight": (64, 64, 3), "conv3.bias": (64,),
        "conv4.weight": (128, 64, 3), "conv4.bias": (128,), "lstm_cell.weight_ih": (512, 128),
        "lstm_cell.weight_hh": (512, 128), "lstm_cell.bias_ih": (512,), "lstm_cell.bias_hh": (512,),
        "final_conv.weight": (1, 128, 1), "final_conv.bias": (1,),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: torch.randn(shape) / 10 for name, shape in shapes.items()}, folder / "silero_vad.safetensors"
    )
    return folder / "silero_vad.safetensors"


class _Codes(torch.nn.Module):
    """Stands in for a Cosmos DV encoder: 1 + 4n frames to 1 + n steps of codes, 8 x 8 pixels each."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        whole = torch.cat([x[:, :, :1].expand(-1, -1, 3, -1, -1), x], 2)
        means = torch.nn.functional.avg_pool3d(whole.mean(1, keepdim=True), (4, 8, 8))[:, 0]
        return ((means + 1) * 31999).round().to(torch.int32), means


class _Pictures(torch.nn.Module):
    """Its decoder: every place in its mean."""

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        means = codes.to(torch.float32)[:, None] / 31999 - 1
        big = means.repeat_interleave(4, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
        return big[:, :, 3:].expand(-1, 3, -1, -1, -1)


def cosmos_jit(folder: Path) -> None:
    import warnings

    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, module in (("encoder", _Codes()), ("decoder", _Pictures())):
            torch.jit.script(module).save(folder / f"{name}.jit")  # type: ignore[no-untyped-call]


Maker = Callable[[Path], Path | None]

MAKERS: dict[str, tuple[Maker, dict[str, Any]]] = {
    "encodec": (encodec, {"seconds": 0.25}),
    "dac": (dac, {"seconds": 0.25}),
    "mimi": (mimi, {"seconds": 0.4}),
    "xcodec2": (xcodec2, {"seconds": 0.4}),
    "whisper": (whisper, {"seconds": 2}),
    "silero_vad": (silero_vad, {}),
    "emu3": (emu3, {"size": [32, 64]}),
    "vidtok": (vidtok, {"size": [32, 48]}),
    "cosmos_jit": (cosmos_jit, {"size": [32, 64], "frames": 9}),
    "vq_model": (vq_model, {"size": [32, 48]}),
    "cosmos": (cosmos, {"size": [32, 48], "frames": 9}),
    "wan": (wan, {"size": [32, 48], "frames": 5}),
    "wan22": (wan22, {"size": [32, 48], "frames": 5}),
    "ltx": (ltx, {"size": [64, 96], "frames": 9}),
    "taesd": (taesd, {"size": [32, 48]}),
    "dc_ae": (dc_ae, {"size": [32, 48]}),
    "taesd_file": (taesd_file, {"size": [32, 48]}),
    "taehv_file": (taehv_file, {"size": [16, 24], "frames": 5}),
    "siglip": (siglip, {}),
    "siglip2": (siglip2, {"size": [48, 64]}),
    "dinov2": (dinov2, {"size": [42, 56], "output": "patches"}),
    "dinov3": (dinov3, {"size": [48, 64]}),
    "vjepa2": (vjepa2, {}),
}
"""Per family: what makes it, and settings that keep its launches small."""


def made(name: str, folder: Path) -> Path:
    """Make a tiny model of a family; return what `hf:` is given."""
    torch.manual_seed(SEED)
    path = MAKERS[name][0](folder) or folder
    if path.is_dir() and (path / "config.json").is_file():
        json.loads((path / "config.json").read_text("utf-8"))
    return path
