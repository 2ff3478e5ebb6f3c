"""The pages of Mailings, one file a noun."""
