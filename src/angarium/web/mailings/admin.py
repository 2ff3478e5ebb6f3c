"""Registers the pages of Mailings."""

from angarium.web.mailings.pages import mailings as mailings
from angarium.web.mailings.pages import templates as templates
