"""Detectors of unusual machine sound. A promise that holds for every score here: higher is more abnormal.

A table of contents:

- `frontend`: sound to `Evidence` (log-mel, confidence, level); versioned, since models depend on it.
- `base`: the interface: `fit`, `score`, `state`.
- `mahalanobis`, `neighbours`, `frame_gmm`, `loudness` (a control, never a default), `fusion` (the default).
- `aggregate`: windows to contexts, and a file's windows to one score.
- `calibrate`: raw statistics to conformal p-values; `store`: models on disk, no pickle.
"""
