"""Registers the pages of Administration."""

from angarium.web.access.people import entries as entries
from angarium.web.access.people import tokens as tokens
from angarium.web.access.people import users as users
