"""Pages of the sender queue: of one mailing, and of all that a person sees."""
