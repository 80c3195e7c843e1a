"""`factory-ear init`: a commented line.toml and costs.toml, and the folders that they name."""

from __future__ import annotations

from pathlib import Path

from monitor.errors import WorkFailed

LINE = """\
# factory-ear: the settings of one line. Unknown keys are errors. Paths count from this file's folder.

[site]
name = "My line"
time_zone = "Asia/Tokyo"        # IANA name; pages and reports show this time
lang = "ja"                     # ja | en: pages, reports, alarm texts
data = "data"                   # models, alarms, evidence; must survive a restart
# rate = 16000                  # Hz, of everything on the wire; sources above it are resampled, below it refused
# window_s = 2.0                # seconds per window, without overlap

[broker]
url = "embedded:data/broker"    # embedded:DIR, right for one machine | kafka://host:port
# partitions = 8                # at least the most workers there will ever be
# windows_retention_s = 86400   # how long sound is kept
# results_retention_s = 7776000 # how long scores, alerts and dead letters are kept
# min_free_mb = 500             # below this much free disk intake stops, and says so
# Kafka only (docs/kafka.md); a password file is better than a password here:
# security = { protocol = "SASL_SSL", ca = "ca.pem", cert = "ear.pem", key = "ear-key.pem", \
check_hostname = true, mechanism = "SCRAM-SHA-512", username = "ear", \
password = "", password_file = "kafka-password" }

[chain]
stages = ["raw"]                # ["raw", "separated"]: also score what a separator makes of the sound
                                # ["raw", "separated", "enhanced"]: and what diffusion (Ex-Diff) makes of that
# adapt_minutes = 8             # with "separated": how long train adapts the separator; 0: the enrolment alone
# cascade = true                # separate only windows that are odd already, and some others in turn
# cascade_above = 1.0           # odd already: raw score from here on
# cascade_share = 0.05          # of all other windows, in turn per microphone
# overload_s = 30               # so far behind live sound nothing is separated, and that is counted
# device = "cpu"                # cpu | cuda
# threads = 1                   # per worker process; more workers beat more threads where cores are busy
# max_batch = 64                # windows per batch
# max_wait_s = 0.2              # how long a batch waits to fill

[alarms]
false_alarms_per_week = 1.0     # budget per microphone; the threshold and k of n follow from it
# looks = 6                     # n: how many looks (one per 10 s) an alarm considers
# judge_recordings = true       # with few healthy recordings also judge runs of separate recordings; false where a
                                # recorder cuts one continuous sound into files
# on_delay_s = 0                # an alarm waits so long before it opens
# off_delay_s = 60              # healthy for so long before it closes
# hysteresis = 0.3              # how far under the threshold healthy begins, in score units
# danger_after_s = 600          # an alarm that lasts so long is danger
# unknown_after_s = 30          # a microphone without signal for so long is unknown
# lateness_s = 60               # a window may arrive so late and still count
# settle_s = 30                 # how long an alarm is only shown before people are called: is a neighbour louder?
# hall_share = 0.75             # so many of the machines beginning together make one alarm of the whole hall
# flood_alarms = 10             # so many alarms within ten minutes are a flood: further ones become one alarm
# webhook = "http://127.0.0.1:9000/alerts"

[evidence]
# keep_days = 90                # clips older than this go
# keep_mb = 2000                # and the oldest beyond this

[history]
# keep_days = 90                # how long the course of the scores is kept

[web]
host = "127.0.0.1"              # only this machine; 0.0.0.0 opens it to the network, then reading needs a token too
port = 8765
# reading = "auto"              # auto: without a token on this machine only | open | token
# token = "at least 20 random characters"   # everybody needs it, as a bearer token or as a password
# Who writes needs a token (role view, operate or admin). Without any here they are made in data/secrets/:
# tokens = [{ role = "operate", token = "20 random characters" }] # better: file = "op.token" | env = "EAR_OPERATE"
# hosts = ["ear.example"]       # further names by which the page may be called
# certfile = "cert.pem"         # TLS, with keyfile
# keyfile = "key.pem"
# session_hours = 12            # how long a log-in lasts
# requests_per_s = 20           # per address; 0: no limit

[[machine]]
id = "press-1"
name_ja = "プレス 1"
name_en = "Press 1"
# area = ""                     # machines of one area hear each other; a name per hall where there are several
prompt = "hydraulic press"      # what you would call its sound
healthy = "healthy/press-1"     # healthy recordings; one sub-folder per microphone id where they differ
# clean = "clean/press-1"            # the machine alone, healthy (optional)
# background = "background/press-1"  # the machine stopped (optional)
# kinematics = { shaft_hz = 24.7, teeth = 32, bearing = { n = 9, d = 7.94, D = 39.04, phi = 0 } }

[[machine.mic]]
id = "press-1-a"
source = "folder:incoming/press-1-a"   # file:PATH | folder:PATH | mic:DEVICE | ffmpeg:URL
# people = false                # people can be heard here: then no sound is kept, unless evidence = true says so
evidence = true                 # keep clips of alarms; false where people talk and have not agreed
# channel = 0                   # of a source that has several
# speed = 1.0                   # file: only; 1 as if live, 0 as fast as the line takes it
# unknown_after_s = 900         # overrides [alarms]; a folder: may be quiet for 900 s unless this says otherwise
"""

COSTS = """\
# What a failure, an inspection and the service cost: `factory-ear roi` reads this. Unknown keys are errors.
# Every amount here is an example: put your own in before you show the report to anybody (docs/roi.md).
currency = "JPY"                # ISO 4217 code of every amount below

# For all machines together:
investment = 800000             # once: microphones, installation, training
running_per_month = 30000       # the service: hardware, power, care

# For one machine, once:
unplanned_failure = 1500000     # a failure that nobody expected, with the stop of the line
planned_repair = 200000         # the same repair, planned; not above unplanned_failure
inspection = 15000              # looking at a machine because of an alarm that turns out to be false

share_acted_on = 0.8            # how many early warnings lead to action, 0..1
discount_rate = 0.05            # a year
failures_per_machine_year = 0.5 # from maintenance records; without it a trial with times counts its own
# machines = 10                 # in service; without it those of the trial
# years = 5                     # over how many years the investment is judged
# least_lead_hours = 24         # a warning later than this before the failure is not early enough to plan a repair
# share_early_if_unknown = 0.5  # of the faults found, where the trial has no times
# recordings_per_week = 7       # per machine, to turn false alarms per recording into a rate, where there are no times
# listening_hours_per_week = 168        # per machine; goes before recordings_per_week and before the trial's own times
# uncertainty = 0.3             # how far each cost and assumption may be off: 0.3 is 30%
"""

FOLDERS = ("healthy/press-1", "incoming/press-1-a", "data")


def write_starter(directory: Path) -> list[Path]:
    """Fill `directory`; returns what was made. Raises WorkFailed where a file is there already."""
    files = {directory / "line.toml": LINE, directory / "costs.toml": COSTS}
    for path in files:
        if path.exists():
            raise WorkFailed(f"{path} is there already: choose another folder, or move it away")
    folders = [directory / name for name in FOLDERS]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return [*files, *folders]
