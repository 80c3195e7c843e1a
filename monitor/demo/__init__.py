"""`factory-ear demo`: a simulated line through the real pipeline, with faults at known times, and an honest end.

The machines are simulated; the broker, the processes, the models and the alarms are those of `run`. What the demo
shows is that the parts work together, not how well the service hears your machines.

- `hall`: the faults, fixed before any model is fitted, and the sound of the hall as files.
- `live`: the line at work, watched from outside; `verdict`: what was found, as a pure function; `report`: the page.
- `command`: the order of it all.
"""
