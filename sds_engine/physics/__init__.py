"""The physics of machines and of their faults: numpy alone, SI units, every formula with its source.

Formulas, each file a subject of textbooks:

- `modes`: natural frequencies, damping, Hertz contact; `bearings`, `gears`, `flow`, `friction`: what faults do.

Means of synthesis, in blocks of 2 s that are pure functions of their number:

- `wander`: speed and load over time; `drives`: tones, noise, blows, clips; `structure`: bodies that ring;
  `room`: responses of halls; `mixer`: from drives to microphones.

What others use:

- `kinds`: `draw_machine(kind, rng)`; `machines`: `render`, `draw_take`, `render_take`; `faults`: `add_fault`, the table
  `FAULTS`; `taps`: parts struck with a hammer; `background` and `people`: the rest of a hall; `hall`: `hall_mix`;
  `line`: `demo_line`.
"""
