"""Ex-Diff: diffusion that makes the extractor's answer sound right (Yang et al., arXiv 2409.09642), re-implemented.

No public code of the paper was found; what its abstract says is kept (a frozen extractor's latents condition a
diffusion model on the complex STFT by cross-attention), the rest is ours: a bridge with data prediction, few steps.

- `bridge`: a Brownian bridge from the first guess to the target, and the sampler; takes any predictor.
- `cells`: bins in cells, and the level of the mixture around each, the unit of the bridge's noise.
- `network`, `model`: the network, and how its gains and variances make a posterior; the four variants.
- `mixing`, `training`, `train`: examples, loss, and the command that trains.
- `separator`: Ex-Diff behind the interface of separators; weights on disk.
"""
