"""Judges: classifiers of 2 s of sound at 16 kHz into the ten faults and "healthy", for whoever makes sounds.

- `gate`: `load_gate() -> Judge`, the shipped judge that gates what is synthesised; `Judge.probabilities(wave)`.
- `features`: what a judge hears, magnitudes alone; `network`: the classifier.
- `sounds`, `augment`, `train`: how the gate's judge was trained, on `physics` with seeds that nothing else uses.

The judge that reports in benchmarks is another one, with other code and other sounds: tests/benchmarks/reporting/.
"""
