"""The report's words in English; `texts_ja` has the same keys and the same places for facts."""

TEXTS = {
    "title": "Does it pay? Report on the trial",
    "scope": "{machines} in the trial, {service} in service · {recordings} test recordings · {date}",
    "machines_1": "{n} machine",
    "machines_n": "{n} machines",
    "lever": "It hangs most on this figure: {name}.",
    "lever_limit": " It breaks even at {limit} false alarms per machine and week; the trial measured {rate}.",
    "answer_go": "Go",
    "answer_extend": "Extend the trial",
    "answer_stop": "Stop",
    "why_ideal": "Even if every fault were found in time and no alarm were false, the service would not earn back its "
    "cost within {years} years. The costs decide this, not the detector.",
    "why_no_healthy": "Cannot tell yet: the trial has no test recording of a healthy machine, so nothing is known of "
    "false alarms. Add healthy recordings with split = test.",
    "why_loses": "Even the best that this trial's intervals allow ({found} of the faults found, {rate} false "
    "alarms per "
    "machine and week) does not earn back the cost within {years} years.",
    "why_few": "Cannot tell yet: the trial has {events} recorded faults. Fewer than {least} say too little about how "
    "many will "
    "be found.",
    "why_none": "Cannot tell yet: the trial has no fault, so nobody knows what would be found.",
    "why_pays": "The net present value over {years} years is above zero in {chance} of {draws} simulated outcomes.",
    "why_unlikely": "The net present value over {years} years is above zero in only {chance} of {draws} simulated "
    "outcomes.",
    "why_open": "Cannot tell yet: the net present value over {years} years is above zero in {chance} of {draws} "
    "simulated outcomes. Nine in ten are needed to go, one in ten to stop.",
    "why_short": "Cannot tell yet: false alarms were counted over {listened} only. Even without a single one that "
    "would be too short to show that they stay below the {limit} per machine and week that still pay.",
    "needs": "What would settle it",
    "need_faults": "About {n} more faults with recordings, if they are found at the same rate: then the share "
    "found can "
    "be told from the {share} that is needed to break even.",
    "need_faults_least": "At least {n} more faults with recordings.",
    "need_faults_wait": "These machines have about {rate} faults a year between them, so waiting for {n} takes about "
    "{years} years. More machines, parts known to be bad, or past recordings are quicker.",
    "need_faults_none": "More faults would hardly settle it: the share found lies too close to the {share} that is "
    "needed to break even.",
    "need_weeks": "About {weeks} more machine-weeks of healthy running ({calendar} weeks with the {machines} "
    "of the trial): then the false alarms can be told from the {limit} per machine and week that still pay.",
    "need_recordings": "About {n} more test recordings of healthy machines: then the false alarms can be told from the "
    "{limit} per machine and week that still pay.",
    "need_weeks_none": "More weeks would hardly settle it: the false alarms lie too close to the {limit} per "
    "machine and "
    "week that still pay.",
    "need_healthy": "Healthy test recordings, so that false alarms can be counted.",
    "need_costs": "The figures of the trial are narrow enough; the assumptions are not. Firm up first: {name}.",
    "card_found": "Faults found",
    "card_found_value": "{found} of {events}",
    "card_false": "False alarms per machine and week",
    "card_net": "Net benefit a year",
    "card_npv": "Net present value, {years} years",
    "card_payback": "Payback",
    "card_ci": "95%: {low} to {high}",
    "card_ci_open": "95%: {low} or more",
    "card_brief": "counted over {listened} only: too short",
    "brief_note": "False alarms were counted over {listened} only, too short to exclude one a day. The expected case "
    "takes them as counted; a conservative case and intervals of the money would say nothing and are left out.",
    "months": "{n} months",
    "never": "never",
    "unknown": "not known",
    "measured": "What the trial measured",
    "measured_lead": "Models learned from the healthy training recordings alone and judged recordings that they "
    "had never "
    "heard, with the alarm rules of continuous monitoring.",
    "col_figure": "Figure",
    "col_value": "Value",
    "col_interval": "95% interval",
    "col_how": "How",
    "row_found": "Faults found",
    "row_missed": "Faults missed",
    "row_false": "False alarms",
    "row_false_rate": "False alarms per machine and week",
    "row_per_hour": "False alarms per 100 listened hours",
    "row_listened": "Healthy machines listened to",
    "row_early": "Of the faults found, early (at least {hours} before)",
    "row_lead": "Lead time, median",
    "how_wilson": "Wilson",
    "how_poisson": "exact Poisson",
    "how_bootstrap": "bootstrap over recorded faults",
    "how_assumed": "assumed (costs.toml): the trial has no times",
    "how_lead_unknown": "the trial has no times of failure",
    "basis_hours": "per listened hour, times {n} hours a machine is listened to a week (costs.toml)",
    "basis_trial": "as the trial listened: every recording speaks for the time until the next one",
    "basis_recordings": "share of healthy recordings that alarmed, times {n} recordings a machine and week "
    "(costs.toml)",
    "by_machine": "Machine by machine",
    "col_machine": "Machine",
    "col_found": "Found",
    "col_false": "False alarms",
    "col_rate": "per week",
    "col_listened": "Listened",
    "col_healthy": "Learned from",
    "recordings_1": "{n} recording",
    "recordings_n": "{n} recordings",
    "events": "The faults, one by one",
    "col_event": "Fault",
    "col_outcome": "Outcome",
    "col_lead": "Warned before the failure",
    "yes": "found",
    "no": "missed",
    "more_events": "{n} more in roi.json.",
    "money": "The money",
    "col_expected": "Expected",
    "col_conservative": "Conservative",
    "conservative_note": "Expected: the figures as measured, the costs as given. Conservative: the measured "
    "figures at the "
    "bad ends of their 95% intervals (fewest found, fewest early, most false alarms), the costs as given.",
    "m_saved": "Saved by early warnings, a year",
    "m_inspections": "Inspections for false alarms, a year",
    "m_running": "Running, a year",
    "m_net": "Net benefit, a year",
    "m_investment": "Investment, once",
    "m_npv": "Net present value, {years} years",
    "m_payback": "Payback",
    "m_limit": "Break-even: false alarms per machine and week",
    "m_share": "Break-even: share of faults found",
    "no_limit": "any number (an inspection costs nothing)",
    "not_reachable": "none are few enough",
    "more_than_all": "more than all",
    "formula": "{machines} × {failures} failures a year × {found} found × {early} early × {acted} acted on × "
    "({unplanned} − {planned}) = {saved}",
    "no_money": "Without healthy test recordings there is no false-alarm rate, and without it no money.",
    "no_expected": "Without faults the share found is unknown: the expected case cannot be filled in. To break "
    "even, at "
    "least {share} of the faults would have to be found.",
    "chart_cash": "Cumulated cash over the years",
    "chart_cash_alt": "Line chart: cumulated cash after {years} years is {middle} in the middle, 95% of the simulated "
    "outcomes lie between {low} and {high}.",
    "chart_cash_axis": "Cumulated cash ({unit})",
    "chart_years": "Years in service",
    "chart_median": "middle outcome",
    "chart_band": "95% of outcomes",
    "chart_tornado": "What moves the net present value",
    "chart_tornado_alt": "Bar chart of the sensitivity of the net present value; the strongest is: {first}.",
    "chart_tornado_axis": "Net present value ({unit})",
    "chart_at_low": "at its low end",
    "chart_at_high": "at its high end",
    "chart_false": "How many false alarms it can bear",
    "chart_false_alt": "Line chart: the net present value falls as false alarms rise; it is zero at {limit} per "
    "machine "
    "and week. The trial measured {rate}.",
    "chart_false_axis": "False alarms per machine and week",
    "chart_trial": "measured, with 95% interval",
    "chart_zero": "break-even",
    "chart_english": "",
    "tornado_note": "Each bar: one figure at the low and at the high end of its range, all others as expected.",
    "assumptions": "Assumptions",
    "assumptions_lead": "Measured figures come from this trial. Everything else was written into costs.toml: check it "
    "before you sign.",
    "col_range": "Range used",
    "col_source": "From",
    "from_trial": "this trial",
    "from_costs": "costs.toml, ± {share}",
    "from_costs_exact": "costs.toml",
    "f_found": "Share of faults found",
    "f_early": "Share of found faults that is early enough",
    "f_false_alarms": "False alarms per machine and week",
    "f_failures": "Failures per machine and year",
    "f_unplanned": "Cost of an unplanned failure",
    "f_planned": "Cost of a planned repair",
    "f_inspection": "Cost of an inspection",
    "f_running_month": "Running cost a month",
    "f_investment": "Investment",
    "f_acted_on": "Share of warnings acted on",
    "f_discount": "Discount rate a year",
    "f_machines": "Machines in service",
    "f_years": "Horizon (years)",
    "f_least_lead": "A warning is early from (hours)",
    "next": "What to do next",
    "s_start": "Start with: {machines}. At least half of the faults were found there, and the false alarms pay.",
    "s_start_if": "If it goes ahead, start with: {machines}. At least half of the faults were found there, and the "
    "false alarms that were counted pay.",
    "s_wait_missed": "{machine}: wait. {found} of {events} faults were found; try another place for the microphone, or "
    "more healthy recordings.",
    "s_wait_false": "{machine}: wait. {rate} false alarms per machine and week are more than the {limit} that pay; add "
    "healthy recordings of every way of running.",
    "s_wait_false_limit_none": "{machine}: wait. No healthy recording says how often it would alarm for nothing.",
    "s_unproven": "{machine}: unproven, no fault in the trial. Listen along, and label what happens.",
    "s_mics": "{machine}: {first} first; they heard every fault that was found. {later} later.",
    "s_mics_all": "{machine}: every microphone is needed ({first}).",
    "s_healthy": "{machines}: learned from {have} healthy recordings each, so no threshold rarer than {floor} can be "
    "counted; "
    "{more} more allow one in a hundred.",
    "s_faults": "Label more of what was missed: {events}.",
    "s_edge": "Edge: {mics} microphones give {rate} windows a second; this computer scored {capacity}. One "
    "box on the "
    "site does it.",
    "s_kafka": "Several workers with Kafka: {mics} microphones give {rate} windows a second; this computer scored "
    "{capacity}.",
    "s_uplink_stays": "Raw sound would be {mbit} Mbit/s, more than {limit}: keep it on the site, send scores "
    "and alarms.",
    "s_uplink_may": "Raw sound would be {mbit} Mbit/s: a cloud is possible where no people can be heard; else keep the "
    "sound on the site.",
    "notes": "Read this too",
    "n_untimed": "The manifest has no column start: every faulty recording counts as a fault of its own, a recording "
    "stands for a state that lasts, and lead times are unknown.",
    "n_few_healthy": "{machine}: the budget of false alarms cannot be kept with {n} healthy recordings.",
    "n_silent": "{machine}: not judged: {why}.",
    "n_same_faults": "Faults of a trial may be easier or harder than those to come; no interval covers that.",
    "n_means": "Money is the mean over good and bad years: single years differ, for failures are rare.",
    "method": "Method",
    "method_text": "Detector {detector}, seed {seed}. Intervals: Wilson (shares), exact Poisson (rates), "
    "bootstrap (lead "
    "times). {draws} seeded draws carry them into the money, with costs from triangular laws. Formulas and sources: "
    "docs/roi.md.",
}
