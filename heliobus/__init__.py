"""heliobus: the hardware of solar and off-grid homes on one clean MQTT bus."""

__version__ = "0.1.0"
