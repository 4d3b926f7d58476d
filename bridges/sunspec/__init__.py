"""Bridge to devices that describe their registers by SunSpec: inverters, meters, batteries."""
