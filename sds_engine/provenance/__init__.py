"""Where a generated sound comes from: a JSON file beside it, and an inaudible mark that survives without the file.

- `sidecar`: `Provenance`, `write_sidecar`, `read_sidecar`, `verify_sidecar`; the schema is at its top.
- `export`: `write_generated(path, wave, rate, provenance)`: sound file, mark and sidecar in one step.
- `watermark`: `embed(wave, rate, payload)`; `detect`: `find_mark(wave, rate)`, with a derived false-positive rate.
- `masking`, `chips`: how loud the mark may be, and what it consists of.

What learns from generated sound learns from unmarked renders: mark on export, never before.
"""
