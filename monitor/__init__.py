"""The service: settings, commands, the pipeline, alarms, pages and reports. Everything meets here.

A table of contents:

- `settings`: line.toml, typed; `cli`: the command `factory-ear`, thin.
- `pipeline`: the only place that knows the order of the stages.
- `train`, `evaluate`, `score`: offline work; `ingest`, `worker`, `watch`: the three processes that `run` supervises.
- `alarms`, `liveness`, `evidence`, `metrics`, `web`: from scores to people.
- `demo`: a simulated line through all of it.
"""
