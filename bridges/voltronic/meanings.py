"""What the letters and numbers of PI30 units mean. Other protocols number some otherwise."""

MODES = {
    "P": "power_on",
    "S": "standby",
    "L": "line",
    "B": "battery",
    "F": "fault",
    "H": "power_saving",
    "D": "shutdown",
    "E": "eco",
    # An EASun 8 kW with its output off while the sun charges; in no document.
    "C": "charging",
    "Y": "bypass",
}
BATTERY_TYPES = {
    0: "agm",
    1: "flooded",
    2: "user",
    3: "pylontech",
    4: "shinheung",
    5: "weco",
    6: "soltaro",
    7: "bak",
    8: "lib",
    9: "lic",
}
INPUT_RANGES = {0: "appliance", 1: "ups"}
OUTPUT_PRIORITIES = {0: "utility_first", 1: "solar_first", 2: "sbu"}
CHARGER_PRIORITIES = {
    0: "utility_first",
    1: "solar_first",
    2: "solar_and_utility",
    3: "only_solar",
}
OUTPUT_MODES = {
    0: "single",
    1: "parallel",
    2: "phase_1_of_3",
    3: "phase_2_of_3",
    4: "phase_3_of_3",
    5: "phase_1_of_2",
    6: "phase_2_of_2_120_degrees",
    7: "phase_2_of_2_180_degrees",
}
MACHINES = {0: "grid_tie", 1: "off_grid", 10: "hybrid"}
TOPOLOGIES = {0: "transformerless", 1: "transformer"}
PV_OK = {0: "any_unit", 1: "all_units"}
PV_BALANCE = {0: "charge_current", 1: "charge_and_load"}
LOGICS = {0: "automatic", 1: "online", 2: "eco"}
CHARGE_STATES = {10: "idle", 11: "bulk", 12: "absorption", 13: "float"}
# QFLAG. Newer letters d, g, l and n stand in no document and stay raw.
FLAGS = {
    "a": "buzzer_enabled",
    "b": "overload_bypass_enabled",
    "j": "power_saving_enabled",
    "k": "lcd_default_page_enabled",
    "u": "overload_restart_enabled",
    "v": "over_temperature_restart_enabled",
    "x": "backlight_enabled",
    "y": "source_loss_alarm_enabled",
    "z": "fault_record_enabled",
}
ENERGIES = {
    "QET": "yield_kwh",
    "QEY": "yield_year_kwh",
    "QEM": "yield_month_kwh",
    "QED": "yield_today_kwh",
    "QLT": "load_kwh",
    "QLY": "load_year_kwh",
    "QLM": "load_month_kwh",
    "QLD": "load_today_kwh",
}
