"""Bridge to devices that have Modbus registers: meters, charge controllers, inverters."""
