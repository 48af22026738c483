"""Joins the actions to the host. Only the build reads this file; tests read the actions."""

from actions import ACTIONS
from portcullis.guest import handler_of

Handler = handler_of(ACTIONS)
