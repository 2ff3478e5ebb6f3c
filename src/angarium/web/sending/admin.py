"""Registers the pages of Settings – MTA."""

from angarium.web.sending.pages import isps as isps
from angarium.web.sending.pages import nodes as nodes
from angarium.web.sending.pages import patterns as patterns
from angarium.web.sending.pages import retry_rules as retry_rules
from angarium.web.sending.pages import rules as rules
from angarium.web.sending.pages import senders as senders
from angarium.web.sending.pages import strategies as strategies
