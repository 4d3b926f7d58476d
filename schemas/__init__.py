"""The contract on the bus, as JSON Schemas. Data only; heliobus.contract reads it."""
