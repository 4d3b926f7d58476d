"""Every dashboard, in the order of the list."""

from scripts.dashboards.pages.battery import BATTERY
from scripts.dashboards.pages.chargers import CHARGERS, POWER_ROOM
from scripts.dashboards.pages.energy import ENERGY
from scripts.dashboards.pages.health import HEALTH
from scripts.dashboards.pages.inverter import INVERTER
from scripts.dashboards.pages.meters import METERS
from scripts.dashboards.pages.opendtu import OPENDTU
from scripts.dashboards.pages.overview import OVERVIEW

PAGES = (OVERVIEW, BATTERY, INVERTER, CHARGERS, POWER_ROOM, METERS, ENERGY, OPENDTU, HEALTH)
