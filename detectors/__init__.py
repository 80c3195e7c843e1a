"""Detectors of unusual machine sound. A promise that holds for every score here: higher is more abnormal.

A table of contents:

- `frontend`: sound to features (log-mel, confidence, level); versioned, since models depend on it.
- `base`: the interface (`fit`, `cross_fit`, `score`, `state`, `restore`) and `Evidence`.
- `folds`, `many_folds`: out-of-fold statistics that never split a recording; five fits, or fifty where they are cheap.
- `statistics`: what a context sounds like in few numbers per band.
- `mahalanobis`, `neighbours`, `frame_gmm`, `controls` (never a default), `fusion` (the default); `lineup` names them.
- `physical`: features that can be named, from `waveform` and `envelope` (impacts) with `kinematics` (what turns).
- `autoencoder`, `selfsupervised` (`selfsupervised_net`, `pretext`, `nearest`): small networks; `filled`, `training`.
- `embedding` (`embedding_files`, `embedding_networks`, `embedding_input`): a pretrained network that a user brings.
- `impulses`: attention to short events; `states`: a baseline for each operating state; `drift`: has healthy changed?
- `tap`, `tap_reference`, `tap_store`: the tap test (打音検査), by modes of struck parts.
- `aggregate`: windows to contexts, and a file's contexts to one score; `recordings`: training sound to contexts.
- `surroundings`: the kinds of surroundings that healthy sound was heard in; what follows them is trusted less.
- `calibrate`: raw statistics to conformal p-values; `healthy`: where in the spectrum a sound departs.
- `library`: the nearest healthy recording; `explain`: what the three strongest bands sound like.
- `model`: all of it for one microphone; `store` and `card`: models on disk, no pickle.
"""
