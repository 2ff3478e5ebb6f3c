"""The pages of Settings – MTA, one file a noun."""
