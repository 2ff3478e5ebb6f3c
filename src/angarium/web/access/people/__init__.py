"""The pages of Administration, one file a noun."""
