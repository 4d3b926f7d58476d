"""Bridge to devices that publish on MQTT by themselves, in a manner of their own.

A map says which topic is which field of which device: `maps/NAME.yaml`, or a file of the owner.
"""

from bridges.mqtt.decoding import map_decoder

__all__ = ["map_decoder"]
