"""The broker: a ready mosquitto configuration, and an embedded one for the demo."""
