"""E-mail through our own SMTP: the carrier of the engine that speaks to other people's servers."""
