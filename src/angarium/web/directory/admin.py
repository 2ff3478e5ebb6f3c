"""Registers the pages of Audience."""

from angarium.web.directory.pages import imports as imports
from angarium.web.directory.pages import lists as lists
from angarium.web.directory.pages import profiles as profiles
from angarium.web.directory.pages import suppressions as suppressions
