"""Pipelines of published models with tiny random weights: they exercise the code that loads real ones, no more."""

from __future__ import annotations

from typing import Any

import torch

from sds_engine.priors.published import quiet_loading


def tiny_stable_audio() -> Any:
    """A StableAudioPipeline of a few thousand weights; its tokenizer splits text into bytes."""
    from diffusers import (
        AutoencoderOobleck,
        CosineDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
    )
    from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioProjectionModel
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    transformer = StableAudioDiTModel(
        sample_size=64,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_attention_heads=2,
        out_channels=4,
        cross_attention_dim=8,
        time_proj_dim=8,
        global_states_input_dim=16,
        cross_attention_input_dim=8,
    )
    with quiet_loading():
        vae = AutoencoderOobleck(
            encoder_hidden_size=8,  # mean and scale, 4 channels each
            downsampling_ratios=[2, 4, 8],
            channel_multiples=[1, 2, 4],
            decoder_channels=4,
            decoder_input_channels=4,
            audio_channels=2,
            sampling_rate=44_100,
        )
    text = T5EncoderModel(T5Config(vocab_size=300, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2))
    return StableAudioPipeline(
        vae=vae,
        text_encoder=text,
        projection_model=StableAudioProjectionModel(text_encoder_dim=8, conditioning_dim=8, min_value=0, max_value=512),
        tokenizer=byte_tokenizer(),
        transformer=transformer,
        scheduler=CosineDPMSolverMultistepScheduler(
            solver_order=2, prediction_type="v_prediction", sigma_data=1.0, sigma_schedule="exponential"
        ),
    )


def byte_tokenizer(length: int = 24) -> Any:
    """Byte-level BPE without merges, padded to `length`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "</s>": 1, **{byte: index + 2 for index, byte in enumerate(alphabet)}}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", model_max_length=length)


def tiny_audioldm2() -> Any:
    """An AudioLDM2Pipeline of tiny parts."""
    from diffusers import (
        AudioLDM2Pipeline,
        AudioLDM2ProjectionModel,
        AudioLDM2UNet2DConditionModel,
        AutoencoderKL,
        DDIMScheduler,
    )
    from transformers import (
        ClapConfig,
        ClapFeatureExtractor,
        ClapModel,
        GPT2Config,
        GPT2LMHeadModel,
        RobertaTokenizer,
        SpeechT5HifiGan,
        SpeechT5HifiGanConfig,
        T5Config,
        T5EncoderModel,
        T5Tokenizer,
    )

    torch.manual_seed(0)
    letters = [chr(code) for code in range(97, 123)]
    roberta = {token: row for row, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *letters])}
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)]
    clap = ClapConfig(
        text_config={
            "vocab_size": 40,
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
            "max_position_embeddings": 64,
        },
        audio_config={
            "patch_size": 4,
            "num_hidden_layers": 2,
            "depths": [1, 1],
            "hidden_size": 16,
            "num_attention_heads": [1, 1],
            "patch_embeds_hidden_size": 8,
            "spec_size": 64,
            "window_size": 4,
        },
        projection_dim=8,
    )
    with quiet_loading():
        vocoder = SpeechT5HifiGan(
            SpeechT5HifiGanConfig(
                model_in_dim=64,
                sampling_rate=16_000,
                upsample_initial_channel=16,
                upsample_rates=[5, 4, 4, 2],  # one frame of mel is 160 samples, as in the real one
                upsample_kernel_sizes=[11, 8, 8, 4],
                resblock_kernel_sizes=[3],
                resblock_dilation_sizes=[[1, 3, 5]],
                normalize_before=False,
            )
        )
    return AudioLDM2Pipeline(
        vae=AutoencoderKL(
            in_channels=1,
            out_channels=1,
            latent_channels=4,
            block_out_channels=(8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            scaling_factor=0.7,
        ),
        text_encoder=ClapModel(clap),
        text_encoder_2=T5EncoderModel(T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)),
        projection_model=AudioLDM2ProjectionModel(8, 8, 8),
        language_model=GPT2LMHeadModel(
            GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=10, n_positions=256, bos_token_id=0, eos_token_id=1)
        ),
        tokenizer=RobertaTokenizer(vocab=roberta, merges=[], model_max_length=32),
        tokenizer_2=T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=32),
        feature_extractor=ClapFeatureExtractor(),
        unet=AudioLDM2UNet2DConditionModel(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=[[None, 8, 8], [None, 8, 8]],  # of each block: itself, GPT-2, T5
            attention_head_dim=4,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
        ),
        vocoder=vocoder,
    )
