"""How heliobus itself is."""

from scripts.dashboards.model import EVENTS, Look, Page, Panel, Row, lines, newest, table

_KIND, _NOW = "component", "15m"

HEALTH = Page(
    "health",
    "heliobus: System health",
    "How the parts of heliobus are: bridges that measure, sinks that store.",
    (
        Row(
            "Now",
            (
                Panel(
                    "Components",
                    "Which parts are running.",
                    Look.STAT,
                    newest(_KIND, "is_online"),
                    width=12,
                    height=5,
                    recent=_NOW,
                    options={"colorMode": "background"},
                ),
                Panel(
                    "Lag",
                    "How old the samples are that a sink is storing now. Orange from 10 s, red from"
                    " 60 s: it is catching up, or its database is away.",
                    Look.STAT,
                    newest(_KIND, "lag_s"),
                    width=6,
                    height=5,
                    recent=_NOW,
                ),
                Panel(
                    "Devices offline",
                    "Devices of each bridge that do not answer.",
                    Look.STAT,
                    newest(_KIND, "offline_count"),
                    width=6,
                    height=5,
                    recent=_NOW,
                ),
                Panel(
                    "Each component",
                    "The newest values. Bridges have a journal, sinks store: the other columns stay"
                    " empty.",
                    Look.TABLE,
                    table(
                        _KIND,
                        "component_role",
                        "is_online",
                        "uptime_s",
                        "is_synced",
                        "polls_count",
                        "errors_count",
                        "offline_count",
                        "unjournaled_count",
                        "waiting_count",
                        "stored_count",
                        "rewritten_count",
                        "rejected_count",
                        "holes_count",
                        "component_error",
                    ),
                    width=24,
                    height=8,
                    recent="1h",
                ),
            ),
        ),
        Row(
            "Over time",
            (
                Panel(
                    "Online",
                    "Which parts were running. Red = offline.",
                    Look.STATES,
                    lines(_KIND, "is_online", how="min"),
                ),
                Panel(
                    "Lag of the sinks",
                    "How old the samples were that a sink was storing.",
                    Look.LINES,
                    lines(_KIND, "lag_s", how="max"),
                ),
                Panel(
                    "Answers",
                    "Half of a bridge's polls took no longer than the first, 95 of 100 no longer"
                    " than the second. What rises is a bad line.",
                    Look.LINES,
                    lines(_KIND, "poll_p50_s", "poll_p95_s", how="max"),
                ),
                Panel(
                    "Failed polls",
                    "Counted since the bridge started.",
                    Look.LINES,
                    lines(_KIND, "errors_count", how="max"),
                ),
                Panel(
                    "Size of the journals",
                    "What each bridge keeps on its disk for sinks that were away.",
                    Look.LINES,
                    lines(_KIND, "journal_bytes", how="max"),
                ),
                Panel(
                    "Reach of the journals",
                    "How far back each journal goes: so long may a sink be away.",
                    Look.LINES,
                    lines(_KIND, "journal_age_s", how="max"),
                ),
                Panel(
                    "Holes and rejected messages",
                    "Holes are being filled from the journals. Rejected messages are on the bus"
                    " with their reason.",
                    Look.LINES,
                    lines(_KIND, "holes_count", "rejected_count", how="max"),
                ),
                Panel(
                    "Clock and journal",
                    "Samples that wait for the clock to be set, and samples that could not be"
                    " journaled because the disk was full.",
                    Look.LINES,
                    lines(_KIND, "waiting_count", "unjournaled_count", how="max"),
                ),
            ),
        ),
        Row(
            "Events",
            (
                Panel(
                    "Events",
                    "Alerts, commands and losses, the newest first. Device is the component that"
                    " said it.",
                    Look.TABLE,
                    EVENTS,
                    width=24,
                    height=10,
                    no_value="",
                ),
            ),
        ),
    ),
    devices=_KIND,
)
