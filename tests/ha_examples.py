"""Discovery payloads that Home Assistant refuses or warns about, each beside a good one.

Both judges have them: the rules in tests/ha_rules.py, and Home Assistant's own code.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_ORIGIN = '"o":{"name":"heliobus"}'
_DEVICE = '"dev":{"ids":["shed"],"name":"Shed"}'


@dataclass(frozen=True, slots=True)
class Example:
    """A payload with a mistake, words of what is said of it, and the payload without it."""

    name: str
    words: str
    bad: str
    good: str
    component: str = "device"
    bad_topic: str = ""

    def messages(self) -> Iterator[tuple[str, str, bool]]:
        """Give topic, payload, and whether it is good; each with a name of its own."""
        topic = f"homeassistant/{self.component}/{self.name}"
        yield (
            self.bad_topic or f"{topic}_bad/config",
            self.bad.replace("NAME", f"{self.name}_bad"),
            False,
        )
        yield f"{topic}_good/config", self.good.replace("NAME", f"{self.name}_good"), True


def one(component: str) -> str:
    """Give a device that has this component alone."""
    return f'{{{_DEVICE},{_ORIGIN},"cmps":{{"NAME":{{"uniq_id":"NAME",{component}}}}}}}'


def whole(rest: str) -> str:
    """Give a device that has its device and its origin, and this."""
    return f"{{{_DEVICE},{_ORIGIN},{rest}}}"


def sensor(rest: str) -> str:
    """Give a device that has one sensor with its state topic and this."""
    return one(f'"p":"sensor","stat_t":"shed/state"{rest and ","}{rest}')


def settable(platform: str, rest: str) -> str:
    """Give a device that has one component with its command topic and this."""
    return one(f'"p":"{platform}","cmd_t":"shed/set"{rest and ","}{rest}')


_PLAIN = '"p":"sensor","stat_t":"shed/state"'
_CMPS = f'"cmps":{{"NAME":{{"uniq_id":"NAME",{_PLAIN}}}}}'
_CHILD = f'"ids":["NAME_pack"],"name":"Pack","cmps":{{"NAME_v":{{"uniq_id":"NAME_v",{_PLAIN}}}}}'
_SINGLE = f'{{{_DEVICE},"uniq_id":"NAME","stat_t":"shed/state"}}'

# ruff: noqa: E501
EXAMPLES = (
    # the device
    Example("no_json", "no JSON", "{", whole(_CMPS)),
    Example("nan", "no JSON", sensor('"exp_aft":NaN'), sensor('"exp_aft":120')),
    Example("no_object", "no JSON object", "[]", whole(_CMPS)),
    Example("no_device", "'device' is a required", f"{{{_ORIGIN},{_CMPS}}}", whole(_CMPS)),
    Example("no_origin", "'origin' is a required", f"{{{_DEVICE},{_CMPS}}}", whole(_CMPS)),
    Example("no_origin_name", "'name' is a required", f'{{{_DEVICE},"o":{{"sw":"1"}},{_CMPS}}}', whole(_CMPS)),
    Example("no_ids", "`identifiers` or `connections`", f'{{"dev":{{"name":"Shed"}},{_ORIGIN},{_CMPS}}}', f'{{"dev":{{"cns":[["mac","02:00:00:00:00:01"]]}},{_ORIGIN},{_CMPS}}}'),
    Example("empty_ids", "`identifiers` or `connections`", f'{{"dev":{{"ids":[]}},{_ORIGIN},{_CMPS}}}', f'{{"dev":{{"ids":"shed"}},{_ORIGIN},{_CMPS}}}'),
    Example("half_connection", "too short", f'{{"dev":{{"cns":[["mac"]]}},{_ORIGIN},{_CMPS}}}', f'{{"dev":{{"cns":[["mac","02:00:00:00:00:02"]]}},{_ORIGIN},{_CMPS}}}'),
    Example("no_components", "`components` or `child_devices`", whole('"qos":1'), whole(f'"qos":1,{_CMPS}')),
    Example("unknown_key", "unknown key", whole(f'"foo":1,{_CMPS}'), one(f'{_PLAIN},"foo":1')),
    Example("base_of_all", "'~' is wrong: unknown key", whole(f'"~":"shed",{_CMPS}'), one('"p":"sensor","~":"shed","stat_t":"~/state","avty":[{"t":"~/availability"}]')),
    Example("device_key", "Additional properties", f'{{"dev":{{"ids":["shed"],"colour":"red"}},{_ORIGIN},{_CMPS}}}', f'{{"dev":{{"ids":["shed"],"mf":"Acme","mdl":"S1","mdl_id":"1","name":"Shed","hw":"1","sn":"1","sw":"1","via_device":"home","sa":"Shed"}},{_ORIGIN},{_CMPS}}}'),
    Example("origin_key", "Additional properties", f'{{{_DEVICE},"o":{{"name":"heliobus","colour":"red"}},{_CMPS}}}', f'{{{_DEVICE},"o":{{"name":"heliobus","sw":"0.1","url":"https://example.org"}},{_CMPS}}}'),
    Example("address_as_url", "no URL", f'{{"dev":{{"ids":["shed"],"cu":"192.168.1.2"}},{_ORIGIN},{_CMPS}}}', f'{{"dev":{{"ids":["shed"],"cu":"http://192.168.1.2"}},{_ORIGIN},{_CMPS}}}'),
    Example("support_url", "no URL", f'{{{_DEVICE},"o":{{"name":"heliobus","url":"example.org"}},{_CMPS}}}', f'{{{_DEVICE},"o":{{"name":"heliobus","url":"https://example.org/help"}},{_CMPS}}}'),
    Example("two_forms", "exclude each other", whole(f'"avty_t":"a","avty":[{{"t":"b"}}],{_CMPS}'), whole(f'"avty":[{{"t":"a"}},{{"t":"b"}}],"avty_mode":"all",{_CMPS}')),
    Example("inherited_form", "exclude each other", whole(f'"avty":[{{"t":"b"}}],"cmps":{{"NAME":{{"uniq_id":"NAME","avty_t":"a",{_PLAIN}}}}}'), whole(f'"avty_t":"b","cmps":{{"NAME":{{"uniq_id":"NAME","avty_t":"a",{_PLAIN}}}}}')),
    Example("availability_mode", "'most' is not one of", whole(f'"avty":[{{"t":"a"}}],"avty_mode":"most",{_CMPS}'), whole(f'"avty":[{{"t":"a"}}],"avty_mode":"latest",{_CMPS}')),
    Example("availability_without_topic", "'topic' is a required", whole(f'"avty":[{{"pl_avail":"1"}}],{_CMPS}'), whole(f'"avty":[{{"t":"a","pl_avail":"1","pl_not_avail":"0","val_tpl":"{{{{ value }}}}"}}],{_CMPS}')),
    Example("availability_key", "Additional properties", whole(f'"avty":[{{"t":"a","colour":"red"}}],{_CMPS}'), whole(f'"avty":{{"t":"a"}},{_CMPS}')),
    Example("qos_3", "3 is not one of", whole(f'"qos":3,{_CMPS}'), whole(f'"qos":2,{_CMPS}')),
    Example("inherited", "'state_topic' is a required", whole('"cmps":{"NAME":{"p":"sensor","uniq_id":"NAME"}}'), whole('"stat_t":"shed/state","cmps":{"NAME":{"p":"sensor","uniq_id":"NAME"}}')),
    Example("half_migration", "'migrate_discovery' is wrong", whole(f'"migr_discvry":true,{_CMPS}'), '{"migr_discvry": true}'),
    # its components
    Example("no_platform", "'platform' is a required", whole('"cmps":{"NAME":{"uniq_id":"NAME","stat_t":"a"}}'), whole('"cmps":{"NAME":{"p":"sensor"}}')),
    Example("unknown_platform", "no platform", one('"p":"battery","stat_t":"a"'), one('"p":"binary_sensor","stat_t":"a"')),
    Example("no_unique_id", "'unique_id' is a required", whole(f'"cmps":{{"NAME":{{{_PLAIN}}}}}'), whole(_CMPS)),
    Example("no_mapping", "is not of type 'object'", whole('"cmps":{"NAME":"sensor"}'), whole('"cmps":{"NAME":{"platform":"sensor"}}')),
    Example("list_of_components", "is not of type 'object'", whole('"cmps":[]'), whole('"cmps":{}')),
    # child devices
    Example("child_with_ids_of_its_device", "has the identifier of its device", whole(f'"cdevs":[{{{_CHILD.replace("NAME_pack", "shed")}}}]'), whole(f'"cdevs":[{{{_CHILD}}}]')),
    Example("two_children_with_one_id", "two times child device", whole(f'"cdevs":[{{{_CHILD}}},{{{_CHILD.replace("NAME_v", "NAME_w")}}}]'), whole(f'"cdevs":[{{{_CHILD}}},{{{_CHILD.replace("NAME", "NAME_2")}}}]')),
    Example("two_components_with_one_id", "two times component", whole(f'"cmps":{{"NAME_v":{{"uniq_id":"NAME",{_PLAIN}}}}},"cdevs":[{{{_CHILD}}}]'), whole(f'{_CMPS},"cdevs":[{{{_CHILD}}}]')),
    Example("child_without_components", "'components' is a required", whole('"cdevs":[{"ids":["NAME_pack"]}]'), whole('"cdevs":[{"ids":["NAME_pack"],"cmps":{}}]')),
    Example("child_key", "Additional properties", whole(f'"cdevs":[{{"mf":"Acme",{_CHILD}}}]'), whole(f'"cdevs":[{{{_CHILD}}}]')),
    # topics in it
    Example("wildcard_to_publish", "wildcard in the topic", one('"p":"switch","cmd_t":"shed/+/set"'), one('"p":"switch","cmd_t":"shed/set"')),
    Example("wildcard_amid_a_level", "wildcard at a wrong place", one('"p":"sensor","stat_t":"shed/a+"'), one('"p":"sensor","stat_t":"shed/+/state"')),
    Example("wildcard_before_the_end", "wildcard at a wrong place", one('"p":"sensor","stat_t":"shed/#/state"'), one('"p":"sensor","stat_t":"shed/#"')),
    Example("empty_topic", "no topic", one('"p":"sensor","stat_t":""'), one('"p":"sensor","stat_t":"shed"')),
    Example("control_character", "no topic", one('"p":"sensor","stat_t":"a\\u0001b"'), one('"p":"sensor","stat_t":"a b"')),
    # units and classes
    Example("unknown_class", "'electricity' is not one of", sensor('"dev_cla":"electricity"'), sensor('"dev_cla":"Power","unit_of_meas":"W"')),
    Example("celsius", "unit 'C'", sensor('"dev_cla":"temperature","unit_of_meas":"C"'), sensor('"dev_cla":"temperature","unit_of_meas":"°C"')),
    Example("charge", "unit 'Ah'", sensor('"dev_cla":"current","unit_of_meas":"Ah"'), sensor('"unit_of_meas":"Ah"')),
    Example("case_of_kwh", "unit 'kwh'", sensor('"dev_cla":"energy","unit_of_meas":"kwh"'), sensor('"dev_cla":"energy","unit_of_meas":"kWh","stat_cla":"total_increasing"')),
    Example("case_of_hz", "unit 'hz'", sensor('"dev_cla":"frequency","unit_of_meas":"hz"'), sensor('"dev_cla":"frequency","unit_of_meas":"Hz"')),
    Example("battery_in_volts", "unit 'V'", sensor('"dev_cla":"battery","unit_of_meas":"V"'), sensor('"dev_cla":"battery","unit_of_meas":"%"')),
    Example("volt_amperes_as_watts", "unit 'VA'", sensor('"dev_cla":"power","unit_of_meas":"VA"'), sensor('"dev_cla":"apparent_power","unit_of_meas":"VA"')),
    Example("old_spelling", "unit 'MVAr'", sensor('"dev_cla":"reactive_power","unit_of_meas":"MVAr"'), sensor('"dev_cla":"reactive_power","unit_of_meas":"VAr"')),
    Example("month", "unit 'months'", sensor('"dev_cla":"duration","unit_of_meas":"months"'), sensor('"dev_cla":"duration","unit_of_meas":"min"')),
    Example("signal_in_percent", "unit '%'", sensor('"dev_cla":"signal_strength","unit_of_meas":"%"'), sensor('"dev_cla":"signal_strength","unit_of_meas":"dBm"')),
    Example("angle_without_degrees", "does not fit state class", sensor('"stat_cla":"measurement_angle"'), sensor('"stat_cla":"measurement_angle","unit_of_meas":"°"')),
    Example("unknown_state_class", "'rising' is not one of", sensor('"stat_cla":"rising"'), sensor('"stat_cla":"total"')),
    Example("energy_measured", "state class 'measurement' is impossible", sensor('"dev_cla":"energy","unit_of_meas":"kWh","stat_cla":"measurement"'), sensor('"dev_cla":"energy_storage","unit_of_meas":"kWh","stat_cla":"measurement"')),
    Example("power_counted", "state class 'total' is impossible", sensor('"dev_cla":"power","unit_of_meas":"W","stat_cla":"total"'), sensor('"dev_cla":"power","unit_of_meas":"W","stat_cla":"measurement"')),
    Example("power_without_unit", "unit None", one('"p":"sensor","stat_t":"NAME/state","dev_cla":"power"'), one('"p":"sensor","stat_t":"NAME/state","dev_cla":"power_factor"')),
    Example("time_with_unit", "which is no number", sensor('"dev_cla":"timestamp","unit_of_meas":"s"'), sensor('"dev_cla":"timestamp"')),
    Example("number_with_wrong_unit", "unit 'W'", settable("number", '"dev_cla":"current","unit_of_meas":"W"'), settable("number", '"dev_cla":"current","unit_of_meas":"A"')),
    # other options of a sensor
    Example("reset_of_a_measurement", "`last_reset_value_template`", sensor('"stat_cla":"measurement","lrst_val_tpl":"{{ value }}"'), sensor('"stat_cla":"total","lrst_val_tpl":"{{ value }}"')),
    Example("options_without_enum", "without the device class 'enum'", sensor('"ops":["a","b"]'), sensor('"dev_cla":"enum","ops":["a","b"]')),
    Example("options_with_a_unit", "together with a state class or a unit", sensor('"dev_cla":"enum","ops":["a"],"unit_of_meas":"W"'), sensor('"dev_cla":"enum","ops":["a"],"unit_of_meas":" "')),
    Example("no_option", "should be non-empty", sensor('"dev_cla":"enum","ops":[]'), sensor('"dev_cla":"enum"')),
    Example("negative_expiry", "less than the minimum", sensor('"exp_aft":-1'), sensor('"exp_aft":0')),
    Example("precision", "less than the minimum", sensor('"sug_dsp_prc":-1'), sensor('"sug_dsp_prc":0')),
    Example("sensor_to_configure", "only `diagnostic`", sensor('"ent_cat":"config"'), sensor('"ent_cat":"diagnostic"')),
    Example("bad_category", "'system' is not one of", settable("button", '"ent_cat":"system"'), settable("button", '"ent_cat":"config"')),
    Example("icon", "does not match", sensor('"ic":"solar-power"'), sensor('"ic":"mdi:solar-power"')),
    Example("picture", "no URL", sensor('"ent_pic":"/local/a.png"'), sensor('"ent_pic":"http://example.org/a.png"')),
    Example("no_name", "is not of type 'string'", sensor('"name":["a"]'), sensor('"name":null')),
    Example("enabled", "does not match", sensor('"en":"maybe"'), sensor('"en":true')),
    Example("foreign_domain", "default_entity_id", sensor('"def_ent_id":"switch.NAME"'), sensor('"def_ent_id":"sensor.NAME"')),
    Example("open_template", "bad template", sensor('"val_tpl":"{{ value_json.a"'), sensor('"val_tpl":"{{ value_json.a | default(none) }}"')),
    Example("unknown_filter", "bad template", sensor('"val_tpl":"{{ value | watts }}"'), sensor('"val_tpl":"{{ value | float(0) }}"')),
    Example("null_template", "is not of type 'string'", sensor('"val_tpl":null'), sensor('"val_tpl":"online"')),
    # the other platforms
    Example("on_to_configure", "only `diagnostic`", one('"p":"binary_sensor","stat_t":"a","ent_cat":"config"'), one('"p":"binary_sensor","stat_t":"a","ent_cat":"diagnostic"')),
    Example("binary_class", "'relay' is not one of", one('"p":"binary_sensor","stat_t":"a","dev_cla":"relay"'), one('"p":"binary_sensor","stat_t":"a","dev_cla":"running","pl_on":"1","pl_off":"0","off_dly":5')),
    Example("binary_without_state", "'state_topic' is a required", one('"p":"binary_sensor","name":"a"'), one('"p":"binary_sensor","stat_t":"a"')),
    Example("number_without_command", "'command_topic' is a required", one('"p":"number","stat_t":"a"'), one('"p":"number","cmd_t":"a"')),
    Example("min_above_max", "is above max", settable("number", '"min":3,"max":1'), settable("number", '"min":-3,"max":1,"step":0.5,"mode":"box"')),
    Example("min_above_default_max", "is above max", settable("number", '"min":101'), settable("number", '"min":1')),
    Example("tiny_step", "less than the minimum", settable("number", '"step":0.0001'), settable("number", '"step":0.001')),
    Example("number_mode", "'dial' is not one of", settable("number", '"mode":"dial"'), settable("number", '"mode":"slider"')),
    Example("select_without_options", "'options' is a required", settable("select", ""), settable("select", '"ops":["a","b"]')),
    Example("switch_without_command", "'command_topic' is a required", one('"p":"switch","stat_t":"a"'), one('"p":"switch","stat_t":"a","cmd_t":"b","pl_on":"1","stat_on":"on"')),
    Example("switch_class", "'relay' is not one of", settable("switch", '"dev_cla":"relay"'), settable("switch", '"dev_cla":"outlet","ret":false')),
    Example("button_without_command", "'command_topic' is a required", one('"p":"button","name":"a"'), settable("button", '"pl_prs":"GO"')),
    Example("button_class", "'reboot' is not one of", settable("button", '"dev_cla":"reboot"'), settable("button", '"dev_cla":"restart"')),
    # single components
    Example("single_without_state", "'state_topic' is a required", f'{{{_DEVICE},"uniq_id":"NAME"}}', _SINGLE, component="sensor"),
    Example("single_with_bad_origin", "'name' is a required", f'{{"o":{{"sw":"1"}},{_SINGLE[1:]}', f"{{{_ORIGIN},{_SINGLE[1:]}", component="sensor"),
    Example("single_child", "'unique_id' is a required", '{"dev":{"ids":["shed"],"cdev":{"ids":["NAME_pack"]}},"stat_t":"a"}', '{"dev":{"ids":["shed"],"cdev":{"ids":["NAME_pack"]}},"stat_t":"a","uniq_id":"NAME"}', component="sensor"),
    Example("single_migration", "is not alone", f'{{"migr_discvry":true,{_SINGLE[1:]}', '{"migrate_discovery": true}', component="sensor"),
    Example("dot_in_topic", "PREFIX/COMPONENT", _SINGLE, _SINGLE, component="sensor", bad_topic="homeassistant/sensor/my.dev/config"),
    Example("dot_in_device", "PREFIX/COMPONENT", whole(_CMPS), whole(_CMPS), bad_topic="homeassistant/device/my.node/shed/config"),
    Example("removed_device", "no JSON object", "null", whole('"cmps":{"NAME":{"p":"sensor"}}')),
)  # fmt: skip
