"""The map of OpenDTU: what each of its topics becomes, row by row."""

from typing import Any

from tests.mqtt_maps import JSON, Rows

HM800 = "solar/114190641177"
HM600 = "solar/114172608275"

EXPECTED: dict[tuple[str, str], Any] = {
    # totals, and what the DTU says of itself
    ("solar/ac/power", "0.0"): {"output_w": 0.0},
    ("solar/ac/yieldday", "216"): {"yield_today_kwh": 0.216},
    ("solar/ac/yieldday", "2954"): {"yield_today_kwh": 2.954},
    ("solar/ac/is_valid", "0"): {"valid": False},
    ("solar/dc/power", "0.6"): {"pv_w": 0.6},
    ("solar/dc/power", "1098.3"): {"pv_w": 1098.3},
    ("solar/dc/irradiation", "0.030"): {"irradiation_percent": 0.03},
    ("solar/dtu/status", "online"): "online",
    ("solar/dtu/status", "offline"): "offline",
    ("solar/dtu/rssi", "-74"): {"signal_dbm": -74},
    ("solar/dtu/bssid", "7A:45:58:94:4B:CA"): {"bssid": "7A:45:58:94:4B:CA"},
    ("solar/dtu/heap/size", "327680"): {"heap_size_bytes": 327680},
    ("solar/dtu/heap/maxalloc", "65524"): {"heap_largest_bytes": 65524},
    # an HM-800
    (f"{HM800}/name", "HM-800"): {"title": "HM-800"},
    (f"{HM800}/status/reachable", "0"): {"reachable": False},
    (f"{HM800}/status/last_update", "1701271852"): {"last_update_s": 1701271852},
    (f"{HM800}/status/limit_relative", "75.00"): {"power_limit_percent": 75.0},
    (f"{HM800}/status/limit_absolute", "600.00"): {"power_limit_w": 600.0},
    (f"{HM800}/0/yieldday", "216"): {"yield_today_kwh": 0.216},
    (f"{HM800}/0/power", "0.0"): {"output_w": 0.0},
    (f"{HM800}/0/frequency", "50.00"): {"output_hz": 50.0},
    (f"{HM800}/0/efficiency", "0.000"): {"efficiency_percent": 0.0},
    (f"{HM800}/0/temperature", "7.7"): {"device_c": 7.7},
    (f"{HM800}/1/voltage", "14.1"): {"pv_01_v": 14.1},
    (f"{HM800}/1/current", "0.02"): {"pv_01_a": 0.02},
    (f"{HM800}/1/power", "0.2"): {"pv_01_w": 0.2},
    (f"{HM800}/1/irradiation", "0.017"): {"pv_01_irradiation_percent": 0.017},
    (f"{HM800}/2/voltage", "14.1"): {"pv_02_v": 14.1},
    (f"{HM800}/2/current", "0.03"): {"pv_02_a": 0.03},
    (f"{HM800}/2/power", "0.4"): {"pv_02_w": 0.4},
    (f"{HM800}/2/yieldday", "142"): {"pv_02_yield_today_kwh": 0.142},
    (f"{HM800}/device/fwbuilddatetime", "2022-11-10 16:11:00"): {
        "firmware_date": "2022-11-10 16:11:00"
    },
    (f"{HM800}/device/hwpartnumber", "269565952"): {"hardware_part": "269565952"},
    # an HM-600
    (f"{HM600}/0/current", "0.02"): {"output_a": 0.02},
    (f"{HM600}/0/efficiency", "95.000"): {"efficiency_percent": 95.0},
    (f"{HM600}/0/power", "5.7"): {"output_w": 5.7},
    (f"{HM600}/0/powerdc", "6.0"): {"pv_w": 6.0},
    (f"{HM600}/0/powerfactor", "1.001"): {"power_factor": 1.001},
    (f"{HM600}/0/reactivepower", "0.0"): {"output_var": 0.0},
    (f"{HM600}/0/temperature", "14.2"): {"device_c": 14.2},
    (f"{HM600}/0/voltage", "236.4"): {"output_v": 236.4},
    (f"{HM600}/0/yieldday", "175"): {"yield_today_kwh": 0.175},
    (f"{HM600}/0/yieldday", "0"): {"yield_today_kwh": 0.0},
    (f"{HM600}/0/yieldtotal", "6.283"): {"yield_kwh": 6.283},
    (f"{HM600}/1/current", "0.10"): {"pv_01_a": 0.1},
    (f"{HM600}/1/irradiation", "0.600"): {"pv_01_irradiation_percent": 0.6},
    (f"{HM600}/1/power", "3.0"): {"pv_01_w": 3.0},
    (f"{HM600}/1/voltage", "29.3"): {"pv_01_v": 29.3},
    (f"{HM600}/1/yieldday", "87"): {"pv_01_yield_today_kwh": 0.087},
    (f"{HM600}/1/yieldtotal", "3.151"): {"pv_01_yield_kwh": 3.151},
    (f"{HM600}/2/yieldtotal", "3.132"): {"pv_02_yield_kwh": 3.132},
    (f"{HM600}/device/bootloaderversion", "104"): {"bootloader_version": "104"},
    (f"{HM600}/device/hwpartnumber", "269553683"): {"hardware_part": "269553683"},
    (f"{HM600}/name", "HM600_BalkonUnten"): {"title": "HM600_BalkonUnten"},
    (f"{HM600}/radio/rssi", "-80"): {"signal_dbm": -80},
    (f"{HM600}/radio/tx_request", "4711"): {"radio_sent_count": 4711},
    (f"{HM600}/radio/tx_re_request", "12"): {"radio_resent_count": 12},
    (f"{HM600}/radio/rx_fail_partial", "5"): {"radio_partial_count": 5},
    (f"{HM600}/radio/rx_fail_corrupt", "1"): {"radio_corrupt_count": 1},
    (f"{HM600}/status/last_update", "1770827328"): {"last_update_s": 1770827328},
    (f"{HM600}/status/last_update", "0"): {"last_update_s": 0},
    (f"{HM600}/status/limit_absolute", "600.00"): {"power_limit_w": 600.0},
    (f"{HM600}/status/reachable", "0"): {"reachable": False},
    (f"{HM600}/cmd/limit_nonpersistent_relative", "42.5"): "command",
    (f"{HM600}/cmd/restart", "1"): "command",
    (f"{HM600}/cmd/reset_rf_stats", "1"): "command",
    # its own discovery for Home Assistant is nothing of ours
    ("homeassistant/binary_sensor/dtu_114172608275/reachable/config", JSON): "passed over",
    ("homeassistant/button/dtu_114172608275/restart_inverter/config", JSON): "passed over",
}
ROWS = Rows("opendtu", EXPECTED)


(
    test_a_row_is_decoded_to_what_it_means,
    test_the_codec_makes_the_same_of_it,
    test_a_row_of_which_nobody_has_said_what_it_means_is_taken_in,
    test_each_value_has_the_unit_that_its_row_states,
) = ROWS.tests()
